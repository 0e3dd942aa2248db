"""Stride bound: what masks score against themselves once they are as coarse as a stride.

In: masks. Out: pixels counted by true and coarse class, for each way and stride. No network can be
trained past it that predicts a class for each cell and copies it; one that draws edges inside a
cell can, and for it this is a yardstick. What is void has no say, and is not counted.

Reference: Shelhamer et al., 2017, the upper bound on mean IU by downsampling, arXiv:1605.06211.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.data.cores import Progress, try_each
from bench.data.dataset import Dataset
from bench.data.problems import join_problems
from bench.metrics import score_many
from fcn.errors import InputError
from fcn.registry import unknown_name

STRIDES = (4, 8, 16, 32, 64, 128)
"""Pixels of the mask; those of the paper's table."""
PUBLISHED = {4: 0.985, 8: 0.964, 16: 0.928, 32: 0.861, 64: 0.733, 128: 0.509}
"""mIoU by stride in the paper's table, on PASCAL VOC; as a review of its second version has it."""
MOST_STRIDE = 4096


def count_majority(
    target: NDArray[np.uint8], num_classes: int, strides: Sequence[int] = STRIDES
) -> NDArray[np.int64]:
    """Count pixels whose cell takes its most frequent class, of equals the first.

    Args:
        target: Labels (H, W) of any size; values from `num_classes` up are void.
        num_classes: Number of classes C.
        strides: Sides of the cells; those at the right and lower rim may be cut.

    Returns:
        Pixels by true and coarse class, (len(strides), C, C).
    """
    C = num_classes
    confusions = np.zeros((len(strides), C, C), np.int64)
    done, cells = 0, np.zeros((0, 0, C))
    for k, stride in enumerate(strides):
        cells = _merge(cells) if done and stride == 2 * done else _count_cells(target, stride, C)
        done = stride
        vote = cells.argmax(-1)[..., None]
        pairs = np.arange(C) * C + vote  # of true and coarse class
        counts = np.bincount(pairs.ravel(), weights=cells.ravel(), minlength=C * C)
        confusions[k] = counts.astype(np.int64).reshape(C, C)
    return confusions


def count_nearest(
    target: NDArray[np.uint8], num_classes: int, strides: Sequence[int] = STRIDES
) -> NDArray[np.int64]:
    """Count pixels whose cell takes the class of the labelled pixel nearest to its centre.

    Takes and returns what `count_majority` does.
    """
    C = num_classes
    return np.stack([_confuse(target, _sample(target, stride, C), C) for stride in strides])


WAYS: dict[str, Callable[..., NDArray[np.int64]]] = {
    "nearest": count_nearest,
    "majority": count_majority,
}
"""How a cell is given its class."""


def _miou(confusions: NDArray[np.int64]) -> NDArray[np.float64]:
    return score_many(confusions)["miou"]


def bound_strides(
    targets: Iterable[NDArray[np.uint8]],
    num_classes: int,
    strides: Sequence[int] = STRIDES,
    score: Callable[[NDArray[np.int64]], NDArray[np.float64]] = _miou,
) -> dict[int, float]:
    """Return what masks score whose cells all take their most frequent class, by stride.

    Args:
        targets: As `count_majority`, one or more.
        num_classes: Likewise.
        strides: Likewise.
        score: Takes confusions (..., C, C), and gives scores (...); mIoU by default.
    """
    counts = np.zeros((len(strides), num_classes, num_classes), np.int64)
    for target in targets:
        counts += count_majority(target, num_classes, strides)
    return dict(zip(strides, map(float, score(counts)), strict=True))


