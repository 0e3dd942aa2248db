"""One image examined: read with all its layers, its labels counted, or refused with the reason.

In: a dataset, a split and a name. Out: facts, and the layers that were read.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Dataset
from bench.data.findings import ImageFacts
from bench.data.layers import Target
from fcn.errors import InputError

Layers = tuple[NDArray[np.uint8], ...]
"""Arrays of one image: image, target, and what more the dataset has."""


def examine(dataset: Dataset, split: str, name: str) -> tuple[ImageFacts, Layers]:
    """Read an image and count its labels.

    Returns:
        Its facts, and its layers: image (H, W, 3), target (H, W), then what more the dataset has.

    Raises:
        InputError: It cannot be used.
    """
    image, target = dataset.read(split, name)
    facts = _examine(dataset, split, name, image, target)
    facts, more = _examine_more(dataset, facts)
    return facts, (image, target, *more)


def _examine(
    dataset: Dataset,
    split: str,
    name: str,
    image: NDArray[np.uint8],
    target: NDArray[np.uint8],
) -> ImageFacts:
    """Count an image's labels; InputError if it cannot be used."""
    H, W = image.shape[:2]
    where = dataset.describe(split, name)
    if image.shape != (H, W, 3) or image.dtype != np.uint8 or target.dtype != np.uint8:
        raise InputError(f"{where}: its loader must give an image (H, W, 3) and uint8 throughout")
    advice = partial(_one_size, dataset, split, name, (H, W))
    counts = _count_labels(where, target, (H, W), dataset.targets[0], advice)
    digest = sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
    class_counts = tuple(int(n) for n in counts[: len(dataset.class_names)])
    ignored = int(counts[dataset.ignore_index])
    moved = dataset.count_moved(split, name)
    return ImageFacts(name, split, H, W, class_counts, ignored, digest, num_moved=moved)


def _examine_more(
    dataset: Dataset, facts: ImageFacts
) -> tuple[ImageFacts, list[NDArray[np.uint8]]]:
    """Read and count what an image has beside image and target; InputError if unusable."""
    where = dataset.describe(facts.split, facts.name)
    size = (facts.height, facts.width)
    advice = partial(_one_size, dataset, facts.split, facts.name, size)
    layers, ranges, counts, ignored = [], {}, {}, {}
    for wanted in dataset.more_inputs:
        layer = dataset.read_input(facts.split, facts.name, wanted)
        kind = np.dtype(np.uint16 if wanted.value_range else np.uint8)
        if layer.shape != (*size, wanted.channels) or layer.dtype != kind:
            raise InputError(
                f"{where}: input {wanted.name!r} has shape {layer.shape} ({layer.dtype}), not "
                f"{(*size, wanted.channels)} ({kind}) as the image; {advice(layer.shape[:2])}"
            )
        ranges[wanted.name] = (int(layer.min()), int(layer.max()))
        layers.append(layer)
    for target in dataset.more_targets:
        labels = dataset.read_target(facts.split, facts.name, target)
        found = _count_labels(f"{where}, {target.name}", labels, size, target, advice)
        counts[target.name] = tuple(int(n) for n in found[: len(target.class_names)])
        ignored[target.name] = int(found[target.ignore_index])
        layers.append(labels)
    return replace(facts, ranges=ranges, more_counts=counts, more_ignored=ignored), layers


def _one_size(
    dataset: Dataset, split: str, name: str, size: tuple[int, int], given: tuple[int, ...]
) -> str:
    """Say how a layer of another size than its image becomes one of the same size."""
    if given == size[::-1] and dataset.is_turned(split, name):
        return (
            "an EXIF orientation turns one of them upright, and the other seems to lie as the "
            "sensor saw it: turn that one the same way, or take the orientation out of both; "
            "resizing would ruin it"
        )
    return "make them one size (resize masks by nearest neighbour only)"


def _count_labels(
    where: str,
    target: NDArray[np.uint8],
    size: tuple[int, int],
    labels: Target,
    advice: Callable[[tuple[int, ...]], str],
) -> NDArray[np.int64]:
    """Count the values of a mask, (256,); InputError if it cannot be used."""
    H, W = size
    if target.shape != (H, W):
        given = "x".join(str(n) for n in reversed(target.shape))
        raise InputError(
            f"{where}: the image is {W}x{H} and its mask {given} pixels; {advice(target.shape)}"
        )
    C, ignore = len(labels.class_names), labels.ignore_index
    counts = np.bincount(target.ravel(), minlength=256)
    strange = [value for value in np.flatnonzero(counts) if value >= C and value != ignore]
    if strange:
        values = ", ".join(f"{v} ({counts[v]} pixels)" for v in strange[:8])
        more = f" and {len(strange) - 8} more" if len(strange) > 8 else ""
        raise InputError(
            f"{where}: the mask holds {values}{more}; allowed are the classes 0..{C - 1} and "
            f"ignore_index {ignore}: correct the labels, add class names, or set ignore_index"
        )
    return counts
