"""Claims judged: held, not held, or undecided, with an error of 5 % for all of a question together.

A claim is held where the lower ends of all its contrasts exceed their bounds, not held where an
upper end is below. Ends are one-sided and hold for all claims at once: the critical value is the
95 % point of the largest of them where nothing differs. Of contrasts that must all hold the lowest
alone stands for its claim, since no correction is needed inside (intersection-union); upper ends
are corrected for all. Claims of cost are judged on logarithms.

In: questions, arms of variants, costs. Out: `Verdict`s. One seed decides nothing but what is
counted.

Reference: Berger, 1982 (intersection-union); Hothorn, Bretz and Westfall, 2008 (largest t).
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from fcn.registry import unknown_name
from reports.stats.asked import Asked, Question
from reports.stats.contrasts import list_sets
from reports.stats.costs import COSTS, MEASURED, Cost
from reports.stats.effects import Levels
from reports.stats.family import NUM_DRAWS, draw_ratios, over_reach
from reports.stats.model import LEVEL, Contrasts, Floats, t_quantile
from reports.stats.outliers import describe_runs, find_outliers, leave_out
from reports.stats.pairs import Arm
from reports.style import enumerate_names

HELD, NOT_HELD, UNDECIDED = "held", "not held", "undecided"
MOST_SEEDS = 50
"""Number of seeds up to which it is said how many would probably decide."""


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

    @property
    def ahead(self) -> float:
        """How far it is above its bound."""
        return self.estimate - self.asked.bound


@dataclass(frozen=True)
class Verdict:
    """A claim judged."""

    question: Question
    word: str
    worst: Measured | None
    """The contrast that is the least above its bound; None where one cannot be judged."""
    low: float
    """Lower end of it, for all claims at once."""
    high: float
    advice: str
    """Of an undecided one, what would decide it."""
    noted: str = ""
    """Whether it was written before its runs, in words; empty where nobody noted it."""


def judge_claims(
    questions: Sequence[Question],
    arms: Mapping[str, Arm],
    costs: Mapping[str, Cost],
    levels: Levels | None = None,
) -> list[Verdict]:
    """Judge claims as one family, with outliers and without: what these decide is undecided.

    Args:
        questions: What they are about.
        arms: Of variants, with every score that is asked for.
        costs: What was measured of costs.
        levels: Of each variant by factor, for spreads of their own.
    """
    found = _judge_all(questions, arms, costs, levels or {})
    outliers = find_outliers(arms)
    if not outliers:
        return found
    others = _judge_all(questions, leave_out(arms, outliers), costs, levels or {})
    return [
        one
        if one.word == other.word
        else replace(one, word=UNDECIDED, advice=f"{describe_runs(outliers)} made again")
        for one, other in zip(found, others, strict=True)
    ]


def _judge_all(
    questions: Sequence[Question],
    arms: Mapping[str, Arm],
    costs: Mapping[str, Cost],
    levels: Levels,
) -> list[Verdict]:
    measured = _measure_all(questions, arms, costs, levels)
    known = [own for own in measured if own]
    worst = [min(own, key=_share) for own in known]
    lower = _find_critical([one.ratios for one in worst])
    upper = _find_critical([-one.ratios for own in known for one in own])
    return [
        _judge(question, own, lower, upper)
        if own
        else Verdict(question, UNDECIDED, None, *_UNKNOWN, _why_unknown(question, arms, costs))
        for question, own in zip(questions, measured, strict=True)
    ]


_UNKNOWN = (math.nan, math.nan)


def _why_unknown(question: Question, arms: Mapping[str, Arm], costs: Mapping[str, Cost]) -> str:
    """Say what a claim needs that is not there."""
    claim = question.claim
    names = {name for asked in question.asked for name in asked.weights}
    if claim.cost and claim.cost not in costs:
        return f"runs that record {claim.cost}"
    missing = sorted(names - set(costs[claim.cost].typical if claim.cost else arms))
    if missing:
        return f"finished runs of {enumerate_names(missing)}"
    if claim.cost:
        return "more than one run of a variant"
    known = {name for arm in arms.values() for name in arm.class_names}
    for name in claim.classes:
        if name not in known:
            return unknown_name("class", name, known)
    if any(len(arms[name].seeds) < 2 for name in names):
        return "more than one seed of each variant"
    return "variants judged on the same images and classes"


def _judge(question: Question, measured: Sequence[Measured], lower: float, upper: float) -> Verdict:
    worst = min(measured, key=_share)
    ends = worst.estimate - lower * worst.reach, worst.estimate + upper * worst.reach
    if all(one.ahead - lower * one.reach > 0 for one in measured):
        return Verdict(question, HELD, worst, *ends, "")
    if any(one.ahead + upper * one.reach < 0 for one in measured):
        return Verdict(question, NOT_HELD, worst, *ends, "")
    return Verdict(question, UNDECIDED, worst, *ends, _advise(worst, lower, upper))


def _share(one: Measured) -> float:
    """Return how many reaches a contrast is above its bound."""
    return float(over_reach(np.array(one.ahead), np.array(one.reach)))


def _find_critical(ratios: Sequence[Floats]) -> float:
    """Return the 95 % point of the largest ratio."""
    if not ratios:
        return math.nan
    return max(float(np.quantile(np.maximum.reduce(list(ratios)), LEVEL)), 0.0)


def _measure_all(
    questions: Sequence[Question],
    arms: Mapping[str, Arm],
    costs: Mapping[str, Cost],
    levels: Levels,
) -> list[list[Measured]]:
    """Measure all contrasts of each claim; none of a claim where one of them is not known."""
    asked = [one for question in questions for one in question.asked]
    by_score: dict[str, list[Asked]] = {}
    for one in asked:
        by_score.setdefault(one.score, []).append(one)
    known: dict[int, Measured] = {}
    for score, own in by_score.items():
        if score in COSTS:
            known |= {id(one): found for one in own if (found := _measure_cost(one, costs))}
        else:
            known |= _measure_scores(score, own, arms, levels)
    return [
        [known[id(one)] for one in question.asked]
        if all(id(one) in known for one in question.asked)
        else []
        for question in questions
    ]


def _measure_scores(
    score: str, asked: Sequence[Asked], arms: Mapping[str, Arm], levels: Levels
) -> dict[int, Measured]:
    """Measure contrasts of one score, by identity: each under the model of its variants."""
    own = {name: arm for name, arm in arms.items() if score in arm.scores}
    known: dict[int, Measured] = {}
    for number, one in enumerate(list_sets(own, score, levels)):
        mine = [a for a in asked if set(a.weights) <= set(one.names)]
        if not mine:
            continue
        contrasts = Contrasts(one.model, one.weigh([a.weights for a in mine]))
        judged = contrasts.judge(one.model.scores.points)
        of_images = contrasts.moves.var(axis=0, ddof=1)
        parts = draw_ratios(one.model, contrasts, NUM_DRAWS, f"claims {score} {number}")
        ratios = np.concatenate(list(parts))
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


def _measure_cost(asked: Asked, costs: Mapping[str, Cost]) -> Measured | None:
    """Measure by how much the right side's cost is above the left side's, as a logarithm."""
    cost = costs.get(asked.score)
    left, right = asked.weights
    if cost is None or not {left, right} <= set(cost.typical):
        return None
    estimate = math.log(cost.typical[right] / cost.typical[left])
    runs = min(cost.num_runs[left], cost.num_runs[right])
    if cost.name not in MEASURED:  # what is told apart by nothing is at most as much
        estimate += cost.tolerance
        return Measured(asked, estimate, 0.0, 0.0, 0.0, runs, 0, np.zeros(NUM_DRAWS))
    if cost.freedom < 1:
        return None
    quantile, error = float(t_quantile(cost.freedom)), cost.error(left, right)
    rng = _generator(f"{asked.score} {left} {right}")
    ratios = rng.standard_t(cost.freedom, NUM_DRAWS) / quantile
    return Measured(asked, estimate, quantile * error, error**2, 0.0, runs, 0, ratios)


def _advise(worst: Measured, lower: float, upper: float) -> str:
    """Say what would probably decide, if things stay as they are."""
    if worst.of_images == 0 and worst.of_seeds == 0:
        return "nothing: it is at its bound"
    normal = float(stats.norm.ppf((1 + LEVEL) / 2))
    critical = lower if worst.ahead > 0 else upper
    needed = abs(worst.ahead) / max(critical, 1e-12)
    if normal * math.sqrt(worst.of_images) >= needed:
        return "more images, not more seeds"
    per_seed = worst.of_seeds * worst.num_seeds
    left = (needed / normal) ** 2 - worst.of_images
    seeds = math.ceil(per_seed / left) if left > 0 else MOST_SEEDS + 1
    more = max(seeds - worst.num_seeds, 1)
    if worst.num_seeds + more > MOST_SEEDS:
        return f"more than {MOST_SEEDS} seeds"
    return f"about {more} more seed{'s' * (more > 1)}"


def _generator(key: str) -> np.random.Generator:
    digest = hashlib.sha256(f"claims\n{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
