"""Tables of what changing one thing brings, by factor, and the sentences that say how to read them.

In: the frame of changes (`reports.stats.changes`). Out: `Table`s, with what is shown marked.
"""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from bench.text import clean
from reports.formats import MARK, Table
from reports.marks import is_marked, sign
from reports.stats.changes import list_factors
from reports.stats.finding import EQUIVALENT, SHOWN
from reports.stats.primary import primary_of
from reports.stats.summary import CHAINED
from reports.style import MISSING, label, p_value, points, with_interval, with_spread

STAR = {SHOWN: "*", EQUIVALENT: "="}
"""How a word is written behind a number."""
MEAN = "mean of these"


def tabulate_changes(
    changes: pd.DataFrame, baseline: str | None, means: pd.DataFrame | None = None
) -> Iterator[tuple[str, Table]]:
    """Yield a heading and a table for each factor whose changes the summary does not show.

    One plain row of differences from the baseline is in the summary's column of differences.

    Args:
        changes: `find_changes`.
        baseline: Variant that the others are compared with.
        means: `find_main_effects`; None for means without an interval.
    """
    primary = primary_of(changes)
    known = changes[changes[f"{primary}_diff_mean"].notna()]
    for factor in list_factors(known):
        found = changes[changes["factor"] == factor]
        if factor == CHAINED or baseline is None or found["context"].nunique() > 1:
            down = "context" if factor == CHAINED else "change"
            own = None if means is None else means[means["factor"] == factor]
            yield (
                f"What changing {name_factor(factor)} brings",
                changes_table(found, down=down, means=own),
            )


def name_factor(factor: str) -> str:
    """Name a factor in a sentence: "the skip", "train.loss"."""
    return f"the {factor}" if factor in (CHAINED, "backbone") else clean(factor)


def changes_table(changes: pd.DataFrame, *, down: str, means: pd.DataFrame | None = None) -> Table:
    """Show what one factor's changes bring in mIoU, with their mean over contexts.

    There is no mean over contexts that were judged on different images or classes.

    Args:
        changes: Rows of `find_changes` for one factor.
        down: What the rows are, "context" or "change"; the other one goes across.
        means: Rows of `find_main_effects` for that factor.
    """
    frame = changes.assign(
        change=_name_changes(changes),
        context=changes["context"].map(clean),
        text=sign(_show(changes), changes),
    )
    if frame["context"].nunique() == 1:
        head = f"Δ {label(primary_of(changes))}"
        cells = frame[["change", "text"]].rename(columns={"text": head})
        return Table(cells.reset_index(drop=True), frozenset(cells.columns[1:]))
    shown = frame.pivot_table(index="context", columns="change", values="text", aggfunc="first")
    shown = shown.loc[list(dict.fromkeys(frame["context"])), list(dict.fromkeys(frame["change"]))]
    if means is not None and len(means):
        named = dict(zip(_name_changes(means), _show(means), strict=True))
        bears = {name: is_marked(frame[frame["change"] == name]) for name in shown.columns}
        texts = [
            f"{named[name]} {MARK}" if bears[name] else named[name]
            for name in shown.columns
            if name in named
        ]
        shown.loc[MEAN] = pd.Series(texts, [name for name in shown.columns if name in named])
    shown = shown if down == "context" else shown.T
    cells = shown.fillna(MISSING).rename_axis(index=down, columns=None).reset_index()
    cells = cells.rename(columns={"context": "with"})
    return Table(cells, frozenset(cells.columns[1:]))


def list_table(changes: pd.DataFrame, means: pd.DataFrame, interactions: pd.DataFrame) -> Table:
    """Show every change as a row, then each mean over contexts, then how contexts differ in it."""
    over = [f"mean of {number} contexts" for number in means["num_contexts"]]
    apart = [f"{clean(name)}, less the mean" for name in interactions["context"]]
    parts = [
        _list_rows(changes, [clean(name) or MISSING for name in changes["context"]]),
        _list_rows(means, over),
        _list_rows(interactions, apart),
    ]
    cells = pd.concat(parts, ignore_index=True)
    return Table(cells, frozenset(cells.columns[3:]), caption=describe_changes(changes))


def describe_changes(changes: pd.DataFrame) -> str:
    """Say what the differences are, what their intervals cover, and which are shown."""
    primary = primary_of(changes)
    text = f"Change of {label(primary)} in percentage points"
    text += " between variants that differ in this alone"
    words = set(changes.get(f"{primary}_diff_word", []))
    if f"{primary}_diff_low" not in changes or changes[f"{primary}_diff_low"].isna().all():
        return f"{text}; mean ± standard deviation of the differences, paired by seed."
    if not words - {""}:
        return (
            f"{text}, paired by image and seed, with the 95 % interval over images: one seed "
            "cannot say what training again would change, so nothing is shown."
        )
    text += (
        ", with 95 % intervals over images and seeds that hold for all contrasts of this page at "
        f"once. {STAR[SHOWN]}: shown, the interval leaves zero out"
    )
    text += f"; {STAR[EQUIVALENT]}: equivalent, it lies within the margin" * (EQUIVALENT in words)
    is_single = (changes["num_pairs"] == 1) & (changes[f"{primary}_diff_word"] == "")
    one_seed = " One seed has no mark: its interval is of these trained networks." * bool(
        is_single.any()
    )
    return f"{text}.{one_seed}"


def _list_rows(frame: pd.DataFrame, contexts: Sequence[str]) -> pd.DataFrame:
    cells = pd.DataFrame({"changed": [clean(name) for name in frame["factor"]]})
    cells["change"] = _name_changes(frame)
    cells["with"] = list(contexts)
    primary = primary_of(frame)
    cells[f"Δ {label(primary)}"] = sign(_show(frame), frame)
    cells["p"] = [p_value(p) for p in frame[f"{primary}_diff_p"]]
    cells["verdict"] = [word or MISSING for word in frame[f"{primary}_diff_word"]]
    return cells


def _name_changes(changes: pd.DataFrame) -> list[str]:
    return [clean(f"{row.before} → {row.after}") for row in changes.itertuples(index=False)]


def _show(changes: pd.DataFrame) -> list[str]:
    """Write each difference with its interval and mark; without one, with the spread over seeds."""
    primary = primary_of(changes)
    empty = pd.Series(math.nan, changes.index)
    columns = (
        changes.get(f"{primary}_diff_{kind}", empty) for kind in ("mean", "std", "low", "high")
    )
    words = changes.get(f"{primary}_diff_word", pd.Series("", changes.index))
    return [
        with_spread(points(mean), std)
        if math.isnan(low)
        else with_interval(points(mean), low, high, points) + STAR.get(word, "")
        for mean, std, low, high, word in zip(*columns, words, strict=True)
    ]
