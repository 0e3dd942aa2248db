"""What is found of a contrast: an estimate, intervals, and one of three words.

In: numbers of a model of error; or arms of two single networks, whose images alone are resampled.
"""

import math
from typing import NamedTuple

import numpy as np

from bench.metrics import METRICS, find_metric, is_by_image
from reports.stats.model import t_quantile
from reports.stats.pairs import Arm

SHOWN, NOT_SHOWN, EQUIVALENT = "shown", "not shown", "equivalent"
SAME = 5e-5
"""Differences that are shown alike."""


class Finding(NamedTuple):
    """A contrast, in fractions."""

    diff: float
    low: float
    high: float
    """Ends of the interval that decides, simultaneous over the page; of a pair of networks, or of
    another score than the primary, its own."""
    own_low: float
    own_high: float
    """Ends of its own 95 % interval."""
    error: float
    freedom: float
    p: float
    """Adjusted for all contrasts of the page; NaN where there is no word."""
    word: str
    """`SHOWN`, `NOT_SHOWN` or `EQUIVALENT`; empty where one seed gives no verdict."""
    num_seeds: int
    """Seeds that all of its variants have."""
    is_adjusted: bool = False
    """Whether it is not the difference of the means as they are shown, since seeds are missing."""
    reach: float = math.nan
    """Half the length of its own interval, where no bound of fractions cuts it."""
    critical: float = 1.0
    """By how much the interval that decides is longer."""
    without: "Finding | None" = None
    """The same without outliers, where there are any."""


def turn(found: Finding) -> Finding:
    """Return what is found of the same two, the other way round."""
    return found._replace(
        diff=-found.diff,
        low=-found.high,
        high=-found.low,
        own_low=-found.own_high,
        own_high=-found.own_low,
        without=None,
    )


def compare_networks(before: Arm, after: Arm, score: str) -> Finding:
    """Return what two variants differ by in the choice of images alone, over common seeds."""
    seeds = [seed for seed in before.seeds if seed in after.seeds]
    m = [arm.scores.index(score) for arm in (before, after)]
    rows = [[arm.seeds.index(seed) for seed in seeds] for arm in (before, after)]
    diff = float((after.points[rows[1], m[1]] - before.points[rows[0], m[0]]).mean())
    draws = (after.draws[:, rows[1], m[1]] - before.draws[:, rows[0], m[0]]).mean(1)
    shown = float(after.points[:, m[1]].mean() - before.points[:, m[0]].mean())
    adjusted, N = abs(diff - shown) > SAME, before.num_units
    if N < 2:
        nan = math.nan
        return Finding(diff, nan, nan, nan, nan, nan, nan, nan, "", len(seeds), adjusted)
    error = float(draws.std(ddof=1) * np.sqrt(N / (N - 1)))
    reach = float(t_quantile(N - 1.0)) * error
    most = find_range(score)
    ends = max(diff - reach, -most), min(diff + reach, most)
    found = Finding(diff, *ends, *ends, error, N - 1.0, np.nan, "", len(seeds), adjusted)
    return found._replace(reach=reach)


def find_range(score: str) -> float:
    """Return by how much two values of a score can differ at most; of shares 1."""
    if score not in METRICS and not is_by_image(score):  # IoU of a class
        return 1.0
    least, most = find_metric(score).limits
    return most - least
