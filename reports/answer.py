"""The answer in the first lines: the best variant, how sure that is, what each change brings.

In: the frame of runs and the summary of variants. Out: words and numbers, unescaped.
No verdict on the expectation: that is the reader's, who sees both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.text import clean
from reports.formats import Table
from reports.marks import map_names
from reports.stats.comparability import Comparability
from reports.stats.intervals import Intervals
from reports.stats.summary import summarize_difference
from reports.style import label, number_of, percent, points, with_interval, with_spread
from reports.tables.changes import describe_changes, tabulate_changes
from reports.tables.comparisons import comparison_table


@dataclass(frozen=True)
class Answer:
    """What a reader learns before the first table."""

    best: str
    """Variant of highest mean mIoU, as it is shown; empty where there is none."""
    numbers: tuple[tuple[str, str], ...]
    """Name and value of the best variant's scores."""
    remarks: tuple[str, ...]
    """How far it is ahead: of the next, of the baseline."""
    changes: tuple[tuple[str, Table], ...]
    """What each factor's changes bring: a heading and a table for each."""
    changes_note: str
    """How to read these tables."""
    progress: str
    """How many of the planned runs are finished."""
    comparisons: Table | None = None
    """Each variant against the baseline, with intervals, tests and costs; its caption says how to
    read them. None without a baseline or counts."""
    notes: tuple[str, ...] = ()
    """What could not be compared, and why."""
    no_best: str = ""
    """Why no variant is the best though runs have finished."""


def find_answer(
    runs: pd.DataFrame,
    summary: pd.DataFrame,
    changes: pd.DataFrame,
    baseline: str | None,
    intervals: Intervals | None = None,
) -> Answer:
    """Put the result of an ablation into a few lines.

    Args:
        runs: `frame.runs_frame`.
        summary: `stats.summarize_variants`; with `intervals`, after `stats.add_intervals`; with
            remarks, after `Remarks.complete`.
        changes: `changes.find_changes`.
        baseline: Variant that the others are compared with.
        intervals: What the counts say; without them spreads are those over seeds alone.
    """
    intervals = intervals or Intervals.none()
    if not (summary["num_done"] > 0).any():
        return Answer("", (), (), (), "", _progress(runs))
    ranked = summary[summary["miou_mean"].notna()].sort_values(
        "miou_mean", ascending=False, kind="stable"
    )
    no_best = _why_no_best(list(ranked["variant"]), intervals.comparability)
    shown = map_names(summary)
    differences = None
    if baseline is not None and len(intervals.differences):
        differences = comparison_table(summary, baseline, intervals.comparability)
    return Answer(
        best="" if no_best else shown[ranked.iloc[0]["variant"]],
        numbers=() if no_best else _list_numbers(ranked.iloc[0]),
        remarks=()
        if no_best
        else tuple(_remarks(runs, list(ranked["variant"]), baseline, intervals, shown)),
        changes=tuple(tabulate_changes(changes, baseline)),
        changes_note=describe_changes(changes),
        progress=_progress(runs),
        comparisons=differences,
        notes=tuple(clean(note) for note in intervals.notes),
        no_best=no_best,
    )


def _why_no_best(scored: Sequence[str], comparability: Comparability) -> str:
    """Say why none of the variants that have a score is the best; empty if one is."""
    if not scored:
        return "No score: no labelled pixel was judged"
    if len(scored) > 1 and not comparability.holds(scored):
        return "No best: not all were judged on the same images, labels and classes"
    if len(scored) > 1 and not comparability.holds(scored, "miou"):
        return "No best by mIoU: the means are over different classes"
    return ""


def _list_numbers(best: "pd.Series[Any]") -> tuple[tuple[str, str], ...]:
    """Show the scores of the best variant, and what its mean is over where that must be said."""
    numbers = [("finished seeds", f"{best.num_done} of {best.num_planned}")]
    for score in ("pixel_acc", "miou"):
        shown = with_spread(percent(best[f"{score}_mean"]), best[f"{score}_std"])
        ends = [best.get(f"{score}_{end}", math.nan) for end in ("low", "high")]
        numbers.insert(0, (f"{label(score)}, %", with_interval(shown, *ends)))
    if "mean_over" in best:
        numbers.insert(1, ("mIoU is a mean over", str(best["mean_over"])))
    return tuple(numbers)


def _remarks(
    runs: pd.DataFrame,
    ranked: Sequence[str],
    baseline: str | None,
    intervals: Intervals,
    shown: Mapping[str, str],
) -> list[str]:
    """Compare the best with the next and with the baseline, paired by seed.

    `shown` is how each variant is named.
    """
    remarks = []
    rivals = {"the next best": ranked[1] if len(ranked) > 1 else None, "the baseline": baseline}
    for role, rival in rivals.items():
        if rival is None or rival == ranked[0]:
            continue
        difference = summarize_difference(runs, rival, ranked[0])
        mean, std = difference["miou_diff_mean"], difference["miou_diff_std"]
        count = int(difference["num_pairs"])
        if not count:
            remarks.append(f"No seed finished both it and {role}, {shown[rival]}.")
            continue
        if math.isnan(mean):
            continue  # nothing was counted there
        against = f"points of mIoU against {role}, {shown[rival]}, over {number_of(count, 'seed')}"
        found = intervals.compare(rival, ranked[0])
        if found is None:
            text, doubt = with_spread(points(mean), std), _doubt(mean, std)
        else:
            low, high = (float(found.loc[found["score"] == "miou", e].iloc[0]) for e in _ENDS)
            text = with_interval(points(mean), low, high, points)
            doubt = _doubt_interval(low, high, count)
        remarks.append(f"{text} {against} in common{doubt}.")
    if baseline == ranked[0]:
        remarks.append("It is the baseline: nothing that finished is better.")
    return remarks


def _doubt(mean: float, std: float) -> str:
    if math.isnan(std):
        return "; one seed cannot say whether that is chance"
    return "; that is within the spread between seeds" if abs(mean) <= std else ""


_ENDS = ("low", "high")


def _doubt_interval(low: float, high: float, num_seeds: int) -> str:
    doubts = []
    if low <= 0 <= high:
        doubts.append("the 95 % interval holds zero, so no difference is shown")
    if num_seeds < 2:
        doubts.append("the interval is over images: one seed cannot say what another would give")
    return "".join(f"; {doubt}" for doubt in doubts)


def _progress(runs: pd.DataFrame) -> str:
    counts = runs["status"].value_counts()
    done = int(counts.get("done", 0))
    if done == len(runs):
        if done == 1:
            return "The run finished."
        return f"All {number_of(done, 'planned run')} finished."
    parts = [f"{counts[name]} {name}" for name in ("failed", "missing") if name in counts]
    return f"{done} of {number_of(len(runs), 'planned run')} finished; {', '.join(parts)}."
