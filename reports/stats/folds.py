"""Folds averaged: variants that differ in nothing but the fold become one arm, seed by seed.

In: arms of variants, and the level of each by factor. Out: arms of means over folds, and which
variants are in each. A seed's difference is then taken inside each fold, and averaged over folds,
before anything is judged: networks of one seed begin alike in all folds, so the seeds are what is
independent, and not the runs. Images judge once each, and are resampled in each fold by themselves.

What that says is about networks trained on these parts of these images, as everywhere: how far
other training images would move them is not in it (Bengio and Grandvalet, 2004). For networks that
hardly depend on single images such an interval is right (Bayle, Bayle, Janson and Mackey, 2020,
"Cross-validation confidence intervals for test error").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.metrics import find_metric
from reports.stats.bootstrap import draw_seed_weights, estimate
from reports.stats.effects import FOLD, Levels
from reports.stats.pairs import Arm, Classes

BETWEEN = -1
"""Stands between the classes of two folds; no class has such a number."""


@dataclass(frozen=True)
class Averaged:
    """Arms of means over folds, by a name that no variant has."""

    arms: Mapping[str, Arm]
    members: Mapping[str, str]
    """By variant, the name of the arm that it is in."""
    levels: Levels
    """Of these arms, by factor, the fold left out."""


def average_folds(arms: Mapping[str, Arm], levels: Levels) -> Averaged:
    """Average what differs in nothing but the fold, where all have the same folds.

    Args:
        arms: By variant.
        levels: Of each variant by factor (`asked.list_levels`), the fold among them if it varies.
    """
    rest = {factor: own for factor, own in levels.items() if factor != FOLD}
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for name in arms if FOLD in levels else ():
        key = tuple(own.get(name, "") for own in rest.values())
        found.setdefault(key, {})[levels[FOLD].get(name, "")] = name
    averaged: dict[str, Arm] = {}
    members: dict[str, str] = {}
    kept: dict[str, tuple[str, ...]] = {}
    for key, by_fold in found.items():
        names = [by_fold[fold] for fold in sorted(by_fold)]
        arm = _average([arms[name] for name in names])
        if arm is not None:
            whole = "\n".join(names)
            averaged[whole], kept[whole] = arm, key
            members |= dict.fromkeys(names, whole)
    own_levels = {
        factor: {whole: key[place] for whole, key in kept.items()}
        for place, factor in enumerate(rest)
    }
    return Averaged(averaged, members, own_levels)


def bound_mean(arm: Arm, score: str) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a mean over folds, as those of a variant are made."""
    m = arm.scores.index(score)
    weights = draw_seed_weights(arm.seeds, len(arm.draws), "")
    found = estimate(arm.points[:, m], arm.draws[:, :, m], weights, arm.num_units)
    least, most = find_metric(score).limits
    return float(np.clip(found.low, least, most)), float(np.clip(found.high, least, most))


def _average(arms: Sequence[Arm]) -> Arm | None:
    """Average arms of several folds over the seeds that all have; None where these are no folds."""
    first = arms[0]
    seeds = tuple(seed for seed in first.seeds if all(seed in arm.seeds for arm in arms))
    scores = tuple(score for score in first.scores if all(score in arm.scores for arm in arms))
    apart = len({arm.images for arm in arms}) == len(arms)
    if len(arms) < 2 or not seeds or not apart or len({arm.class_names for arm in arms}) > 1:
        return None
    points, draws = [], []
    for number, arm in enumerate(arms):
        rows = [arm.seeds.index(seed) for seed in seeds]
        columns = [arm.scores.index(score) for score in scores]
        points.append(arm.points[np.ix_(rows, columns)])
        # Folds of as many images have the same resamples, by number: here each is met by another.
        shift = number * len(arm.draws) // len(arms)
        draws.append(np.roll(arm.draws[:, rows][:, :, columns], shift, axis=0))
    return replace(
        first,
        images="\n".join(sorted(arm.images for arm in arms)),
        num_images=sum(arm.num_images for arm in arms),
        num_units=min(arm.num_units for arm in arms),
        counted={score: _join([arm.counted.get(score, frozenset()) for arm in arms])
                 for score in first.counted},
        seeds=seeds,
        scores=scores,
        points=np.mean(points, axis=0),
        draws=np.mean(draws, axis=0),
        collapsed=(),
        bounds=first.bounds.iloc[:0],
    )  # fmt: skip


def _join(counted: Sequence[frozenset[Classes]]) -> frozenset[Classes]:
    """Return the classes of a mean over folds as one: those of each fold, one behind the other.

    Folds may lack different classes, as long as both sides of a difference lack the same. Where one
    fold has means over several, there are several.
    """
    joined: list[int] = []
    for own in counted:
        if len(own) > 1:
            return frozenset(classes for one in counted for classes in one)
        joined += [BETWEEN, *next(iter(own), ())]
    return frozenset([tuple(joined)])
