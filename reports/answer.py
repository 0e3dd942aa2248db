"""The answer in the first lines: what it is about, the best variant, and how sure that is.

In: the frame of runs and the summary of variants. Out: words and numbers, unescaped. What each
change brings is said in `reports.statements`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.plan import CLAIMS, EFFECT, RANKING, Plan
from bench.text import clean, number_of
from reports.marks import map_names
from reports.stats.comparability import Comparability
from reports.stats.contrasts import Findings
from reports.stats.finding import EQUIVALENT, NOT_SHOWN, Finding
from reports.stats.intervals import Intervals
from reports.stats.primary import compared_scores, primary_of
from reports.stats.summary import CHAINED, summarize_difference
from reports.style import (
    enumerate_names,
    label,
    percent,
    places,
    points,
    with_interval,
    with_spread,
)


@dataclass(frozen=True)
class Answer:
    """What a reader learns of the variants before the first table."""

    best: str
    """Variant of highest mean by the primary score, as it is shown; empty where there is none."""
    numbers: tuple[tuple[str, str], ...]
    """Name and value of the best variant's scores."""
    remarks: tuple[str, ...]
    """Who is not told apart from it, and how far it is ahead: of the next, of the baseline."""
    progress: str
    """How many of the planned runs are finished."""
    notes: tuple[str, ...] = ()
    """What could not be compared, and why."""
    no_best: str = ""
    """Why no variant is the best though runs have finished."""


def choose_kinds(plan: Plan, changes: pd.DataFrame) -> list[str]:
    """Say what the answer to a question is made of, in order; the question may say what is first.

    Claims where there are any. Then the effect of its factors, where a change was made in several
    contexts or the skip alone was changed, else a ranking of variants.

    Args:
        plan: The question.
        changes: `changes.find_changes`.
    """
    same = changes.groupby(["factor", "before", "after"]).size()
    is_ladder = len(changes) > 0 and set(changes["factor"]) == {CHAINED}
    own = EFFECT if is_ladder or (same > 1).any() else RANKING
    if plan.answer in (EFFECT, RANKING):
        own = plan.answer
    kinds = [CLAIMS, own] if plan.claims else [own]
    return kinds[::-1] if plan.answer in (EFFECT, RANKING) else kinds


def find_answer(
    runs: pd.DataFrame,
    summary: pd.DataFrame,
    baseline: str | None,
    intervals: Intervals | None = None,
) -> Answer:
    """Put the result of an ablation into a few lines.

    Args:
        runs: `frame.runs_frame`.
        summary: `stats.summarize_variants`; with `intervals`, after `stats.add_intervals`; with
            remarks, after `Remarks.complete`.
        baseline: Variant that the others are compared with.
        intervals: What the counts say; without them spreads are those over seeds alone.
    """
    intervals = intervals or Intervals.none()
    primary = intervals.findings.score
    if not (summary["num_done"] > 0).any():
        return Answer("", (), (), _progress(runs))
    ranked = summary[summary[f"{primary}_mean"].notna()].sort_values(
        f"{primary}_mean", ascending=False, kind="stable"
    )
    no_best = _why_no_best(list(ranked["variant"]), intervals.comparability, primary)
    remarks: list[str] = []
    if not no_best:
        shown = map_names(summary)
        others = "every other variant" + " that has a score" * (len(ranked) < len(summary))
        remarks += _tell_ties(ranked, shown, intervals.findings, others)
        remarks += _remarks(runs, list(ranked["variant"]), baseline, intervals, shown)
    return Answer(
        best="" if no_best else map_names(summary)[ranked.iloc[0]["variant"]],
        numbers=() if no_best else _list_numbers(ranked.iloc[0], primary),
        remarks=tuple(remarks),
        progress=_progress(runs),
        notes=tuple(clean(note) for note in intervals.notes),
        no_best=no_best,
    )


