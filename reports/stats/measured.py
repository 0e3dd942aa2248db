"""Contrasts of claims measured: estimates with their reach, and draws of what noise does to them.

In: questions, arms of variants, costs, and how noise is drawn. Out: `Measured` contrasts. Scores
are judged under the page's model of error, costs on logarithms.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reports.stats.asked import Asked, Question
from reports.stats.costs import COSTS, MEASURED, Cost
from reports.stats.effects import Levels
from reports.stats.family import NUM_DRAWS, draw_ratios
from reports.stats.model import Contrasts, Floats, t_quantile
from reports.stats.pairs import Arm
from reports.stats.sets import VariantSet, list_fold_sets, list_sets


@dataclass(frozen=True)
class Measured:
    """What is known of one contrast of a claim."""

    asked: Asked
    estimate: float
    reach: float
    """Half the length of its own two-sided 95 % interval."""
    of_seeds: float
    """Variance that is due to seeds."""
    of_images: float
    num_seeds: int
    num_units: int
    ratios: Floats
    """Draws of its noise over reach, (draws,)."""
    tolerance: float = 0.0
    """By how much it may be below its bound: of costs, what is as good as none."""

    @property
    def ahead(self) -> float:
        """How far it is above its bound."""
        return self.estimate - self.asked.bound + self.tolerance


class Draws(Protocol):
    """How the noise of contrasts is drawn."""

    num_draws: int

    def of_scores(
        self, one: VariantSet, contrasts: Contrasts, asked: Sequence[Asked], key: str
    ) -> Floats:
        """Draw noise over reach of contrasts of one score, (draws, M)."""

    def of_cost(self, freedom: int, key: str) -> Floats:
        """Draw Student's t over its quantile, (draws,)."""


class OnceDrawn:
    """Noise of runs that are judged once."""

    num_draws = NUM_DRAWS

    def of_scores(
        self, one: VariantSet, contrasts: Contrasts, asked: Sequence[Asked], key: str
    ) -> Floats:
        """Draw noise over reach of contrasts of one score, (draws, M)."""
        parts = draw_ratios(one.model, contrasts, self.num_draws, f"claims {key}")
        return np.concatenate(list(parts))

    def of_cost(self, freedom: int, key: str) -> Floats:
        """Draw Student's t over its quantile, (draws,)."""
        return draw_t(freedom, self.num_draws, key)


class NeverDrawn:
    """No noise: for contrasts whose critical values are known."""

    num_draws = 0

    def of_scores(
        self, one: VariantSet, contrasts: Contrasts, asked: Sequence[Asked], key: str
    ) -> Floats:
        """Return no draws, (0, M)."""
        return np.zeros((0, len(asked)))

    def of_cost(self, freedom: int, key: str) -> Floats:
        """Return no draws, (0,)."""
        return np.zeros(0)


def measure_claims(
    questions: Sequence[Question],
    arms: Mapping[str, Arm],
    costs: Mapping[str, Cost],
    levels: Levels,
    draws: Draws,
) -> list[list[Measured]]:
    """Measure all contrasts of each claim; none of a claim where one of them is not known."""
    asked = [one for question in questions for one in question.asked]
    by_score: dict[str, list[Asked]] = {}
    for one in asked:
        by_score.setdefault(one.score, []).append(one)
    known: dict[int, Measured] = {}
    for score, own in by_score.items():
        if score in COSTS:
            known |= {id(one): found for one in own if (found := _measure_cost(one, costs, draws))}
        else:
            known |= _measure_scores(score, own, arms, levels, draws)
    return [
        [known[id(one)] for one in question.asked]
        if all(id(one) in known for one in question.asked)
        else []
        for question in questions
    ]


def _measure_scores(
    score: str, asked: Sequence[Asked], arms: Mapping[str, Arm], levels: Levels, draws: Draws
) -> dict[int, Measured]:
    """Measure contrasts of one score, by identity: each under the model of its variants."""
    own = {name: arm for name, arm in arms.items() if score in arm.scores}
    known: dict[int, Measured] = {}
    sets = [*list_sets(own, score, levels), *list_fold_sets(own, score, levels)]
    for number, one in enumerate(sets):
        mine = [a for a in asked if one.holds(a.weights)]
        if not mine:
            continue
        contrasts = Contrasts(one.model, one.weigh([a.weights for a in mine]))
        judged = contrasts.judge(one.model.scores.points)
        of_images = contrasts.moves.var(axis=0, ddof=1)
        ratios = draws.of_scores(one, contrasts, mine, f"{score} {number}")
        for m, a in enumerate(mine):
            known[id(a)] = Measured(
                asked=a,
                estimate=float(judged.estimate[m]),
                reach=float(judged.reach[m]),
                of_seeds=max(float(judged.error[m]) ** 2 - float(of_images[m]), 0.0),
                of_images=float(of_images[m]),
                num_seeds=int(contrasts.num_seeds[m]),
                num_units=one.model.scores.num_units,
                ratios=ratios[:, m],
            )
    return known


def _measure_cost(asked: Asked, costs: Mapping[str, Cost], draws: Draws) -> Measured | None:
    """Measure by how much the right side's cost is above the left side's, as a logarithm."""
    cost = costs.get(asked.score)
    left, right = asked.weights
    if cost is None or not {left, right} <= set(cost.typical):
        return None
    estimate = math.log(cost.typical[right] / cost.typical[left])
    runs = min(cost.num_runs[left], cost.num_runs[right])
    if cost.name not in MEASURED:  # what is told apart by nothing is at most as much
        none = np.zeros(draws.num_draws)
        return Measured(asked, estimate, 0.0, 0.0, 0.0, runs, 0, none, cost.tolerance)
    if cost.freedom < 1:
        return None
    quantile, error = float(t_quantile(cost.freedom)), cost.error(left, right)
    ratios = draws.of_cost(cost.freedom, f"{asked.score} {left} {right}")
    return Measured(asked, estimate, quantile * error, error**2, 0.0, runs, 0, ratios)


def draw_t(freedom: int, num_draws: int, key: str) -> Floats:
    """Draw Student's t over the quantile of its central 95 %, (draws,)."""
    rng = keyed_generator(f"claims\n{key}")
    return np.asarray(rng.standard_t(freedom, num_draws) / float(t_quantile(freedom)))


def keyed_generator(key: str) -> np.random.Generator:
    """Return random numbers that depend on a text alone."""
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
