"""What changing one thing brings: variants that differ in nothing else, with intervals and words.

In: the frame of runs, and what the counts say. Out: frames with a row for each change, for each on
average over the contexts that share it, and for how far each context is from that average.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from reports.stats.effects import Effect, less, mean_effect
from reports.stats.finding import Finding
from reports.stats.intervals import Intervals
from reports.stats.primary import primary_of
from reports.stats.summary import CHAINED, list_changes

MAX_CONTEXTS = 100
"""Contexts of a change beyond which nobody asks of each how far it is from their mean."""


def list_causes(causes: Sequence[str]) -> list[str]:
    """Return the factors whose changes are looked at: backbone, skip and dotted keys."""
    return ["backbone", "skip", *causes]


def find_changes(
    runs: pd.DataFrame,
    causes: Sequence[str],
    baseline: str | None,
    intervals: Intervals | None = None,
    listed: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Compare variants that differ in one thing alone, and say what is found of the difference.

    Args:
        runs: `frame.runs_frame`.
        causes: Dotted keys that differ between variants (`settings.find_causes`), besides backbone
            and skip.
        baseline: Variant whose values the others are compared with.
        intervals: What the counts say; without them there are no intervals and no words.
        listed: `list_changes`, where that is known already.

    Returns:
        The rows of `list_changes` that have a seed in common, with `miou_diff_low`, `_high` (of
        the primary score, the interval that decides), `_own_low`, `_own_high`, `_p` and `_word`,
        NaN or empty without counts. Where variants were judged on different images or classes, none
        of two that were is a row, `judged_on` says which images each row is about, and `folds` of
        what these are a fold
        (`comparability.Judged`).
    """
    intervals = intervals or Intervals.none()
    if listed is None:
        listed = list_changes(runs, list_causes(causes), baseline, intervals.comparability)
    changes = listed[listed["num_pairs"] > 0].reset_index(drop=True)
    arms = list(zip(changes["variant_before"], changes["variant_after"], strict=True))
    intervals.findings.prepare(arms)
    primary = intervals.findings.score
    changes = _add(
        changes, primary, [intervals.findings.compare(before, after) for before, after in arms]
    )
    comparability = intervals.comparability
    if not comparability.holds(comparability.judged):
        changes["judged_on"] = changes["variant_after"].map(comparability.describe())
        judged = comparability.judged
        changes["folds"] = [
            " and ".join(sorted({one.folds for one in judged.get(name, ())}))
            for name in changes["variant_after"]
        ]
    return changes


def list_factors(changes: pd.DataFrame) -> list[str]:
    """Return the factors of changes, the ladder first."""
    return sorted(dict.fromkeys(changes["factor"]), key=lambda name: name != CHAINED)


