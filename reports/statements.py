"""Statements: what changing one thing brings, in a sentence each, as the first lines of an answer.

In: frames of changes, their means over contexts, and how contexts differ (`reports.stats.changes`).
Out: sentences, unescaped. They say what the page shows, and nothing that it does not: where
contexts are not shown to differ, none is called the one that gains most.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from bench.text import clean, number_of
from reports.formats import MARK
from reports.marks import is_marked
from reports.stats.asked import SHORT
from reports.stats.changes import is_of, list_factors, list_groups
from reports.stats.finding import EQUIVALENT, SHOWN
from reports.stats.primary import PRIMARY, primary_of
from reports.stats.shares import INTERACTION, SEEDS
from reports.stats.summary import CHAINED, is_of_stages
from reports.style import label, p_bound, percent, points, with_interval

MOST = 3
"""Changes of one factor that are said in sentences; tables have all."""
Row = Mapping[Any, Any]


class Statement(NamedTuple):
    """What one change brings."""

    lead: str
    """On average, or in its only context, with the verdict."""
    rest: str
    """How contexts differ; empty where there is one."""


def state_changes(
    changes: pd.DataFrame, means: pd.DataFrame, interactions: pd.DataFrame
) -> list[Statement]:
    """Say what each factor's changes bring: first the skip's, of a ladder the whole way.

    Args:
        changes: `find_changes`.
        means: `find_main_effects`.
        interactions: `find_interactions`.
    """
    return [
        statement
        for factor in list_factors(changes)
        for statement in state_factor(factor, changes, means, interactions)
    ]


def state_factor(
    factor: str, changes: pd.DataFrame, means: pd.DataFrame, interactions: pd.DataFrame
) -> list[Statement]:
    """Say what one factor's changes bring; takes what `state_changes` does."""
    own = changes[changes["factor"] == factor]
    others = [name for name in list_factors(changes) if name != factor]
    listed = list_groups(own)[: 1 if factor == CHAINED else None]
    statements = [_tell(rows, means, interactions, others) for rows in listed[:MOST]]
    if len(listed) > MOST:
        rest = number_of(len(listed) - MOST, "further change")
        statements.append(Statement("", f"Of {clean(factor)}, {rest} in the tables under Effects."))
    return statements


def _tell(
    rows: pd.DataFrame, means: pd.DataFrame, interactions: pd.DataFrame, others: Sequence[str]
) -> Statement:
    """Say what one change brings, its rows being those of its contexts, in which `others` vary."""
    first = rows.iloc[0].to_dict()
    mark = f" {MARK}" if is_marked(rows) else ""
    no_word = _say_why_no_word(rows)
    if len(rows) == 1:
        return Statement(_lead(first, "", no_word, mark), "")
    mean = _of_change(means, first)
    if mean is None:  # judged on different images: no mean
        why = f"{name_contexts(len(rows), others)}, judged on different images: no mean"
        return Statement(f"{_from_to(first)}: {why}.", "")
    contexts = name_contexts(len(rows), () if any(map(is_of_stages, rows["context"])) else others)
    over = f" on average over {contexts}"
    apart = interactions[is_of(interactions, first)]
    rest = _tell_contexts(rows, apart, contexts.split(" ", 1)[1], no_word)
    if mean.get("over_folds"):
        rest += f" {_FOLDS}"
    return Statement(_lead(mean, over, no_word, mark), rest)


def _say_why_no_word(rows: pd.DataFrame) -> str:
    """Say why nothing is shown of a change, or of its mean, where it is not."""
    primary = primary_of(rows)
    if not rows[f"{primary}_diff_low"].notna().any():
        return _NO_COUNTS
    without = rows[rows[f"{primary}_diff_word"] == ""]
    if (without["num_pairs"] == 1).any():
        return "one seed gives no verdict"
    if without[f"{primary}_diff_mean"].isna().any():
        return "means over different classes give no verdict"
    return "contexts that are not judged by the same images and classes give no verdict"


def name_contexts(number: int, factors: Sequence[str]) -> str:
    """Name a number of contexts, by what varies in them: "4 backbones", "12 contexts"."""
    if len(factors) != 1:
        return number_of(number, "context")
    own = factors[0]
    is_short = own in (CHAINED, "backbone")
    return number_of(number, own) if is_short else f"{number_of(number, 'value')} of {clean(own)}"


