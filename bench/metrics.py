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
    recall = _divide(hit, in_target)
    return {
        "pixel_acc": _divide(hit.sum(-1), total),
        "mean_acc": _mean_of_present(recall),
        "miou": _mean_of_present(iou),
        "fw_iou": _divide((in_target * np.nan_to_num(iou)).sum(-1), total),
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


def _divide(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    quotient = np.full(np.shape(b), np.nan)
    np.divide(a, b, out=quotient, where=np.asarray(b) > 0)
    return quotient


def _mean_of_present(values: NDArray[np.float64]) -> NDArray[np.float64]:
    present = ~np.isnan(values)
    return _divide(np.where(present, values, 0.0).sum(-1), present.sum(-1).astype(np.float64))
