"""What changing one thing brings: variants that differ in nothing else, with intervals and tests.

In: the frame of runs, and what the counts say. Out: a frame with a row for each change, tables of
it by factor, and the sentences that say how to read them.
"""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from bench.text import clean
from reports.formats import MARK, Table
from reports.intervals import Intervals
from reports.marks import sign
from reports.significance import ALPHA, holm
from reports.stats import CHAINED, list_changes
from reports.style import MISSING, label, p_value, points, with_interval, with_spread

SCORE = "miou"
NOT_CAUSES = ("train.init_from", "train.init_streams")
"""Factors that follow from others: the name of a parent says nothing about what was changed."""
SIGNIFICANT = "*"


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
        `miou_diff_high` (95 %), `miou_diff_p` (Student's t over pictures and seeds, adjusted by
        Holm over the changes of the same factor), NaN without counts, and `is_significant`, which
        one seed never is. Where variants were judged on different images or classes, none of two
        that were is a row, and `judged_on` says which images each row is about.
    """
    intervals = intervals or Intervals.none()
    causes = ["backbone", "skip", *(name for name in factors if name not in NOT_CAUSES)]
    changes = list_changes(runs, causes, baseline, intervals.footing)
    changes = changes[changes["num_pairs"] > 0].reset_index(drop=True)
    arms = zip(changes["variant_before"], changes["variant_after"], strict=True)
    found = [_weigh(intervals, before, after) for before, after in arms]
    for i, end in enumerate(("low", "high", "p")):
        changes[f"{SCORE}_diff_{end}"] = pd.Series([one[i] for one in found], dtype="float64")
    p = f"{SCORE}_diff_p"
    changes[p] = changes.groupby("factor")[p].transform(holm)
    changes["is_significant"] = (changes[p] < ALPHA) & (changes["num_pairs"] > 1)
    footing = intervals.footing
    if not footing.share(footing.judged):
        changes["judged_on"] = changes["variant_after"].map(footing.describe())
    return changes


def tabulate_changes(changes: pd.DataFrame, baseline: str | None) -> Iterator[tuple[str, Table]]:
    """Yield a heading and a table for each factor whose changes the summary does not show.

    One plain row of differences from the baseline is in the summary's column of differences.
    """
    known = changes[changes[f"{SCORE}_diff_mean"].notna()]
    for factor in sorted(dict.fromkeys(known["factor"]), key=lambda name: name != CHAINED):
        found = changes[changes["factor"] == factor]
        if factor == CHAINED or baseline is None or found["context"].nunique() > 1:
            name = f"the {factor}" if factor in ("backbone", "skip") else clean(factor)
            down = "context" if factor == CHAINED else "change"
            yield f"What changing {name} brings", changes_table(found, down=down)


def changes_table(changes: pd.DataFrame, *, down: str) -> Table:
    """Show what one factor's changes bring in mIoU, with their mean over contexts.

    There is no mean over contexts that were judged on different images or classes.

    Args:
        changes: Rows of `find_changes` for one factor.
        down: What the rows are, "context" or "change"; the other one goes across.
    """
    frame = changes.assign(
        change=_name_changes(changes),
        context=changes["context"].map(clean),
        text=sign(_mark(_show(changes), changes), changes),
    )
    if frame["context"].nunique() == 1:
        cells = frame[["change", "text"]].rename(columns={"text": f"Δ {label(SCORE)}"})
        return Table(cells.reset_index(drop=True), frozenset(cells.columns[1:]))
    shown = frame.pivot_table(index="context", columns="change", values="text", aggfunc="first")
    shown = shown.loc[list(dict.fromkeys(frame["context"])), list(dict.fromkeys(frame["change"]))]
    if "judged_on" not in frame or frame["judged_on"].nunique() == 1:
        shown.loc["mean of these"] = [
            _average(frame[frame["change"] == name]) for name in shown.columns
        ]
    shown = shown if down == "context" else shown.T
    cells = shown.fillna(MISSING).rename_axis(index=down, columns=None).reset_index()
    cells = cells.rename(columns={"context": "with"})
    return Table(cells, frozenset(cells.columns[1:]))


def list_table(changes: pd.DataFrame) -> Table:
    """Show every change of every factor as a row, with its p."""
    cells = pd.DataFrame({"changed": [clean(name) for name in changes["factor"]]})
    cells["change"] = _name_changes(changes)
    cells["with"] = [clean(name) or MISSING for name in changes["context"]]
    cells["seeds"] = [str(n) for n in changes["num_pairs"]]
    cells[f"Δ {label(SCORE)}"] = sign(_show(changes), changes)
    cells["p"] = _mark([p_value(p) for p in changes[f"{SCORE}_diff_p"]], changes)
    return Table(cells, frozenset(cells.columns[3:]), caption=describe_changes(changes))


def describe_changes(changes: pd.DataFrame) -> str:
    """Say what the differences are, what their intervals cover, and when one is significant."""
    text = "Change of mIoU in percentage points between variants that differ in this alone"
    if changes[f"{SCORE}_diff_low"].isna().all():
        return f"{text}; mean ± standard deviation of the differences, paired by seed."
    text += ", paired by picture and seed, with the 95 % interval"
    if changes["num_pairs"].max() < 2:
        return f"{text} over pictures: one seed cannot say what training again would change."
    return (
        f"{text} over pictures and seeds. {SIGNIFICANT}: significant at {100 * ALPHA:g} % "
        "(Student's t, Holm over all changes of the same factor; never with one seed)."
    )


def _weigh(intervals: Intervals, before: str, after: str) -> tuple[float, float, float]:
    """Return both ends of the interval, and p; NaN where the two cannot be paired by picture."""
    found = intervals.compare(before, after)
    if found is None:
        return math.nan, math.nan, math.nan
    row = found[found["score"] == SCORE].iloc[0]
    return float(row["low"]), float(row["high"]), float(row["p"])


def _name_changes(changes: pd.DataFrame) -> list[str]:
    return [clean(f"{row.before} → {row.after}") for row in changes.itertuples(index=False)]


def _mark(texts: Sequence[str], changes: pd.DataFrame) -> list[str]:
    marks = changes["is_significant"]
    return [text + SIGNIFICANT * bool(is_so) for text, is_so in zip(texts, marks, strict=True)]


def _average(changes: pd.DataFrame) -> str:
    """Write the mean of differences, marked if one of them is."""
    mean = points(changes[f"{SCORE}_diff_mean"].mean())
    return f"{mean} {MARK}" if "remark" in changes and changes["remark"].any() else mean


def _show(changes: pd.DataFrame) -> list[str]:
    """Write each difference with its interval; without one, with the spread over seeds."""
    columns = (changes[f"{SCORE}_diff_{kind}"] for kind in ("mean", "std", "low", "high"))
    return [
        with_spread(points(mean), std)
        if math.isnan(low)
        else with_interval(points(mean), low, high, points)
        for mean, std, low, high in zip(*columns, strict=True)
    ]