def list_groups(own: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of each change of one factor; of a ladder first that from end to end."""
    groups = [rows for _, rows in own.groupby(["before", "after"], sort=False)]
    if groups and own["factor"].iloc[0] == CHAINED:
        starts = [rows["before"].iloc[0] == groups[0]["before"].iloc[0] for rows in groups]
        firsts = [k for k, is_first in enumerate(starts) if is_first]
        # Contexts may end apart: what several have comes before what is longest in one.
        whole = max(firsts, key=lambda k: (len(groups[k]) > 1, k))
        groups.insert(0, groups.pop(whole))
    return groups


def is_of(frame: pd.DataFrame, change: Mapping[Any, Any]) -> "pd.Series[bool]":
    """Say which rows of a frame are about a change, as `factor`, `before` and `after` say."""
    same = pd.Series(True, frame.index)
    for name in ("factor", "before", "after"):
        same &= frame[name] == change[name]
    return same


def list_effects(changes: pd.DataFrame) -> list[Effect]:
    """Return what is asked beyond pairs: mean gains over contexts, and how contexts differ in them.

    Args:
        changes: `list_changes`; of what has no seed in common nothing is asked.
    """
    effects: list[Effect] = []
    for own in _group(changes[changes["num_pairs"] > 0]):
        gains = _gains(own)
        mean = mean_effect(gains)
        effects.append(mean)
        if len(gains) <= MAX_CONTEXTS:
            effects += [less(gain, mean) for gain in gains]
    return effects


def find_main_effects(changes: pd.DataFrame, intervals: Intervals | None = None) -> pd.DataFrame:
    """Average each change over the contexts in which it was made.

    Differences are taken inside a fold, and averaged over folds; `reports.stats.folds` says what
    the word on that mean is about.

    Returns:
        A row for each change of more than one context, all judged on the same images or on folds of
        the same: `factor`, `before`, `after`, `num_contexts`, `over_folds` and the columns that
        `find_changes` adds.
    """
    intervals = intervals or Intervals.none()
    primary = primary_of(changes)
    rows, found = [], []
    for own in _group(changes, over_folds=True):
        shared = own.iloc[0][["factor", "before", "after"]].to_dict()
        mean = own[f"{primary}_diff_mean"].mean(skipna=False)
        folds = not is_of_one(own)
        row = {**shared, "num_contexts": len(own), "over_folds": folds}
        rows.append({**row, f"{primary}_diff_mean": mean})
        found.append(intervals.findings.effect(mean_effect(_gains(own))))
    columns = ["factor", "before", "after", "num_contexts", "over_folds", f"{primary}_diff_mean"]
    return _add(pd.DataFrame(rows, columns=columns), primary, found)


def find_interactions(changes: pd.DataFrame, intervals: Intervals | None = None) -> pd.DataFrame:
    """Say how far what a change brings in each context is from what it brings on average.

    Returns:
        A row for each row of `changes` whose change has more contexts, `MAX_CONTEXTS` at most:
        `factor`, `context`, `before`, `after` and the columns that `find_changes` adds.
    """
    intervals = intervals or Intervals.none()
    primary = primary_of(changes)
    rows, found = [], []
    for own in _group(changes):
        if len(own) > MAX_CONTEXTS:
            continue
        gains = _gains(own)
        mean, of_mean = mean_effect(gains), own[f"{primary}_diff_mean"].mean(skipna=False)
        for row, gain in zip(own.to_dict("records"), gains, strict=True):
            shared = {name: row[name] for name in ("factor", "context", "before", "after")}
            diff = row[f"{primary}_diff_mean"] - of_mean
            rows.append({**shared, f"{primary}_diff_mean": diff})
            found.append(intervals.findings.effect(less(gain, mean)))
    columns = ["factor", "context", "before", "after", f"{primary}_diff_mean"]
    return _add(pd.DataFrame(rows, columns=columns), primary, found)


def _group(changes: pd.DataFrame, *, over_folds: bool = False) -> Iterator[pd.DataFrame]:
    """Yield the rows of each change that was made in several contexts, on the same images.

    Args:
        changes: `find_changes`.
        over_folds: Also those that were made on folds of the same images.
    """
    for _, own in changes.groupby(["factor", "before", "after"], sort=False):
        if len(own) > 1 and (is_of_one(own) or (over_folds and is_of_folds(own))):
            yield own


def is_of_one(rows: pd.DataFrame) -> bool:
    """Say whether all contexts were judged on the same images."""
    return "judged_on" not in rows or rows["judged_on"].nunique() == 1


def is_of_folds(rows: pd.DataFrame) -> bool:
    """Say whether all contexts were judged on folds of the same images."""
    return "folds" in rows and rows["folds"].nunique() == 1 and bool(rows["folds"].iloc[0])


def _gains(changes: pd.DataFrame) -> list[dict[str, float]]:
    pairs = zip(changes["variant_before"], changes["variant_after"], strict=True)
    return [{before: -1.0, after: 1.0} for before, after in pairs]


def _add(frame: pd.DataFrame, primary: str, found: Sequence[Finding | None]) -> pd.DataFrame:
    """Put findings of a score beside the rows of a frame."""
    means = [math.nan if one is None else one.diff for one in found]
    known = pd.Series(means, frame.index, dtype="float64")
    frame = frame.assign(**{f"{primary}_diff_mean": known.fillna(frame[f"{primary}_diff_mean"])})
    for name in ("low", "high", "own_low", "own_high", "p"):
        values = [math.nan if one is None else getattr(one, name) for one in found]
        frame[f"{primary}_diff_{name}"] = pd.Series(values, frame.index, dtype="float64")
    frame[f"{primary}_diff_word"] = ["" if one is None else one.word for one in found]
    return frame
