"""Masks that no run of ours predicted: counted as runs count theirs, and scored.

In: arrays of true and predicted classes. Out: `bench.metrics.Scores`.
"""

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics import Scores, summarize
from fcn.errors import InputError


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
