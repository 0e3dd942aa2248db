"""Tables of what changing one thing brings, by factor, and the sentences that say how to read them.

In: the frame of changes (`reports.stats.changes`). Out: `Table`s, with significant changes marked.
"""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from bench.text import clean
from reports.formats import MARK, Table
from reports.marks import sign
from reports.stats.changes import SCORE
from reports.stats.significance import ALPHA
from reports.stats.summary import CHAINED
from reports.style import MISSING, label, p_value, points, with_interval, with_spread

SIGNIFICANT = "*"


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
    text += ", paired by image and seed, with the 95 % interval"
    if changes["num_pairs"].max() < 2:
        return f"{text} over images: one seed cannot say what training again would change."
    return (
        f"{text} over images and seeds. {SIGNIFICANT}: significant at {100 * ALPHA:g} % "
        "(Student's t, Holm over all changes of the same factor; never with one seed)."
    )


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
