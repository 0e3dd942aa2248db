"""Tables of two sides: what each variant scores on both and what that differs by, and what changed.

In: the frame of a `Comparison` and its changes. Out: frames of raw values and tables.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.text import clean
from reports.formats import MARK, Table
from reports.results.differences import Change, group_changes
from reports.sides import SAME_RUNS, SAME_SCORES, list_compared
from reports.style import (
    MISSING,
    enumerate_names,
    label,
    number_of_points,
    percent,
    points,
    with_interval,
)
from reports.tables.cells import ADJUSTED, ADJUSTED_MEANS


def sides_table(frame: pd.DataFrame, margin: float | None = None, *, notes: bool = True) -> Table:
    """Show a comparison: scores in percent, differences in points with their interval.

    Args:
        frame: `Comparison.frame`.
        margin: The smallest difference that matters.
        notes: Whether what is to be known of each row is a column; else its name is marked.
    """
    marks = ["" if notes or not has_more(note) else f" {MARK}" for note in frame["note"]]
    names = [clean(name) + mark for name, mark in zip(frame["variant"], marks, strict=True)]
    cells = pd.DataFrame({"variant": names})
    cells["seeds"] = [
        f"{a} → {b}" for a, b in zip(frame["num_before"], frame["num_after"], strict=True)
    ]
    primary, *_ = compared = list_compared(frame)
    for score in compared:
        title = label(score)
        means = zip(frame[f"{score}_before"], frame[f"{score}_after"], strict=True)
        cells[title] = [f"{percent(before)} → {percent(after)}" for before, after in means]
        values = frame[[f"{score}_{name}" for name in ("diff", "low", "high")]].to_numpy(float)
        cells[f"Δ {title}"] = [
            with_interval(ADJUSTED * bool(is_so) + points(diff), low, high, points)
            for (diff, low, high), is_so in zip(values, frame[f"{score}_adjusted"], strict=True)
        ]
        if score == primary:
            cells["verdict"] = [say_verdict(*row) for row in _list_verdicts(frame)]
    numeric = frozenset(cells.columns[2:]) - {"verdict"}
    if notes:
        cells["note"] = [clean(text) or MISSING for text in frame["note"]]
    return Table(cells, numeric, caption=_describe(frame, margin))


def say_verdict(word: str, direction: str, note: str) -> str:
    """Write a verdict: better, worse, not shown, equivalent, or that there is nothing to judge."""
    if direction:
        return f"{word}: {direction}"
    same = next((text for text in (SAME_RUNS, SAME_SCORES) if note.startswith(text)), MISSING)
    return word or same


def has_more(note: str) -> bool:
    """Say whether a note says more than that both sides are the same."""
    return note not in ("", SAME_RUNS, SAME_SCORES)


def changes_frame(by_variant: Mapping[str, Sequence[Change]]) -> pd.DataFrame:
    """Return a row for each thing that changed: `kind`, `what`, `before`, `after`, `variants`."""
    groups = group_changes(by_variant)
    rows = [(*change, "; ".join(names), len(names)) for change, names in groups]
    columns = ["kind", "what", "before", "after", "variants", "num_variants"]
    return pd.DataFrame(rows, columns=columns)


def changes_table(by_variant: Mapping[str, Sequence[Change]]) -> Table:
    """Show what changed between the sides, each thing once, and in which variants."""
    total = len(by_variant)
    rows = [
        (
            clean(change.key),
            change.kind,
            clean(change.before),
            clean(change.after),
            _in(names, total),
        )
        for change, names in group_changes(by_variant)
    ]
    cells = pd.DataFrame(rows, columns=["what", "kind", "before", "after", "in"])
    caption = (
        "Everything in which the runs of the two sides differ: settings, data, and what they were "
        "made with. Seeds are the same by number."
    )
    return Table(cells, frozenset(), caption=caption)


def _in(names: Sequence[str], total: int) -> str:
    if len(names) == total:
        return "all variants" if total > 1 else clean(names[0])
    return enumerate_names(map(clean, names))


def _list_verdicts(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(zip(frame["verdict"], frame["direction"], frame["note"], strict=True))


def _describe(frame: pd.DataFrame, margin: float | None) -> str:
    primary = list_compared(frame)[0]
    words = set(frame["verdict"])
    text = "Means over finished seeds in percent; Δ: after less before, in points"
    adjusted = any(frame[f"{score}_adjusted"].any() for score in list_compared(frame))
    rest = f" {ADJUSTED_MEANS}" * adjusted
    if any(words):
        text += (
            f", with its 95 % interval over images and seeds, of {label(primary)} for all variants "
            "at once: a change is shown where that leaves zero out"
        )
        if margin is not None:
            text += f", equivalent where it lies within {number_of_points(margin)}"
        return f"{text}. Other scores have intervals of their own and no verdict.{rest}"
    if frame[f"{primary}_low"].notna().any():
        text += (
            ", with its 95 % interval over images alone: with one seed it is about these networks, "
            "and nothing is shown"
        )
    return f"{text}.{rest}"
