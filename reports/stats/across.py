"""Variants ranked on several data sets: what they may rank by chance, and what holds beyond these.

In: scores of the same variants on each data set, and the arms that they are of. Out: ranks, a
`RankTest` and intervals. Scores of different data sets are never averaged: a point on one is not a
point on another. Ranks within each are what they have in common.

Reference: Demšar, 2006, "Statistical comparisons of classifiers over multiple data sets", JMLR 7
(Friedman's test, Nemenyi's critical difference and its diagram).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.stats.model import LEVEL, Floats, Model
from reports.stats.pairs import Arm
from reports.stats.sets import list_sets

ERROR = 1 - LEVEL
NUM_PERMUTATIONS = 20_000
NUM_DRAWS = 4000
"""Of ranks, for their intervals."""
CHUNK = 4_000_000
"""Numbers held at once."""


@dataclass(frozen=True)
class RankTest:
    """What mean ranks over data sets say of other data sets like these."""

    mean_ranks: Floats
    """Of each variant, (V,); 1 is the best."""
    num_sets: int
    statistic: float
    """Friedman's chi-squared."""
    p: float
    """Share of random orders, within each data set, that give as large a statistic."""
    critical: float
    """Nemenyi's critical difference of mean ranks at 5 %."""

    @property
    def is_shown(self) -> bool:
        """Whether ranks differ by more than chance: without that no two variants are told apart."""
        return self.p <= ERROR and self.why_not == ""

    @property
    def why_not(self) -> str:
        """Why so few data sets can show nothing, whatever they say; empty where they can."""
        V, D = len(self.mean_ranks), self.num_sets
        by_chance = math.exp(-(D - 1) * math.lgamma(V + 1))
        if by_chance > ERROR:
            return (
                f"even the same order on all {D} would come by chance in {100 * by_chance:.0f} % "
                "of cases"
            )
        if self.critical > V - 1:
            return (
                f"mean ranks would have to be {self.critical:.1f} apart, and {V - 1} is the most "
                f"that {V} variants can be"
            )
        return ""

    def list_groups(self) -> list[list[int]]:
        """Return the variants that are not told apart, best first: the bars of the diagram.

        Groups overlap, and none is part of another; all are one where nothing is shown.
        """
        order = np.argsort(self.mean_ranks, kind="stable").tolist()
        if not self.is_shown:
            return [order]
        groups: list[list[int]] = []
        for k, first in enumerate(order):
            reach = self.mean_ranks[first] + self.critical - ROUNDING
            group = [v for v in order[k:] if self.mean_ranks[v] < reach]
            if len(group) > 1 and not any(set(group) <= set(other) for other in groups):
                groups.append(group)
        return groups


ROUNDING = 1e-9


def rank_scores(scores: Floats) -> Floats:
    """Rank variants by scores, (..., V): 1 for the highest; equal ones share their mean rank."""
    ranks: Floats = stats.rankdata(-scores, axis=-1)
    return ranks


def judge_ranks(scores: Floats) -> RankTest:
    """Test whether variants rank alike over data sets.

    Args:
        scores: Of each variant on each data set, (D, V); two of each at least, none missing.
    """
    ranks = rank_scores(scores)
    D, V = ranks.shape
    seen = _friedman(ranks.mean(0), D)
    rng = np.random.default_rng([D, V])
    step = max(1, CHUNK // ranks.size)
    reached = 0
    for first in range(0, NUM_PERMUTATIONS, step):
        count = min(step, NUM_PERMUTATIONS - first)
        drawn = rng.permuted(np.broadcast_to(ranks, (count, D, V)), axis=-1)
        reached += int((_friedman(drawn.mean(1), D) >= seen - ROUNDING).sum())
    p = (1 + reached) / (1 + NUM_PERMUTATIONS)
    return RankTest(ranks.mean(0), D, float(seen), p, find_critical_difference(V, D))


def find_critical_difference(num_variants: int, num_sets: int) -> float:
    """Return by how much mean ranks must differ for two variants to be told apart (Nemenyi)."""
    V, D = num_variants, num_sets
    quantile = float(stats.studentized_range.ppf(LEVEL, V, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(V * (V + 1) / (6 * D))


def draw_means(arms: Mapping[str, Arm], key: int, score: str) -> Floats:
    """Draw what variants would score on other images, with other seeds, (NUM_DRAWS, V).

    Images are resampled by their units, the same for all; what seeds do is drawn from the one model
    of error of all variants with two seeds or more. Of one seed images alone are drawn.

    Args:
        arms: Of one data set, all on the same images.
        key: Number of the data set: each is drawn by itself.
        score: Which score.
    """
    rng = np.random.default_rng([key, len(arms)])
    means, moves, noise = {}, {}, {}
    for name, arm in arms.items():
        m = arm.scores.index(score)
        means[name] = float(arm.points[:, m].mean())
        drawn = arm.draws[:, :, m].mean(1)
        moves[name] = math.sqrt(arm.num_units / max(arm.num_units - 1, 1)) * (drawn - drawn.mean())
        noise[name] = np.zeros(NUM_DRAWS)
    for own in list_sets(arms, score, {}):
        of_seeds = _draw_seeds(own.model, rng)
        for v, name in enumerate(own.names):
            means[name] = float(own.model.means(own.model.scores.points)[v])
            moves[name] = own.model.image_moves[:, v]
            noise[name] = of_seeds[:, v]
    chosen = rng.integers(0, min(map(len, moves.values())), NUM_DRAWS)
    return np.stack([means[n] + moves[n][chosen] + noise[n] for n in arms], axis=1)


def find_intervals(draws: Floats, seen: Floats) -> tuple[Floats, Floats]:
    """Return both ends of the central 95 % of drawn ranks, (N, V), which hold the `seen`, (V,)."""
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(draws, tails, axis=0, method="inverted_cdf")
    return np.minimum(low, seen), np.maximum(high, seen)


def _friedman(mean_ranks: Floats, num_sets: int) -> Floats:
    """Return Friedman's statistic of mean ranks, (..., V)."""
    V = mean_ranks.shape[-1]
    spread: Floats = ((mean_ranks - (V + 1) / 2) ** 2).sum(-1)
    statistic: Floats = 12 * num_sets / (V * (V + 1)) * spread
    return statistic


def _draw_seeds(model: Model, rng: np.random.Generator) -> Floats:
    """Draw the error of each variant's mean over seeds, (NUM_DRAWS, V): normal, of unknown spread.

    What a seed does to all variants alike changes no rank.
    """
    freedoms = np.maximum(model.freedoms, 1e-9)
    scale = np.sqrt(freedoms / rng.chisquare(freedoms, (NUM_DRAWS, len(freedoms))))
    spread = (np.sqrt(model.variances) * scale)[:, model.groups]
    error: Floats = spread * rng.normal(size=spread.shape) / np.sqrt(model.present.sum(1))
    return error
