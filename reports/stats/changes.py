"""What changing one thing brings: variants that differ in nothing else, with intervals and tests.

In: the frame of runs, and what the counts say. Out: a frame with a row for each change.
"""

import math
from collections.abc import Sequence

import pandas as pd

from reports.stats.intervals import Intervals
from reports.stats.significance import ALPHA, holm
from reports.stats.summary import list_changes

SCORE = "miou"

NOT_CAUSES = ("train.init_from", "train.init_streams")
"""Factors that follow from others: the name of a parent says nothing about what was changed."""


def find_changes(
    runs: pd.DataFrame,
    factors: Sequence[str],
    baseline: str | None,
    intervals: Intervals | None = None,
) -> pd.DataFrame:
    """Compare variants that differ in one thing alone, and weigh the difference by the counts.

    Args:
        runs: `frame.runs_frame`.
        factors: Dotted keys in which variants differ, besides backbone and skip.
        baseline: Variant whose values the others are compared with.
        intervals: What the counts say; without them there are no intervals and tests.

    Returns:
        The rows of `stats.list_changes` that have a seed in common, with `miou_diff_low` and
        `miou_diff_high` (95 %), `miou_diff_p` (Student's t over images and seeds, adjusted by
        Holm over the changes of the same factor), NaN without counts, and `is_significant`, which
        one seed never is. Where variants were judged on different images or classes, none of two
        that were is a row, and `judged_on` says which images each row is about.
    """
    intervals = intervals or Intervals.none()
    causes = ["backbone", "skip", *(name for name in factors if name not in NOT_CAUSES)]
    changes = list_changes(runs, causes, baseline, intervals.comparability)
    changes = changes[changes["num_pairs"] > 0].reset_index(drop=True)
    arms = zip(changes["variant_before"], changes["variant_after"], strict=True)
    found = [_weigh(intervals, before, after) for before, after in arms]
    for i, end in enumerate(("low", "high", "p")):
        changes[f"{SCORE}_diff_{end}"] = pd.Series([one[i] for one in found], dtype="float64")
    p = f"{SCORE}_diff_p"
    changes[p] = changes.groupby("factor")[p].transform(holm)
    changes["is_significant"] = (changes[p] < ALPHA) & (changes["num_pairs"] > 1)
    comparability = intervals.comparability
    if not comparability.holds(comparability.judged):
        changes["judged_on"] = changes["variant_after"].map(comparability.describe())
    return changes


def _weigh(intervals: Intervals, before: str, after: str) -> tuple[float, float, float]:
    """Return both ends of the interval, and p; NaN where the two cannot be paired by image."""
    found = intervals.compare(before, after)
    if found is None:
        return math.nan, math.nan, math.nan
    row = found[found["score"] == SCORE].iloc[0]
    return float(row["low"]), float(row["high"]), float(row["p"])
