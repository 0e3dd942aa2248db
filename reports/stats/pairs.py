"""Arms of a comparison: one variant's scores with their intervals, and two variants paired.

In: counts of a variant's runs by seed. Out: an `Arm`, and frames of what one arm has more than
another. Both arms of a pair saw the same images and the same seeds; their resamples too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bench.metrics import find_metric
from bench.scoring import USUAL, Scoring
from reports.results.counts import Counts, add_images, score_flat, split_parts
from reports.stats.bootstrap import Estimate, Floats, draw_seed_weights, estimate, resample
from reports.stats.units import Resamples

Classes = tuple[int, ...]
MEASURED_AT_ONCE = 2**19
"""Counts of images and resamples that are scored together: 4 MiB, which caches hold."""


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


class Measured(NamedTuple):
    """What counts say of one variant."""

    arm: Arm
    classes: pd.DataFrame
    """A row for each class: `low` and `high` of IoU."""


def measure_arm(
    variant: str,
    counts: Mapping[int, Counts],
    resamples: Resamples,
    classes: Sequence[str] = (),
    scoring: Scoring = USUAL,
) -> Measured:
    """Score a variant's runs and every resample of them: `measure_arms` of one."""
    return measure_arms([(variant, counts)], resamples, classes, scoring)[variant]


def measure_arms(
    counts: Iterable[tuple[str, Mapping[int, Counts]]],
    resamples: Resamples,
    classes: Sequence[str] = (),
    scoring: Scoring = USUAL,
) -> dict[str, Measured]:
    """Score variants' runs and every resample of them.

    Variants of the same images, classes and seeds are scored together: numbers are those of each
    alone, in a fraction of the time where there are thousands.

    Args:
        counts: By variant, counts of its runs by seed, all of the same images and width.
        resamples: Draws of images.
        classes: Names of classes whose IoU is a score of the arm too, as `IoU[NAME]`.
        scoring: What the question makes of counts.

    Returns:
        In the order of `counts`.
    """
    measured: dict[str, Measured] = {}
    waiting: dict[object, dict[str, Mapping[int, Counts]]] = {}
    names = []
    for variant, own in counts:
        names.append(variant)
        first = next(iter(own.values()))
        alike = first.images, first.class_names, first.kinds, tuple(own)
        together = waiting.setdefault(alike, {})
        together[variant] = own
        N, K = first.values.shape
        if len(together) * len(own) * K * (N + resamples.num_draws) >= MEASURED_AT_ONCE:
            measured |= _measure_alike(waiting.pop(alike), resamples, classes, scoring)
    for together in waiting.values():
        measured |= _measure_alike(together, resamples, classes, scoring)
    return {name: measured[name] for name in names}


def _measure_alike(
    counts: Mapping[str, Mapping[int, Counts]],
    resamples: Resamples,
    classes: Sequence[str],
    scoring: Scoring,
) -> dict[str, Measured]:
    """Score V variants of the same images, classes and S seeds, as one array of S V runs."""
    first_by_seed = next(iter(counts.values()))
    seeds, first = tuple(first_by_seed), next(iter(first_by_seed.values()))
    scorer, C, S, V = first.scorer(scoring), first.num_classes, len(seeds), len(counts)
    runs = [own[seed].values for seed in seeds for own in counts.values()]
    values = add_images(np.stack(runs), C, scorer)
    N = values.shape[1]
    sums = values.sum(1, dtype=np.int64)
    weights, num_units = resamples.over(first)
    R = len(weights)
    seed_weights = draw_seed_weights(seeds, R, "")
    points, ious = (one.reshape(S, V, -1) for one in score_flat(sums, C, scorer))
    scored = score_flat(resample(weights, values), C, scorer)
    draws, iou_draws = (one.reshape(R, S, V, -1) for one in scored)
    limits = np.array([find_metric(name).limits for name in scorer.names]).T
    found = _clip(estimate(points, draws, seed_weights, num_units), *limits)
    of_classes = _clip(estimate(ious, iou_draws, seed_weights, num_units), 0, 1)
    means = scorer.counted(split_parts(sums, scorer.kinds, C))
    measured = {}
    for v, variant in enumerate(counts):
        asked = [c for c, name in enumerate(first.class_names) if name in classes]
        asked = [c for c in asked if not np.isnan(ious[:, v, c]).any()]
        # A resample without a pixel of a class says nothing of it: it is as if it were as it is.
        own_draws, own_ious = iou_draws[:, :, v, asked], ious[:, v, asked]
        known = np.where(np.isnan(own_draws), own_ious, own_draws)
        bounds = {"variant": variant, "score": list(scorer.names), "mean": found.mean[v]}
        bounds |= {"low": found.low[v], "high": found.high[v], "num_seeds": S, "num_images": N}
        bounds |= {"error": found.error[v], "freedom": found.freedom[v]}
        arm = Arm(
            images=first.images,
            num_images=N,
            num_units=num_units,
            class_names=first.class_names,
            counted={score: _list_counted(rows[v::V]) for score, rows in means.items()},
            seeds=seeds,
            scores=(*scorer.names, *(name_iou(first.class_names[c]) for c in asked)),
            points=np.concatenate([points[:, v], own_ious], axis=1),
            draws=np.concatenate([draws[:, :, v], known], axis=2),
            collapsed=_list_collapsed(seeds, sums[v::V], C),
            bounds=pd.DataFrame(bounds),
        )
        ends = pd.DataFrame({"low": of_classes.low[v], "high": of_classes.high[v]})
        measured[variant] = Measured(arm, ends)
    return measured


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


def _list_counted(rows: NDArray[np.bool_]) -> frozenset[Classes]:
    """Return the classes that a mean of each seed is over, (S, C)."""
    return frozenset(tuple(np.flatnonzero(row).tolist()) for row in rows)


def _clip(found: Estimate, least: ArrayLike, most: ArrayLike) -> Estimate:
    """Keep an interval within what a score can be; stretching may have left that."""
    low, high = (np.clip(end, least, most) for end in (found.low, found.high))
    return Estimate(found.mean, low, high, found.error, found.freedom)
