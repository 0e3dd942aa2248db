"""Scores from counts: the only place where a confusion matrix becomes a number.

`score` is the whole way for masks that nobody's run predicted.

Convention (that of the FCN paper's scorer): one matrix for the whole split, ignored pixels never
counted; a class in neither target nor prediction is left out of the means (NaN by class); a class
that is predicted but absent counts as 0. All scores are fractions.

Reference: Long et al., 2015, section 5, arXiv:1411.4038.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcn.errors import InputError

SCORES = ("pixel_acc", "mean_acc", "miou", "fw_iou")
BOUNDARY_SCORE = "boundary_miou"
"""Name of the score that is there only where a spec asks for it (`evaluate.boundary`)."""


@dataclass(frozen=True)
class Scores:
    """Scores of one confusion matrix, as fractions; NaN where nothing was counted."""

    pixel_acc: float
    mean_acc: float
    miou: float
    fw_iou: float
    iou: NDArray[np.float64]
    """IoU of each class, (C,); NaN for a class in neither target nor prediction."""


def summarize(confusion: ArrayLike) -> Scores:
    """Derive every score from one confusion matrix.

    Args:
        confusion: Pixel counts, (C, C); rows are target, columns are prediction.
    """
    scores = score_many(np.asarray(confusion)[None])
    means = {name: float(scores[name][0]) for name in SCORES}
    return Scores(**means, iou=scores["iou"][0])


def score(
    target: NDArray[np.integer] | Iterable[NDArray[np.integer]],
    prediction: NDArray[np.integer] | Iterable[NDArray[np.integer]],
    num_classes: int,
    ignore_index: int = 255,
) -> Scores:
    """Score predicted masks, as runs are scored: pixels are counted over all, then divided once.

    Args:
        target: True classes: one array of any shape, or an array for each image, (H, W) each.
        prediction: Predicted classes, in the same shapes.
        num_classes: Number of classes C.
        ignore_index: Target value of unlabelled pixels, which are not counted; outside [0, C).

    Raises:
        InputError: Shapes differ, there are more of the one than of the other, or a value is no
            class.
    """
    if ignore_index in range(num_classes):
        raise InputError(
            f"ignore_index {ignore_index} is one of the {num_classes} classes, and would not be "
            "counted; give a value outside of them, such as -1"
        )
    are_arrays = isinstance(target, np.ndarray) and isinstance(prediction, np.ndarray)
    pairs = [(target, prediction)] if are_arrays else zip_longest(target, prediction)
    confusion = np.zeros((num_classes, num_classes), np.int64)
    for number, (true, pred) in enumerate(pairs):
        _require_masks(number, true, pred, num_classes, ignore_index)
        confusion += count_mask(np.asarray(true), np.asarray(pred), num_classes, ignore_index)
    return summarize(confusion)


def count_mask(
    target: NDArray[np.integer],
    prediction: NDArray[np.integer],
    num_classes: int,
    ignore_index: int,
) -> NDArray[np.int64]:
    """Count the pixels of a mask by (target class, predicted class).

    `bench.run.confusion` counts likewise, on the device, whole batches.

    Args:
        target: True classes, integers in [0, C) but where they are `ignore_index`.
        prediction: Predicted classes, of the same shape, integers in [0, C).
        num_classes: Number of classes C.
        ignore_index: Target value of pixels that are not counted.

    Returns:
        Pixel counts, (C, C); rows are target, columns are prediction.
    """
    counted = target != ignore_index
    cell = target[counted].astype(np.int64) * num_classes + prediction[counted]
    counts: NDArray[np.int64] = np.bincount(cell, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def score_many(confusions: NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
    """Derive scores of many confusion matrices at once.

    Args:
        confusions: Pixel counts, (..., C, C).

    Returns:
        The four scores, each (...), and `iou`, (..., C).
    """
    return score_counts(class_counts(confusions))


def class_counts(confusions: NDArray[np.integer]) -> NDArray[np.int64]:
    """Condense confusion matrices to all that the scores need: C x C numbers become 3 x C.

    Args:
        confusions: Pixel counts, (..., C, C).

    Returns:
        Pixels that are right, pixels in the target and pixels in the prediction, by class,
        (..., 3, C). Like the matrices they add up over images.
    """
    hit = np.diagonal(confusions, axis1=-2, axis2=-1)
    rows, columns = (np.sum(confusions, axis=axis, dtype=np.int64) for axis in (-1, -2))
    return np.stack([hit.astype(np.int64), rows, columns], axis=-2)


def score_counts(counts: NDArray[np.number]) -> dict[str, NDArray[np.float64]]:
    """Derive scores from condensed counts, as resampling needs.

    Args:
        counts: What `class_counts` gives, (..., 3, C); floats may be sums of many images.

    Returns:
        The four scores, each (...), and `iou`, (..., C).
    """
    values = np.asarray(counts, dtype=np.float64)  # exact below 2**53 pixels
    hit, in_target, in_pred = values[..., 0, :], values[..., 1, :], values[..., 2, :]
    total = in_target.sum(-1)

    iou = _divide(hit, in_target + in_pred - hit)
    # Shares, not pixels, as weights: five times the counts give the same score to the last bit.
    shares = _divide(in_target, np.broadcast_to(total[..., None], in_target.shape))
    recall = _divide(hit, in_target)
    return {
        "pixel_acc": _divide(hit.sum(-1), total),
        "mean_acc": _mean_of_present(recall),
        "miou": _mean_of_present(iou),
        "fw_iou": (shares * np.nan_to_num(iou)).sum(-1),
        "iou": iou,
    }


def score_boundary(counts: NDArray[np.number]) -> dict[str, NDArray[np.float64]]:
    """Derive Boundary IoU from its counts; conventions are those of IoU.

    Args:
        counts: Intersection and union of the boundary regions, by class, (..., 2, C), added up
            over images before the division.

    Returns:
        `boundary_miou`, (...), and `boundary_iou`, (..., C); NaN for a class without a boundary.

    Reference: Cheng et al., 2021, arXiv:2103.16562.
    """
    values = np.asarray(counts, dtype=np.float64)
    iou = _divide(values[..., 0, :], values[..., 1, :])
    return {BOUNDARY_SCORE: _mean_of_present(iou), "boundary_iou": iou}


def _require_masks(
    number: int, target: Any, prediction: Any, num_classes: int, ignore_index: int
) -> None:
    """Refuse a pair of masks that cannot be counted; `number` counts pairs from 0."""
    if target is None or prediction is None:
        kind, other = ("prediction", "target") if target is None else ("target", "prediction")
        raise InputError(f"{kind} {number} has no {other}; give as many of the one as of the other")
    true, pred = np.asarray(target), np.asarray(prediction)
    if true.shape != pred.shape:
        raise InputError(
            f"target {number} is {true.shape} and its prediction {pred.shape}; both have one value "
            "for each pixel of the label, (H, W)"
        )
    for kind, values in (("target", true), ("prediction", pred)):
        if not np.issubdtype(values.dtype, np.integer):
            raise InputError(
                f"{kind} {number} holds {values.dtype}, but classes are whole numbers: take the "
                "argmax of scores, or astype(np.int64)"
            )
        counted = values[true != ignore_index]
        wrong = counted[(counted < 0) | (counted >= num_classes)]
        if wrong.size:
            raise InputError(
                f"{kind} {number} holds {wrong[0]}, which is no class: {num_classes} classes are "
                f"0 to {num_classes - 1}, and ignore_index is {ignore_index}"
            )


def _divide(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    quotient = np.full(np.shape(b), np.nan)
    np.divide(a, b, out=quotient, where=np.asarray(b) > 0)
    return quotient


def _mean_of_present(values: NDArray[np.float64]) -> NDArray[np.float64]:
    present = ~np.isnan(values)
    return _divide(np.where(present, values, 0.0).sum(-1), present.sum(-1).astype(np.float64))
