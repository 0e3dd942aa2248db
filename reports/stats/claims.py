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

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from fcn.registry import unknown_name
from reports.stats.asked import Question
from reports.stats.costs import Cost
from reports.stats.effects import Levels
from reports.stats.family import over_reach
from reports.stats.measured import Measured, NeverDrawn, OnceDrawn, measure_claims
from reports.stats.model import LEVEL, Floats
from reports.stats.outliers import describe_runs, find_outliers, leave_out
from reports.stats.pairs import Arm
from reports.style import enumerate_names

HELD, NOT_HELD, UNDECIDED = "held", "not held", "undecided"
MOST_SEEDS = 50
"""Number of seeds up to which it is said how many would probably decide."""


@dataclass(frozen=True)
class Critical:
    """How many reaches bounds are away from estimates, for all claims at once."""

    lower: float
    upper: float


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
    is_open: bool = False
    """Whether it is undecided, and more seeds may decide it."""
    noted: str = ""
    """Whether it was written before its runs, in words; empty where nobody noted it."""
    look: int | None = None
    """Which look decided it, from 1; None where none did, or all runs are judged at once."""


def judge_claims(
    questions: Sequence[Question],
    arms: Mapping[str, Arm],
    costs: Mapping[str, Cost],
    levels: Levels | None = None,
    critical: Critical | None = None,
    usual: Critical | None = None,
) -> list[Verdict]:
    """Judge claims as one family, with outliers and without: what these decide is undecided.

    Args:
        questions: What they are about.
        arms: Of variants, with every score that is asked for.
        costs: What was measured of costs.
        levels: Of each variant by factor, for spreads of their own.
        critical: Critical values; None has them drawn, for runs that are judged once.
        usual: What they would be of runs that are judged once, by which it is said what would
            decide; None where they are.
    """
    known = levels or {}, critical, usual
    found = _judge_all(questions, arms, costs, *known)
    outliers = find_outliers(arms)
    if not outliers:
        return found
    others = _judge_all(questions, leave_out(arms, outliers), costs, *known)
    return [
        one
        if one.word == other.word
        else replace(
            one, word=UNDECIDED, advice=f"{describe_runs(outliers)} made again", is_open=True
        )
        for one, other in zip(found, others, strict=True)
    ]


def _judge_all(
    questions: Sequence[Question],
    arms: Mapping[str, Arm],
    costs: Mapping[str, Cost],
    levels: Levels,
    critical: Critical | None,
    usual: Critical | None,
) -> list[Verdict]:
    draws = OnceDrawn() if critical is None else NeverDrawn()
    measured = measure_claims(questions, arms, costs, levels, draws)
    critical = critical or find_critical(measured)
    return [
        _judge(question, own, critical, usual or critical)
        if own
        else Verdict(question, UNDECIDED, None, *_UNKNOWN, *_why_unknown(question, arms, costs))
        for question, own in zip(questions, measured, strict=True)
    ]


_UNKNOWN = (math.nan, math.nan)


def find_critical(measured: Sequence[Sequence[Measured]]) -> Critical:
    """Return the 95 % points of the largest ratios: of claims judged once, as one family."""
    return Critical(*(_find_point(one) for one in find_largest(measured)))


def find_largest(measured: Sequence[Sequence[Measured]]) -> tuple[Floats | None, Floats | None]:
    """Return the largest noise over reach in each draw, (draws,): upwards, and downwards.

    Upwards, where it has a claim held, of each claim's lowest contrast; downwards of all. None
    where there is no contrast.
    """
    known = [own for own in measured if own]
    if not known:
        return None, None
    upwards = np.maximum.reduce([find_worst(own).ratios for own in known])
    downwards = np.maximum.reduce([-one.ratios for own in known for one in own])
    return upwards, downwards


def find_worst(measured: Sequence[Measured]) -> Measured:
    """Return the contrast of a claim that is the least above its bound, in its own reach."""
    return min(measured, key=_share)


def _find_point(largest: Floats | None) -> float:
    return math.nan if largest is None else max(float(np.quantile(largest, LEVEL)), 0.0)


def _why_unknown(
    question: Question, arms: Mapping[str, Arm], costs: Mapping[str, Cost]
) -> tuple[str, bool]:
    """Say what a claim needs that is not there, and whether more seeds would give it."""
    claim = question.claim
    names = {name for asked in question.asked for name in asked.weights}
    if claim.cost and claim.cost not in costs:
        return f"runs that record {claim.cost}", False
    missing = sorted(names - set(costs[claim.cost].typical if claim.cost else arms))
    if missing:
        return f"finished runs of {enumerate_names(missing)}", False
    if claim.cost:
        return "more than one run of a variant", True
    known = {name for arm in arms.values() for name in arm.class_names}
    for name in claim.classes:
        if name not in known:
            return unknown_name("class", name, known), False
    if any(len(arms[name].seeds) < 2 for name in names):
        return "more than one seed of each variant", True
    return "variants judged on the same images and classes", False


def _judge(
    question: Question, measured: Sequence[Measured], critical: Critical, usual: Critical
) -> Verdict:
    worst = find_worst(measured)
    lower, upper = critical.lower, critical.upper
    ends = _far(worst.estimate, -lower, worst.reach), _far(worst.estimate, upper, worst.reach)
    if all(_far(one.ahead, -lower, one.reach) > 0 for one in measured):
        return Verdict(question, HELD, worst, *ends, "")
    if any(_far(one.ahead, upper, one.reach) < 0 for one in measured):
        return Verdict(question, NOT_HELD, worst, *ends, "")
    return Verdict(question, UNDECIDED, worst, *ends, *_advise(worst, usual))


def _far(estimate: float, times: float, reach: float) -> float:
    """Return an end of an interval; what has no reach is where it is."""
    return estimate + times * reach if reach else estimate


def _share(one: Measured) -> float:
    """Return how many reaches a contrast is above its bound."""
    return float(over_reach(np.array(one.ahead), np.array(one.reach)))


def _advise(worst: Measured, critical: Critical) -> tuple[str, bool]:
    """Say what would probably decide, if things stay as they are, and whether seeds may."""
    if worst.of_images == 0 and worst.of_seeds == 0:
        return "nothing: it is at its bound", False
    normal = float(stats.norm.ppf((1 + LEVEL) / 2))
    needed = abs(worst.ahead) / max(critical.lower if worst.ahead > 0 else critical.upper, 1e-12)
    # Seeds may have it a standard error too near its bound; the images' part stays as it is.
    error = math.sqrt(worst.of_seeds)
    most = (abs(worst.ahead) + error) / max(min(critical.lower, critical.upper), 1e-12)
    if normal * math.sqrt(worst.of_images) >= most:
        return "more images, not more seeds", False
    per_seed = worst.of_seeds * worst.num_seeds
    left = (needed / normal) ** 2 - worst.of_images
    if left <= 0:
        return f"more images, or more than {MOST_SEEDS} seeds", True
    more = max(math.ceil(per_seed / left) - worst.num_seeds, 1)
    if worst.num_seeds + more > MOST_SEEDS:
        return f"more than {MOST_SEEDS} seeds", True
    return f"about {more} more seed{'s' * (more > 1)}", True