def _tell_ties(
    ranked: pd.DataFrame, shown: Mapping[str, str], findings: Findings, all_others: str
) -> list[str]:
    """Say who is not told apart from the best; nothing where one seed gives it no verdict."""
    primary = primary_of(ranked)
    if not ranked.get(f"{primary}_best", pd.Series(False, ranked.index)).any():
        return []
    best, *others = ranked["variant"]
    found = {name: findings.compare(best, name) for name in others}
    unjudged = [shown[name] for name, one in found.items() if one is None or not one.word]
    tied = [shown[name] for name in ranked.loc[ranked[f"{primary}_tied"], "variant"]]
    tied = [name for name in tied if name not in unjudged]
    if tied:
        told = f"Not told apart from it: {enumerate_names(tied)}."
    elif unjudged:
        told = "It is shown to be better than every variant that can be judged against it."
    else:
        told = f"It is shown to be better than {all_others}."
    lack = f"Not judged, for lack of seeds, counts or common images: {enumerate_names(unjudged)}."
    return [told, lack] if unjudged else [told]


def _why_no_best(scored: Sequence[str], comparability: Comparability, primary: str) -> str:
    """Say why none of the variants that have a score is the best; empty if one is."""
    if not scored:
        return "No score: no labelled pixel was judged"
    if len(scored) > 1 and not comparability.holds(scored):
        return "No best: not all were judged on the same images, labels and classes"
    if len(scored) > 1 and not comparability.holds(scored, primary):
        return f"No best by {label(primary)}: the means are over different classes"
    return ""


def _list_numbers(best: "pd.Series[Any]", primary: str) -> tuple[tuple[str, str], ...]:
    """Show the scores of the best variant, and what its mean is over where that must be said."""
    numbers = [("finished seeds", f"{best.num_done} of {best.num_planned}")]
    if not math.isnan(best.get(f"{primary}_rank_low", math.nan)):
        first, last = (best[f"{primary}_rank_{end}"] for end in ("low", "high"))
        numbers.insert(0, ("place", places(first, last)))
    for score in compared_scores(primary)[::-1]:
        shown = with_spread(percent(best[f"{score}_mean"]), best[f"{score}_std"])
        ends = [best.get(f"{score}_{end}", math.nan) for end in ("low", "high")]
        numbers.insert(0, (f"{label(score)}, %", with_interval(shown, *ends)))
    if "mean_over" in best:
        numbers.insert(1, (f"{label(primary)} is a mean over", str(best["mean_over"])))
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
    remarks, primary = [], intervals.findings.score
    of = label(primary)
    rivals = {"the next best": ranked[1] if len(ranked) > 1 else None, "the baseline": baseline}
    if baseline in ranked[1:2]:
        rivals = {"the baseline, which is the next best": baseline}
    for role, rival in rivals.items():
        if rival is None or rival == ranked[0]:
            continue
        found = intervals.findings.compare(rival, ranked[0])
        difference = summarize_difference(runs, rival, ranked[0])
        mean, std = difference[f"{primary}_diff_mean"], difference[f"{primary}_diff_std"]
        if not difference["num_pairs"]:
            remarks.append(f"No seed finished both it and {role}, {shown[rival]}.")
        elif found is not None:
            text = with_interval(points(found.diff), found.low, found.high, points)
            remarks.append(f"{text} points of {of} against {role}, {shown[rival]}{_doubt(found)}.")
        elif not math.isnan(mean):
            text = with_spread(points(mean), std)
            remarks.append(f"{text} points of {of} against {role}, {shown[rival]}{_NO_COUNTS}.")
    if baseline == ranked[0] and len(ranked) > 1:
        remarks.append("It is the baseline: nothing that finished is better.")
    return remarks


_NO_COUNTS = "; without counts of several images nothing can be shown"


def _doubt(found: Finding) -> str:
    """Say what a difference of two variants does not tell."""
    if found.word == EQUIVALENT:
        return "; the two are equivalent within the margin"
    if found.word == NOT_SHOWN:
        return (
            "; the interval, one of all contrasts of this page, holds zero: no difference is shown"
        )
    if math.isnan(found.low):
        return _NO_COUNTS
    if not found.word:
        return "; the interval is over images: one seed cannot say what another would give"
    return ""


def _progress(runs: pd.DataFrame) -> str:
    counts = runs["status"].value_counts()
    done = int(counts.get("done", 0))
    if done == len(runs):
        if done == 1:
            return "The run finished."
        return f"All {number_of(done, 'planned run')} finished."
    parts = [f"{counts[name]} {name}" for name in ("failed", "missing") if name in counts]
    return f"{done} of {number_of(len(runs), 'planned run')} finished; {', '.join(parts)}."
