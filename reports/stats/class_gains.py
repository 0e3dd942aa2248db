"""Gains by class: what a change brings to the IoU of each class, on average and in each context.

In: changes and what the counts say. Out: a frame. Its intervals are each by itself, without words:
classes are where one looks for reasons, not where a page decides.
"""

import math
from collections import Counter

import pandas as pd

from reports.stats.changes import is_of_folds, is_of_one
from reports.stats.effects import mean_effect, pair
from reports.stats.intervals import Intervals
from reports.stats.pairs import name_iou

MEAN = "mean"
"""Stands in place of a context, for the mean over contexts."""
COLUMNS = ["context", "class_name", "diff", "low", "high"]


def find_class_gains(changes: pd.DataFrame, intervals: Intervals) -> pd.DataFrame:
    """Return what one change brings to each class.

    Args:
        changes: Rows of `changes.find_changes` for one change, a row for each context.
        intervals: What the counts say, of all classes.

    Returns:
        A row for each context (and `MEAN`, of several judged alike) and class that all have:
        `diff`, and `low` and `high` of its own 95 % interval, NaN where one seed gives none;
        fractions.
    """
    pairs = {
        row["context"]: pair(row["variant_before"], row["variant_after"])
        for row in changes.to_dict("records")
    }
    if len(pairs) > 1 and (is_of_one(changes) or is_of_folds(changes)):
        pairs = {MEAN: mean_effect(list(pairs.values())), **pairs}
    variants = {name for effect in pairs.values() for name in effect}
    arms = [intervals.arms[name] for name in variants if name in intervals.arms]
    rows = []
    if len(arms) == len(variants) and len({arm.class_names for arm in arms}) == 1:
        names = Counter(arms[0].class_names)
        for class_name in (name for name, number in names.items() if number == 1):
            score = name_iou(class_name)
            if all(score in arm.scores for arm in arms):
                rows += [
                    {"context": context, "class_name": class_name}
                    | _measure(effect, score, intervals)
                    for context, effect in pairs.items()
                ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _measure(effect: dict[str, float], score: str, intervals: Intervals) -> dict[str, float]:
    found = intervals.findings.measure(effect, score)
    if found is not None:
        return {"diff": found.diff, "low": found.low, "high": found.high}
    means = {
        name: float(arm.points[:, arm.scores.index(score)].mean())
        for name, arm in intervals.arms.items()
        if name in effect
    }
    diff = sum(weight * means[name] for name, weight in effect.items())
    return {"diff": diff, "low": math.nan, "high": math.nan}
