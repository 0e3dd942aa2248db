"""Claims judged again and again as seeds are added, with an error of 5 % over all looks together.

Group-sequential: at each look the largest ratio over all claims is held against a critical value of
that look, chosen so that the chance to cross it first there, where nothing differs, is the error
that is spent there. Both false held and false not held have 5 %. Noise is drawn for all runs once,
the same at each look, and judged with the runs that were there: looks share most of it. Error is
spent in proportion to information, 1 / variance with the part of images in it: of n of N seeds

    (of_seed / N + of_images) / (of_seed / n + of_images)

In: snapshots of arms and costs, one a look. Out: `Taken` looks, with verdicts.

Reference: Lan and DeMets, 1983 (spending functions); Kim and DeMets, 1987 (powers of information).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.stats.asked import Asked, Question
from reports.stats.claims import (
    UNDECIDED,
    Critical,
    Verdict,
    find_critical,
    find_largest,
    judge_claims,
)
from reports.stats.costs import Cost
from reports.stats.effects import Levels
from reports.stats.family import MANY_UNITS, chunk_draws, weigh_noise
from reports.stats.measured import Measured, draw_t, keyed_generator, measure_claims
from reports.stats.model import LEVEL, Contrasts, Floats
from reports.stats.pairs import Arm
from reports.stats.sets import VariantSet

SPENDING = "in proportion to information (Kim and DeMets, 1987, power 1)"
NUM_DRAWS = 20_000
"""Draws of noise: a look of many spends a few in a thousand."""


def spend(information: float) -> float:
    """Return the error spent at a share of the information, for one kind of false verdict."""
    return (1 - LEVEL) * information


@dataclass(frozen=True)
class Taken:
    """One look at all claims."""

    information: float
    """Share of the most that seeds can give."""
    spent: float
    """Error spent up to here."""
    critical: Critical
    verdicts: Sequence[Verdict]
    """Of claims that were decided at an earlier look, as they were then."""

    @property
    def is_over(self) -> bool:
        """Whether more seeds can decide nothing more."""
        return not any(one.is_open for one in self.verdicts)


class Sequential:
    """Looks at the claims of one question, in their order.

    Args:
        questions: What claims are about.
        levels: Of each variant by factor, for spreads of their own.
        max_seeds: Most seeds of each variant.
        num_draws: Draws of noise.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        levels: Levels,
        max_seeds: int,
        num_draws: int,
    ) -> None:
        self._questions, self._levels = questions, levels
        self._max_seeds, self._num_draws = max_seeds, num_draws
        self._sides = (_Side(num_draws), _Side(num_draws))
        self._taken: list[Taken] = []

    def look(
        self,
        arms: Mapping[str, Arm],
        costs: Mapping[str, Cost],
        num_seeds: int,
        known: Critical | None = None,
    ) -> Taken:
        """Judge all claims once more.

        Args:
            arms: Of variants, with the runs that are there at this look.
            costs: What was measured of costs by then.
            num_seeds: Seeds of the variants that get any more.
            known: Critical values of a look that was taken before; None finds them.
        """
        draws = _SharedDraws(self._num_draws, num_seeds)
        measured = measure_claims(self._questions, arms, costs, self._levels, draws)
        information = max(
            [
                _inform(measured, num_seeds, self._max_seeds),
                *(one.information for one in self._taken),
            ]
        )
        spent = spend(information)
        largest = find_largest(measured)
        critical = known or Critical(
            *(side.find(one, spent) for side, one in zip(self._sides, largest, strict=True))
        )
        for side, one, value in zip(
            self._sides, largest, (critical.lower, critical.upper), strict=True
        ):
            side.cross(one, value)
        usual = find_critical(measured)
        verdicts = judge_claims(self._questions, arms, costs, self._levels, critical, usual)
        number = len(self._taken) + 1
        verdicts = [
            replace(one, look=None if one.word == UNDECIDED else number) for one in verdicts
        ]
        if self._taken:
            before = self._taken[-1].verdicts
            verdicts = [
                one if old.word == UNDECIDED else old
                for old, one in zip(before, verdicts, strict=True)
            ]
        self._taken.append(Taken(information, spent, critical, verdicts))
        return self._taken[-1]


class _Side:
    """One kind of false verdict: which draws have not crossed at any look yet.

    Args:
        num_draws: How many there are.
    """

    def __init__(self, num_draws: int) -> None:
        self._left = np.ones(num_draws, dtype=bool)

    def find(self, largest: Floats | None, spent: float) -> float:
        """Return the critical value with which as many draws have crossed as error is spent."""
        num_draws = len(self._left)
        allowed = math.floor(spent * num_draws) - (num_draws - int(self._left.sum()))
        if largest is None or allowed < 1:
            return math.inf
        value = float(np.sort(largest[self._left])[-allowed - 1])
        return value if value > 0 else 0.0

    def cross(self, largest: Floats | None, critical: float) -> None:
        """Take out the draws that cross a critical value."""
        if largest is not None:
            self._left &= largest <= critical


class _SharedDraws:
    """Noise that each run has at every look at which it is there; and images for all of them.

    Costs of one look are drawn apart from those of others, which spends a little more than needed.
    """

    def __init__(self, num_draws: int, num_seeds: int) -> None:
        self.num_draws = num_draws
        self._num_seeds = num_seeds

    def of_scores(
        self, one: VariantSet, contrasts: Contrasts, asked: Sequence[Asked], key: str
    ) -> Floats:
        """Draw noise over reach of contrasts of one score, (draws, M)."""
        model = one.model
        V, S = model.present.shape
        columns = {s: k for k, s in enumerate(sorted({s for arm in one.arms for s in arm.seeds}))}
        runs = [
            (v, columns[seed], keyed_generator(f"looks\n{key} {name} {seed}"))
            for v, (name, arm) in enumerate(zip(one.names, one.arms, strict=True))
            for seed in arm.seeds
        ]
        of_images = keyed_generator(f"looks\n{key}")
        spreads = [keyed_generator(f"looks\n{key} {sorted(a.weights.items())}") for a in asked]
        units = model.scores.num_units
        found = []
        for count in chunk_draws(contrasts, self.num_draws):
            noise = np.zeros((count, V, S))
            for v, s, rng in runs:
                noise[:, v, s] = rng.standard_normal(count)
            resamples = (of_images.random(count) * len(contrasts.moves)).astype(np.intp)
            squares = None
            if units < MANY_UNITS:
                squares = np.stack([rng.chisquare(units - 1, count) for rng in spreads], axis=1)
            found.append(weigh_noise(model, contrasts, noise, resamples, squares))
        return np.concatenate(found)

    def of_cost(self, freedom: int, key: str) -> Floats:
        """Draw Student's t over its quantile, (draws,)."""
        return draw_t(freedom, self.num_draws, f"{key} {self._num_seeds}")


def _inform(measured: Sequence[Sequence[Measured]], num_seeds: int, max_seeds: int) -> float:
    """Return the smallest share of information that any contrast has of what seeds can give it.

    Of the seeds that those have which still get some: what is decided, and when, is no part of it.
    """
    if num_seeds >= max_seeds:
        return 1.0
    shares = []
    for one in (one for own in measured for one in own if one.of_seeds > 0):
        of_seed = one.of_seeds * max(one.num_seeds, 1)
        shares.append((of_seed / max_seeds + one.of_images) / (of_seed / num_seeds + one.of_images))
    return min(shares, default=num_seeds / max_seeds)
