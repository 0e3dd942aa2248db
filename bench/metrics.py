"""Scores from counts: the only place where a confusion matrix becomes a number.

`METRICS` holds them by name; a plugin's stand beside ours. `bench.mask_scores` begins with masks.

Convention (that of the FCN paper's scorer): one matrix for the whole split, ignored pixels never
counted; a class in neither target nor prediction is left out of the means (NaN by class); a class
that is predicted but absent counts as 0. `bench.scoring` has what a question may ask for instead.

Reference: Long et al., 2015, section 5, arXiv:1411.4038.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcn.errors import InputError, foreign_code
from fcn.registry import Registry, unknown_part

Floats = NDArray[np.float64]

SCORES = ("pixel_acc", "mean_acc", "miou", "fw_iou")
"""The four that every record and table has."""
BOUNDARY_SCORE = "boundary_miou"
"""Name of the score that is there only where a spec asks for it (`evaluate.boundary`)."""
SURFACE_SCORE = "surface_distance"
"""The same of `evaluate.surface`."""
ASKED_FOR = (BOUNDARY_SCORE, SURFACE_SCORE, "ece", "nll")
"""Scores that are shown wherever what they are made of was counted."""

CONFUSION, BOUNDARY, SURFACE = "confusion", "boundary", "surface"
CALIBRATION = "calibration"
KINDS = {CONFUSION: 3, BOUNDARY: 2, SURFACE: 2, CALIBRATION: 4}
"""What is counted in each image, with its number of rows: pixels that are right, in the target and
in the prediction; intersections and unions of boundaries; distances between outlines and how many
pixels these have. Each row has a number for each class; those of calibration (pixels, pixels that
are right, confidence, loss) have one for each bin of confidence."""
CALIBRATION_BINS = 15
"""As Guo et al., 2017, have it, arXiv:1706.04599."""
CALIBRATION_UNITS = 2**16
"""Parts of 1 in which confidence and loss are counted."""


@dataclass(frozen=True)
class Metric:
    """A score as a registry holds it; `per_class` and `pooled` make one of a function."""

    label: str
    """What readers call it: "mean Dice"."""
    function: Callable[..., Floats]
    """Takes the rows of counts, (..., C) floats each, and gives a score, (...), or one for each
    class, (..., C), NaN where it has no meaning."""
    of_class: str = ""
    """What readers call it of one class: "Dice"; empty where it has no meaning of one."""
    weigh: Callable[..., Floats] | None = None
    """Weights of the classes in the mean, from the same rows; None for all alike."""
    counts: str = CONFUSION
    """What it is made of, one of `KINDS`."""
    limits: tuple[float, float] = (0.0, 1.0)
    """Least and largest value."""
    unit: str = ""
    """Of a score that is no fraction: "px"."""
    less_is_better: bool = False

    @property
    def explanation(self) -> str:
        """The first line of what its function says of itself."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


METRICS: Registry[Metric] = Registry("metric")


def per_class(
    label: str,
    of_class: str,
    *,
    weigh: Callable[..., Floats] | None = None,
    counts: str = CONFUSION,
    limits: tuple[float, float] = (0.0, 1.0),
    unit: str = "",
    less_is_better: bool = False,
) -> Callable[[Callable[..., Floats]], Metric]:
    """Return a decorator: a function that scores each class becomes a metric, their mean.

    Which classes the mean is over, a question may say (`bench.scoring`).
    """
    return lambda function: Metric(
        label, function, of_class, weigh, counts, limits, unit, less_is_better
    )


def pooled(
    label: str,
    *,
    counts: str = CONFUSION,
    limits: tuple[float, float] = (0.0, 1.0),
    unit: str = "",
    less_is_better: bool = False,
) -> Callable[[Callable[..., Floats]], Metric]:
    """Return a decorator: a function that scores all pixels at once becomes a metric."""
    return lambda function: Metric(label, function, "", None, counts, limits, unit, less_is_better)