def bound_dataset(
    dataset: Dataset,
    split: str,
    *,
    target: str | None = None,
    strides: Sequence[int] = STRIDES,
    progress: Progress | None = None,
) -> dict[str, NDArray[np.int64]]:
    """Read the masks of a split over all cores, and count them at each stride.

    Args:
        dataset: Any.
        split: One of its splits.
        target: One of its targets; None for its first.
        strides: Sides of the cells in pixels, each at least 1.
        progress: Called with the number of images read, and of all.

    Returns:
        For each of `WAYS`, pixels by true and coarse class, (len(strides), C, C).

    Raises:
        InputError: A name or a stride is wrong, a mask cannot be read, or none has a label.
    """
    if not dataset.splits.get(split):
        raise InputError(unknown_name(f"split of dataset {dataset.name}:", split, dataset.splits))
    if wrong := [stride for stride in strides if not 1 <= stride <= MOST_STRIDE]:
        raise InputError(f"stride {wrong[0]} must lie in 1..{MOST_STRIDE} pixels of the mask")
    known = {one.name: one for one in dataset.targets}
    name = target or dataset.target_name
    if name not in known:
        raise InputError(unknown_name(f"target of dataset {dataset.name}:", name, known))
    C = len(known[name].class_names)

    def count(image: str) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        labels = (
            dataset.read(split, image)[1]
            if name == dataset.target_name
            else dataset.read_target(split, image, known[name])
        )
        return {way: _pack(WAYS[way](labels, C, strides)) for way in WAYS}

    totals = {way: np.zeros(len(strides) * C * C, np.int64) for way in WAYS}
    problems = []
    for found in try_each(count, dataset.splits[split], progress):
        if isinstance(found, str):
            problems.append(found)
            continue
        for way, (places, counts) in found.items():
            totals[way][places] += counts
    if problems:
        raise InputError(join_problems(problems))
    if not totals["majority"].any():
        raise InputError(f"no image of split {split!r} of dataset {dataset.name!r} has a label")
    return {way: total.reshape(len(strides), C, C) for way, total in totals.items()}


def _pack(confusions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where counts are, and which: of many classes an image shows a few."""
    flat = confusions.ravel()
    places = np.flatnonzero(flat)
    return places, flat[places]


def _count_cells(target: NDArray[np.uint8], stride: int, num_classes: int) -> NDArray[np.float64]:
    """Count each class in each cell, (rows, columns, C)."""
    H, W = target.shape
    rows, columns = -(-H // stride), -(-W // stride)
    cell = np.arange(H)[:, None] // stride * columns + np.arange(W) // stride
    known = target < num_classes
    keys = cell[known] * num_classes + target[known]
    counts = np.bincount(keys, minlength=rows * columns * num_classes)
    return counts.reshape(rows, columns, num_classes).astype(np.float64)


def _merge(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up squares of four cells: the counts of twice the stride."""
    rows, columns, C = cells.shape
    padded = np.pad(cells, ((0, rows % 2), (0, columns % 2), (0, 0)))
    squares = padded.reshape(-(-rows // 2), 2, -(-columns // 2), 2, C)
    merged: NDArray[np.float64] = squares.sum((1, 3))
    return merged


def _sample(target: NDArray[np.uint8], stride: int, num_classes: int) -> NDArray[np.uint8]:
    """Return the mask whose cells have one class each, (H, W); void where a cell has no label."""
    H, W = target.shape
    padded = np.pad(target, ((0, -H % stride), (0, -W % stride)), constant_values=255)
    rows, columns = padded.shape[0] // stride, padded.shape[1] // stride
    blocks = padded.reshape(rows, stride, columns, stride).swapaxes(1, 2).reshape(rows, columns, -1)
    blocks = blocks[..., _places_from_centre(stride)]
    first = (blocks < num_classes).argmax(-1)[..., None]
    sampled = np.take_along_axis(blocks, first, -1)[..., 0]
    return np.repeat(np.repeat(sampled, stride, 0), stride, 1)[:H, :W]


@lru_cache(maxsize=64)
def _places_from_centre(stride: int) -> NDArray[np.int64]:
    """Return the places of a cell's pixels, row by row, the nearest to its centre first.

    Of an even side no pixel is the centre: of the four around it the last comes first, as where a
    mask is resized by the nearest pixel.
    """
    y, x = np.indices((stride, stride)) - stride // 2
    return np.asarray(np.argsort((y**2 + x**2).ravel(), kind="stable"))


def _confuse(
    target: NDArray[np.uint8], coarse: NDArray[np.uint8], num_classes: int
) -> NDArray[np.int64]:
    """Count labelled pixels by true and coarse class, (C, C)."""
    known = target < num_classes
    pairs = target[known].astype(np.int64) * num_classes + coarse[known]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
