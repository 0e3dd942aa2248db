"""Arms of a comparison: one variant's scores with their intervals, and two variants paired.

In: counts of a variant's runs by seed. Out: an `Arm`, and frames of what one arm has more than
another. Both arms of a pair saw the same images and the same seeds; their resamples too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bench.metrics import find_metric
from bench.scoring import USUAL, Scorer, Scoring
from reports.results.counts import Counts, add_images, score_flat, split_parts
from reports.stats.bootstrap import Estimate, Floats, draw_seed_weights, estimate, resample
from reports.stats.units import Resamples

Classes = tuple[int, ...]


@dataclass(frozen=True)
class Arm:
    """The finished runs of one variant."""

    images: str
    """Digest of the images and labels that it was evaluated on."""
    num_images: int
    """Images with labels."""
    num_units: int
    """What was resampled of them: images, or groups or blocks of them."""
    class_names: tuple[str, ...]
    counted: Mapping[str, frozenset[Classes]]
    """By score that is a mean over classes, those that each seed's mean is over. Runs may differ in
    them: a class that no label names may be predicted."""
    seeds: tuple[int, ...]
    scores: tuple[str, ...]
    points: Floats
    """Scores of each seed on all images, (S, M)."""
    draws: Floats
    """The same in each resample of images, (R, S, M)."""
    collapsed: tuple[int, ...]
    """Seeds that call every pixel one class, where there are several."""
    bounds: pd.DataFrame
    """A row for each score: `variant`, `score`, `mean`, `low`, `high`, `num_seeds`, `num_images`,
    and of the mean its standard error, `error`, with degrees of `freedom`."""


def measure_arm(
    variant: str,
    counts: Mapping[int, Counts],
    resamples: Resamples,
    classes: Sequence[str] = (),
    scoring: Scoring = USUAL,
) -> tuple[Arm, pd.DataFrame]:
    """Score a variant's runs and every resample of them.

    Args:
        variant: Its name.
        counts: Counts of its runs by seed, all of the same images and width.
        resamples: Draws of images.
        classes: Names of classes whose IoU is a score of the arm too, as `IoU[NAME]`.
        scoring: What the question makes of counts.

    Returns:
        The arm, and a row for each class: `low` and `high` of IoU.
    """
    first = next(iter(counts.values()))
    scorer, C = first.scorer(scoring), first.num_classes
    values = add_images(np.stack([item.values for item in counts.values()]), C, scorer)
    S, N = values.shape[:2]
    sums = values.sum(1, dtype=np.int64)
    points, ious = score_flat(sums, C, scorer)
    weights, num_units = resamples.over(first)
    draws, iou_draws = score_flat(resample(weights, values), C, scorer)
    seeds = tuple(counts)
    seed_weights = draw_seed_weights(seeds, len(draws), "")
    limits = np.array([find_metric(name).limits for name in scorer.names]).T
    found = _clip(estimate(points, draws, seed_weights, num_units), *limits)
    bounds = pd.DataFrame({"variant": variant, "score": list(scorer.names), "mean": found.mean})
    bounds = bounds.assign(low=found.low, high=found.high, num_seeds=S, num_images=N)
    bounds = bounds.assign(error=found.error, freedom=found.freedom)
    asked = [c for c, name in enumerate(first.class_names) if name in classes]
    asked = [c for c in asked if not np.isnan(ious[:, c]).any()]
    # A resample without a pixel of a class says nothing of it: it is as if it were as it is.
    known = np.where(np.isnan(iou_draws[..., asked]), ious[:, asked], iou_draws[..., asked])
    arm = Arm(
        images=first.images,
        num_images=N,
        num_units=num_units,
        class_names=first.class_names,
        counted=_list_counted(sums, C, scorer),
        seeds=seeds,
        scores=(*scorer.names, *(name_iou(first.class_names[c]) for c in asked)),
        points=np.concatenate([points, ious[:, asked]], axis=1),
        draws=np.concatenate([draws, known], axis=2),
        collapsed=_list_collapsed(seeds, sums, C),
        bounds=bounds,
    )
    of_classes = _clip(estimate(ious, iou_draws, seed_weights, num_units), 0, 1)
    return arm, pd.DataFrame({"low": of_classes.low, "high": of_classes.high})


def name_iou(class_name: str) -> str:
    """Return the name of a class's IoU where it is a score."""
    return f"IoU[{class_name}]"


def _list_collapsed(
    seeds: Sequence[int], sums: NDArray[np.int64], num_classes: int
) -> tuple[int, ...]:
    """Return the seeds whose condensed counts, (S, K), have one class in the prediction alone."""
    C = num_classes
    in_target, in_pred = (np.count_nonzero(sums[:, k * C : (k + 1) * C], axis=1) for k in (1, 2))
    return tuple(np.array(seeds)[(in_pred == 1) & (in_target > 1)].tolist())


def why_no_pairs(before: Arm, after: Arm) -> str:
    """Say why two arms cannot be paired; empty if they can."""
    if before.images != after.images:
        return "they were not evaluated on the same images with the same labels"
    if before.class_names != after.class_names:
        return "their classes are not the same"
    if not set(before.seeds) & set(after.seeds):
        return "no seed finished both"
    return ""


def _list_counted(
    sums: NDArray[np.int64], num_classes: int, scorer: Scorer
) -> dict[str, frozenset[Classes]]:
    """Return the classes of each seed's means from its condensed counts, (S, K)."""
    found = scorer.counted(split_parts(sums, scorer.kinds, num_classes))
    return {
        score: frozenset(tuple(np.flatnonzero(row).tolist()) for row in rows)
        for score, rows in found.items()
    }


def _clip(found: Estimate, least: ArrayLike, most: ArrayLike) -> Estimate:
    """Keep an interval within what a score can be; stretching may have left that."""
    low, high = (np.clip(end, least, most) for end in (found.low, found.high))
    return Estimate(found.mean, low, high, found.error, found.freedom)