def tell_shares(shares: dict[str, float], score: str = PRIMARY) -> str:
    """Say what the scatter of scores is due to; empty where nothing is known."""
    if not shares:
        return ""
    own = [name for name in shares if name not in (INTERACTION, SEEDS)]
    told = [f"{clean(SHORT.get(name, name))} {percent(shares[name])} %" for name in own]
    told += [f"how they act on each other {percent(shares[INTERACTION])} %"]
    return (
        f"Of the scatter of {label(score)} over all runs: {', '.join(told)}, "
        f"seeds {percent(shares[SEEDS])} %."
    )


def _lead(row: Row, where: str, no_word: str, mark: str) -> str:
    """Say what a change brings; `no_word` is why nothing is said to be shown, where it is not."""
    primary = primary_of(row)
    diff, word = row[f"{primary}_diff_mean"], row[f"{primary}_diff_word"]
    low, high = row[f"{primary}_diff_low"], row[f"{primary}_diff_high"]
    if math.isnan(diff):
        return f"{_from_to(row)}: nothing to compare{where}."
    if word == SHOWN:
        verb, size = ("gains", diff) if diff > 0 else ("loses", -diff)
        ends = (low, high) if diff > 0 else (-high, -low)
        amount = with_interval(percent(size), *ends, _write_size)
        return f"{_from_to(row)}, {label(primary)} {verb} {amount} points{where}: shown{mark}."
    amount = with_interval(points(diff), low, high, points)
    verdict = {EQUIVALENT: "equivalent", "": no_word}.get(word, "not shown")
    return f"{_from_to(row)}, {label(primary)} changes by {amount} points{where}: {verdict}{mark}."


def _write_size(size: float) -> str:
    """Write an end of what is shown: what leaves zero out is not written as zero."""
    text = percent(size)
    return f"{100 * size:.1g}" if text == "0.0" and size else text


def _tell_contexts(rows: pd.DataFrame, apart: pd.DataFrame, name: str, no_word: str) -> str:
    """Say in which contexts a change brings most and least, where that they differ is shown.

    `no_word` is why nothing is said of that, where it is not.
    """
    primary = primary_of(rows)
    known = rows[rows[f"{primary}_diff_mean"].notna()]
    if len(known) < 2:
        return ""
    ranked = known.sort_values(f"{primary}_diff_mean", kind="stable")
    least, most = ranked.iloc[0].to_dict(), ranked.iloc[-1].to_dict()
    words = set(apart[f"{primary}_diff_word"])
    if SHOWN in words:
        p = float(apart[f"{primary}_diff_p"].min())
        return (
            f"It differs between {name} (shown, p {p_bound(p)}): highest with "
            f"{_in_context(most)}, lowest with {_in_context(least)}."
        )
    span = f"Between {name} it goes from {_short(least)} to {_short(most)}"
    if not words:  # of very many contexts nothing is asked
        return f"{span}."
    if not words - {""}:
        return f"{span}; whether they differ is not judged: {no_word}."
    return f"{span}; that they differ is not shown."


_FOLDS = (
    "Each seed's difference is taken inside a fold and averaged over folds: that is about training "
    "on these parts of these images, and other training images may move it further."
)
_NO_COUNTS = "without counts of several images nothing can be shown"


def _in_context(row: Row) -> str:
    low, high = (row[f"{primary_of(row)}_diff_{end}"] for end in ("low", "high"))
    return f"{clean(row['context'])}, {with_interval(_short(row), low, high, points)}"


def _short(row: Row) -> str:
    return points(row[f"{primary_of(row)}_diff_mean"])


def _from_to(row: Row) -> str:
    """Name a change by its values, or by its two variants where it is that of one pair alone."""
    before, after = (clean(row[end]) for end in ("before", "after"))
    if row["factor"] in (CHAINED, "backbone"):
        return f"From {before} to {after}"
    if "variant_before" in row:
        names = " to ".join(clean(row[f"variant_{end}"]) for end in ("before", "after"))
        return f"From {names} ({clean(row['factor'])} {before} → {after})"
    return f"From {clean(row['factor'])} {before} to {after}"


def _of_change(means: pd.DataFrame, row: Row) -> Row | None:
    found = means[is_of(means, row)]
    return found.iloc[0].to_dict() if len(found) else None
