"""Scores from counts: the only place where a confusion matrix becomes a number.

Convention (that of the FCN paper's scorer): one matrix for the whole split, ignored pixels never
counted; a class in neither target nor prediction is left out of the means (NaN by class); a class
that is predicted but absent counts as 0. All scores are fractions.

Reference: Long et al., 2015, section 5, arXiv:1411.4038.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCORES = ("pixel_acc", "mean_acc", "miou", "fw_iou")


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


def score_many(confusions: NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
    """Derive scores of many confusion matrices at once, as resampling needs.

    Args:
        confusions: Pixel counts, (..., C, C).

    Returns:
        The four scores, each (...), and `iou`, (..., C).
    """
    counts = np.asarray(confusions, dtype=np.float64)  # exact below 2**53 pixels
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    in_target = counts.sum(-1)
    union = in_target + counts.sum(-2) - hit
    total = in_target.sum(-1)

    iou = _divide(hit, union)
    recall = _divide(hit, in_target)
    return {
        "pixel_acc": _divide(hit.sum(-1), total),
        "mean_acc": _mean_of_present(recall),
        "miou": _mean_of_present(iou),
        "fw_iou": _divide((in_target * np.nan_to_num(iou)).sum(-1), total),
        "iou": iou,
    }


def _divide(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    quotient = np.full(np.shape(b), np.nan)
    np.divide(a, b, out=quotient, where=np.asarray(b) > 0)
    return quotient


def _mean_of_present(values: NDArray[np.float64]) -> NDArray[np.float64]:
    present = ~np.isnan(values)
    return _divide(np.where(present, values, 0.0).sum(-1), present.sum(-1).astype(np.float64))
