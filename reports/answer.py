"""The answer in the first lines: the best variant, how sure that is, what each change brings.

In: the frame of runs and the summary of variants. Out: words and numbers, unescaped.
No verdict on the expectation: that is the reader's, who sees both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.text import clean
from reports.changes import describe_changes, tabulate_changes
from reports.comparisons import comparison_table
from reports.formats import Table
from reports.intervals import Intervals
from reports.stats import summarize_difference
from reports.style import label, percent, points, with_interval, with_spread


@dataclass(frozen=True)
class Answer:
    """What a reader learns before the first table."""

    best: str
    """Variant of highest mean mIoU; empty without any finished run."""
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
        summary: `stats.summarize_variants`; with `intervals`, after `stats.add_intervals`.
        changes: `changes.find_changes`.
        baseline: Variant that the others are compared with.
        intervals: What the counts say; without them spreads are those over seeds alone.
    """
    intervals = intervals or Intervals.none()
    ranked = summary[summary["num_done"] > 0].sort_values(
        "miou_mean", ascending=False, kind="stable"
    )
    if not len(ranked):
        return Answer("", (), (), (), "", _progress(runs))
    best = ranked.iloc[0]
    numbers = [("finished seeds", f"{best.num_done} of {best.num_planned}")]
    for score in ("pixel_acc", "miou"):
        shown = with_spread(percent(best[f"{score}_mean"]), best[f"{score}_std"])
        ends = [best.get(f"{score}_{end}", math.nan) for end in ("low", "high")]
        shown = with_interval(shown, *ends)
        numbers.insert(0, (f"{label(score)}, %", shown))
    return Answer(
        best=clean(best.variant),
        numbers=tuple(numbers),
        remarks=tuple(_remarks(runs, list(ranked["variant"]), baseline, intervals)),
        changes=tuple(tabulate_changes(changes, baseline)),
        changes_note=describe_changes(changes),
        progress=_progress(runs),
        comparisons=(
            comparison_table(summary, baseline)
            if baseline is not None and len(intervals.differences)
            else None
        ),
        notes=tuple(clean(note) for note in intervals.notes),
    )


def _remarks(
    runs: pd.DataFrame, ranked: Sequence[str], baseline: str | None, intervals: Intervals
) -> list[str]:
    """Compare the best with the next and with the baseline, paired by seed."""
    remarks = []
    rivals = {"the next best": ranked[1] if len(ranked) > 1 else None, "the baseline": baseline}
    for role, rival in rivals.items():
        if rival is None or rival == ranked[0]:
            continue
        difference = summarize_difference(runs, rival, ranked[0])
        mean, std = difference["miou_diff_mean"], difference["miou_diff_std"]
        count = int(difference["num_pairs"])
        if not count:
            remarks.append(f"No seed finished both it and {role}, {clean(rival)}.")
            continue
        against = f"points of mIoU against {role}, {clean(rival)}, over {_count(count, 'seed')}"
        found = intervals.compare(rival, ranked[0])
        if found is None:
            shown, doubt = with_spread(points(mean), std), _doubt(mean, std)
        else:
            low, high = (float(found.loc[found["score"] == "miou", e].iloc[0]) for e in _ENDS)
            shown = with_interval(points(mean), low, high, points)
            doubt = _doubt_interval(low, high, count)
        remarks.append(f"{shown} {against} in common{doubt}.")
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
        doubts.append("the interval is over pictures: one seed cannot say what another would give")
    return "".join(f"; {doubt}" for doubt in doubts)


def _progress(runs: pd.DataFrame) -> str:
    counts = runs["status"].value_counts()
    done = int(counts.get("done", 0))
    if done == len(runs):
        return f"All {_count(done, 'planned run')} finished." if done != 1 else "The run finished."
    parts = [f"{counts[name]} {name}" for name in ("failed", "missing") if name in counts]
    return f"{done} of {_count(len(runs), 'planned run')} finished; {', '.join(parts)}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
