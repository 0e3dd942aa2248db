"""Which variants share a model of error: those of the same images, classes and seeds enough.

In: arms of variants, and the levels that may have spreads of their own. Out: sets, each with its
model, whose variance is pooled over all of them or within groups of like spread.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from reports.stats.effects import Effect, Levels
from reports.stats.folds import average_folds
from reports.stats.model import Model, Scores
from reports.stats.pairs import Arm

UNEQUAL = 0.05
"""Level of the test whether seeds throw variants unequally far (Brown and Forsythe, 1974)."""
GROUP_RATIO = 3.0
"""Ratio of spreads of groups, such as short and long training, from which each has its own."""
MIN_GROUP = 4
"""Degrees of freedom that a group needs to have a spread of its own."""
TINY = 1e-9
"""What rounding leaves of nothing."""


@dataclass(frozen=True)
class VariantSet:
    """Variants that can be compared with one another, under one model."""

    names: Sequence[str]
    arms: Sequence[Arm]
    model: Model
    members: Mapping[str, str] = field(default_factory=dict)
    """Of means over folds: by variant, which of `names` it is in. None where variants are
    themselves what is compared."""

    @cached_property
    def places(self) -> dict[str, int]:
        """Number of each variant, or of the mean over folds that it is in."""
        own = {name: k for k, name in enumerate(self.names)}
        return {one: own[mean] for one, mean in self.members.items()} if self.members else own

    def holds(self, effect: Iterable[str]) -> bool:
        """Say whether an effect, or the variants that are named, are of its variants alone.

        Of means over folds, an effect must have each fold of a mean with the same weight.
        """
        names = list(effect)
        if not all(name in self.places for name in names):
            return False
        if not self.members:
            return True
        weights = effect if isinstance(effect, Mapping) else dict.fromkeys(names, 1.0)
        by_place: dict[int, list[float]] = {}
        for name, place in self.places.items():
            by_place.setdefault(place, []).append(weights.get(name, 0.0))
        return all(max(own) - min(own) < TINY for own in by_place.values())

    def weigh(self, effects: Sequence[Effect]) -> sparse.csr_array:
        """Return the weights of variants, or of means over folds, in each effect, (M, V)."""
        place = self.places
        cells = [(m, place[n], w) for m, one in enumerate(effects) for n, w in one.items()]
        rows, columns, values = zip(*cells, strict=True)
        shape = (len(effects), len(self.names))
        return sparse.csr_array((values, (rows, columns)), shape=shape)


def list_sets(arms: Mapping[str, Arm], score: str, levels: Levels) -> Iterable[VariantSet]:
    """Yield the variants of two seeds or more that can be compared with one another."""
    groups: dict[object, list[str]] = {}
    for name, arm in arms.items():
        classes = arm.counted.get(score, frozenset())
        if len(arm.seeds) > 1 and len(classes) < 2 and score in arm.scores:
            groups.setdefault((arm.images, arm.class_names, classes), []).append(name)
    for names in groups.values():
        if len(names) > 1 and arms[names[0]].num_units > 1:
            chosen = [arms[name] for name in names]
            scores = _tabulate(chosen, score)
            model = Model(scores)
            if model.freedom > 0:
                apart = _find_groups(model, names, levels)
                yield VariantSet(names, chosen, model if apart is None else Model(scores, apart))


def list_fold_sets(arms: Mapping[str, Arm], score: str, levels: Levels) -> Iterable[VariantSet]:
    """Yield the means over folds of two seeds or more that can be compared with one another."""
    averaged = average_folds(arms, levels)
    for one in list_sets(averaged.arms, score, averaged.levels):
        own = {name: mean for name, mean in averaged.members.items() if mean in one.names}
        yield replace(one, members=own)


def _tabulate(arms: Sequence[Arm], score: str) -> Scores:
    """Return the scores of arms, variants by seeds."""
    seeds = sorted({seed for arm in arms for seed in arm.seeds})
    num_draws = len(arms[0].draws)
    points = np.full((len(arms), len(seeds)), np.nan)
    draws = np.full((num_draws, len(arms), len(seeds)), np.nan)
    for v, arm in enumerate(arms):
        columns, m = [seeds.index(seed) for seed in arm.seeds], arm.scores.index(score)
        points[v, columns] = arm.points[:, m]
        draws[:, v, columns] = arm.draws[:, :, m]
    return Scores(points, draws, arms[0].num_units)


def _find_groups(model: Model, names: Sequence[str], levels: Levels) -> NDArray[np.intp] | None:
    """Return groups of variants that need spreads of their own; None if all have one."""
    left = model.residuals(model.scores.points)
    degrees = model.present.sum(1) - 1.0
    variances = (left**2).sum(1) / np.maximum(degrees, 1)
    best, ratio = None, GROUP_RATIO
    for of_variant in levels.values():
        kinds = list(dict.fromkeys(of_variant[name] for name in names))
        groups = np.array([kinds.index(of_variant[name]) for name in names])
        df = np.bincount(groups, degrees)
        if len(kinds) < 2 or df.min() < MIN_GROUP:
            continue
        spread = np.sqrt(np.bincount(groups, variances * degrees) / df)
        if spread.max() > ratio * max(spread.min(), 1e-12):
            best, ratio = groups, spread.max() / max(spread.min(), 1e-12)
    if best is not None:
        return best
    samples = [row[here] for row, here in zip(left, model.present, strict=True) if here.sum() > 2]
    varied = len(samples) > 1 and any(np.ptp(sample) for sample in samples)
    if varied and stats.levene(*samples, center="median").pvalue < UNEQUAL:
        return np.arange(len(names))
    return None


def say_spreads(one: VariantSet) -> str:
    """Say that variants differ in how far seeds throw them, where they do."""
    model = one.model
    if len(model.variances) < 2:
        return ""
    spreads = np.sqrt(model.variances)
    times = spreads.max() / max(spreads.min(), 1e-12)
    return (
        f"Seeds move some variants more than others, up to {min(times, 999):.0f} times as far: "
        "their spread is not pooled over all of them, and intervals are the longer for it."
    )