def divide(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Return quotients; NaN where there is nothing to divide by."""
    a, b = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    quotient = np.full(np.broadcast_shapes(a.shape, b.shape), np.nan)
    np.divide(a, b, out=quotient, where=b > 0)
    return quotient


@METRICS.register("pixel_acc")
@pooled("pixel acc")
def _pixel_acc(hit: Floats, in_target: Floats, in_pred: Floats) -> Floats:
    """Share of the pixels that are right."""
    return divide(hit.sum(-1), in_target.sum(-1))


def _accuracy(hit: Floats, in_target: Floats, in_pred: Floats) -> Floats:
    """Share of the pixels of a class that are right (its recall); mean over classes."""
    return divide(hit, in_target)


METRICS.register("mean_acc")(per_class("mean acc", "accuracy")(_accuracy))


def _iou(hit: Floats, in_target: Floats, in_pred: Floats) -> Floats:
    """Pixels that are right over those in target or prediction (Jaccard); mean over classes."""
    return divide(hit, in_target + in_pred - hit)


METRICS.register("miou")(per_class("mIoU", "IoU")(_iou))


def _pixels_of_target(hit: Floats, in_target: Floats, in_pred: Floats) -> Floats:
    return in_target


@METRICS.register("fw_iou")
@per_class("f.w. IoU", "IoU", weigh=_pixels_of_target)
def _fw_iou(hit: Floats, in_target: Floats, in_pred: Floats) -> Floats:
    """IoU, each class with as much weight as it has pixels."""
    return _iou(hit, in_target, in_pred)


@METRICS.register("dice")
@per_class("mean Dice", "Dice")
def _dice(hit: Floats, in_target: Floats, in_pred: Floats) -> Floats:
    """Twice the pixels that are right over those of target and prediction (F1); mean over classes.

    Reference: Dice, 1945; 2 IoU / (1 + IoU) by class.
    """
    return divide(2 * hit, in_target + in_pred)


@METRICS.register("precision")
@per_class("mean precision", "precision")
def _precision(hit: Floats, in_target: Floats, in_pred: Floats) -> Floats:
    """Share of the pixels predicted as a class that are of it; of one never predicted, 0."""
    return np.where((in_pred == 0) & (in_target > 0), 0.0, divide(hit, in_pred))


METRICS.register("recall")(per_class("mean recall", "recall")(_accuracy))


@METRICS.register("kappa")
@pooled("kappa", limits=(-1.0, 1.0))
def _kappa(hit: Floats, in_target: Floats, in_pred: Floats) -> Floats:
    """Agreement beyond chance, by pixels: (accuracy - chance) / (1 - chance).

    Reference: Cohen, 1960. NaN where target and prediction are one class throughout.
    """
    total = in_target.sum(-1)
    shares = (divide(part, total[..., None]) for part in (in_target, in_pred))
    chance = np.prod(list(shares), axis=0).sum(-1)
    return divide(divide(hit.sum(-1), total) - chance, 1 - chance)


@METRICS.register(BOUNDARY_SCORE)
@per_class("boundary mIoU", "boundary IoU", counts=BOUNDARY)
def _boundary_iou(intersection: Floats, union: Floats) -> Floats:
    """IoU of the pixels near outlines (with `evaluate.boundary`); mean over classes.

    Reference: Cheng et al., 2021, arXiv:2103.16562.
    """
    return divide(intersection, union)


SURFACE_UNITS = 16
"""Parts of a pixel in which distances are counted."""


@METRICS.register(SURFACE_SCORE)
@per_class(
    "surface distance, px",
    "surface distance",
    counts=SURFACE,
    limits=(0.0, np.inf),
    unit="px",
    less_is_better=True,
)
def _surface_distance(distance: Floats, number: Floats) -> Floats:
    """Mean distance in pixels between the outlines of target and prediction, both ways (ASSD).

    Less is better; a class that has an outline in but one of the two is left out, image by image.
    """
    return divide(distance, SURFACE_UNITS * number)


@METRICS.register("ece")
@pooled("ECE", counts=CALIBRATION, less_is_better=True)
def _ece(pixels: Floats, right: Floats, confidence: Floats, loss: Floats) -> Floats:
    """Expected calibration error: by how much confidence misses accuracy, over 15 bins of pixels.

    Less is better. Reference: Guo et al., 2017, equation 3, arXiv:1706.04599.
    """
    gaps = np.abs(right - confidence / CALIBRATION_UNITS)
    return divide(gaps.sum(-1), pixels.sum(-1))


@METRICS.register("nll")
@pooled("NLL, nats", counts=CALIBRATION, limits=(0.0, np.inf), unit="nats", less_is_better=True)
def _nll(pixels: Floats, right: Floats, confidence: Floats, loss: Floats) -> Floats:
    """Negative log-likelihood of the true class, in nats, mean over pixels; less is better."""
    return divide(loss.sum(-1), CALIBRATION_UNITS * pixels.sum(-1))


def count_columns(kind: str, num_classes: int) -> int:
    """Return how many numbers a row of a kind of counts has."""
    return CALIBRATION_BINS if kind == CALIBRATION else num_classes


ALSO_CALLED = {
    **dict.fromkeys(("f1", "f_score", "dsc"), "dice"),
    **dict.fromkeys(("iou", "jaccard", "mean_iou", "mean_iu"), "miou"),
    **dict.fromkeys(("accuracy", "acc", "oa", "overall_accuracy"), "pixel_acc"),
    **dict.fromkeys(("assd", "asd"), "surface_distance"),
}
"""Our names by others in use."""

BY_IMAGE = "image_"
"""Before the name of a metric: its mean over images, each scored by itself."""
IMAGE_UNITS = 2**36
"""A score of one image is kept as a whole number of 1 / this: sums are exact, in any order."""


def find_metric(name: str) -> Metric:
    """Return a metric by name; of `image_NAME` the mean over images of NAME.

    Raises:
        InputError: There is none of the name; the nearest is named.
    """
    if is_by_image(name):
        base = METRICS[name.removeprefix(BY_IMAGE)]
        shown = f"{base.label} by image"
        rest = (base.limits, base.unit, base.less_is_better)
        return Metric(shown, _mean_of_images, "", None, name, *rest)
    if name not in METRICS:
        if meant := ALSO_CALLED.get(name.lower().removeprefix(BY_IMAGE)):
            before = BY_IMAGE * name.lower().startswith(BY_IMAGE)
            raise InputError(f"unknown score {name!r}; did you mean {before + meant!r}?")
        known = [*METRICS, *(f"{BY_IMAGE}{one}" for one in METRICS)]
        raise InputError(unknown_part("score", name, known))
    return METRICS[name]


def explain(name: str) -> str:
    """Say what a score is, in the first line of what its function says of itself."""
    if is_by_image(name):
        whole = explain(name.removeprefix(BY_IMAGE))
        return f"Each image is scored by itself, and the mean taken over images. {whole}"
    return find_metric(name).explanation


def is_by_image(name: str) -> bool:
    """Say whether a name is that of a mean over images."""
    return name not in METRICS and name.removeprefix(BY_IMAGE) in METRICS


def _mean_of_images(total: Floats, number: Floats) -> Floats:
    return divide(total[..., 0], number[..., 0]) / IMAGE_UNITS


def list_metrics() -> list[dict[str, str]]:
    """Return a row for each metric, with what it is."""
    return [{"name": name, "what": METRICS[name].explanation} for name in METRICS]


@dataclass(frozen=True)
class Scores:
    """Scores of one confusion matrix, as fractions; NaN where nothing was counted."""

    pixel_acc: float
    mean_acc: float
    miou: float
    fw_iou: float
    iou: Floats
    """IoU of each class, (C,); NaN for a class in neither target nor prediction."""


def summarize(confusion: ArrayLike) -> Scores:
    """Derive every score from one confusion matrix.

    Args:
        confusion: Pixel counts, (C, C); rows are target, columns are prediction.
    """
    scores = score_many(np.asarray(confusion)[None])
    means = {name: float(scores[name][0]) for name in SCORES}
    return Scores(**means, iou=scores["iou"][0])


def score_many(confusions: NDArray[np.integer]) -> dict[str, Floats]:
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


def score_counts(counts: NDArray[np.number]) -> dict[str, Floats]:
    """Derive scores from condensed counts, as resampling needs.

    Args:
        counts: What `class_counts` gives, (..., 3, C); floats may be sums of many images.

    Returns:
        The four scores, each (...), and `iou`, (..., C).
    """
    rows = split_rows(counts)
    return {name: score_rows(METRICS[name], rows) for name in SCORES} | {"iou": _iou(*rows)}


def score_boundary(counts: NDArray[np.number]) -> dict[str, Floats]:
    """Derive Boundary IoU from its counts; conventions are those of IoU.

    Args:
        counts: Intersection and union of the boundary regions, by class, (..., 2, C), added up
            over images before the division.

    Returns:
        `boundary_miou`, (...), and `boundary_iou`, (..., C); NaN for a class without a boundary.
    """
    rows, metric = split_rows(counts), METRICS[BOUNDARY_SCORE]
    return {BOUNDARY_SCORE: score_rows(metric, rows), "boundary_iou": metric.function(*rows)}


def split_rows(counts: NDArray[np.number]) -> list[Floats]:
    """Return the rows of counts, (..., R, K), as R arrays (..., K); exact below 2**53 pixels."""
    values = np.asarray(counts, dtype=np.float64)
    return [values[..., row, :] for row in range(values.shape[-2])]


def score_rows(
    metric: Metric, rows: list[Floats], fit: Callable[[Floats], Floats] = lambda values: values
) -> Floats:
    """Score counts, (...): by one number of all pixels, or the mean over classes that have one.

    Args:
        metric: The score.
        rows: Counts, (..., K) each.
        fit: What a question makes of the scores of classes, (..., C), before the mean.
    """
    if not metric.of_class:
        return apply_metric(metric, rows)
    values = fit(apply_metric(metric, rows))
    if metric.weigh is None:
        return _mean_of_present(values)
    # Shares, not pixels, as weights: five times the counts give the same score to the last bit.
    weights = np.where(np.isnan(values), 0.0, metric.weigh(*rows))
    shares = divide(weights, weights.sum(-1, keepdims=True))
    weighted: Floats = (shares * np.nan_to_num(values)).sum(-1)
    return weighted


def apply_metric(metric: Metric, rows: list[Floats]) -> Floats:
    """Score counts by a metric's own function: each class, (..., C), or all pixels, (...).

    Raises:
        InputError: It is a plugin's, and fails or gives another shape.
    """
    if metric.function.__module__ == __name__:
        return metric.function(*rows)
    with foreign_code(f"the score {metric.label!r} failed: "):
        values = np.asarray(metric.function(*rows), dtype=np.float64)
    wanted = rows[0].shape if metric.of_class else rows[0].shape[:-1]
    if values.shape != wanted:
        each = "one number for each class" if metric.of_class else "one number of all classes"
        raise InputError(
            f"the score {metric.label!r} gave {values.shape} for counts {rows[0].shape}; it has to "
            f"give {each}, {wanted}: work along the last axis alone"
        )
    return values


def _mean_of_present(values: Floats) -> Floats:
    present = ~np.isnan(values)
    return divide(np.where(present, values, 0.0).sum(-1), present.sum(-1).astype(np.float64))
