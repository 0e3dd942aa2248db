"""Tables over data sets: ranks, differences to the baseline, and scores; never their mean.

In: an `Across`. Out: frames of raw values and tables, a column for each data set.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from bench.text import clean
from reports.across import Across
from reports.formats import Table
from reports.style import MISSING, label, percent, points, with_interval, with_spread
from reports.tables.cells import ADJUSTED, ADJUSTED_MEANS, distinct

NEVER_AVERAGED = (
    "Scores of different data sets are not averaged: a point on one is not a point on another, "
    "which has other classes, other images and another ceiling, so that the data set on which "
    "scores spread most would decide. Ranks within each data set can be averaged."
)


def ranks_frame(across: Across) -> pd.DataFrame:
    """Return a row for each ranked variant, best first: its mean rank and its rank on each.

    `variant`, `mean_rank`, `mean_rank_low`, `mean_rank_high`, and `<data set>`, `<data set> low`
    and `<data set> high`.
    """
    found = across.ranks
    if found is None:
        return pd.DataFrame(columns=["variant", "mean_rank", "mean_rank_low", "mean_rank_high"])
    frame = pd.DataFrame({"variant": list(found.variants), "mean_rank": found.test.mean_ranks})
    frame["mean_rank_low"], frame["mean_rank_high"] = found.mean_low, found.mean_high
    for d, name in enumerate(found.sets):
        frame[name], frame[f"{name} low"], frame[f"{name} high"] = (
            values[d] for values in (found.ranks, found.low, found.high)
        )
    return frame.sort_values("mean_rank", kind="stable").reset_index(drop=True)


def ranks_table(across: Across) -> Table:
    """Show mean ranks and ranks on each data set, with what they may be by chance."""
    frame = ranks_frame(across)
    cells = pd.DataFrame({"variant": [clean(name) for name in frame["variant"]]})
    columns = ("mean_rank", "mean_rank_low", "mean_rank_high")
    cells["mean rank"] = [
        f"{rank:.2f} [{low:.2f}, {high:.2f}]"
        for rank, low, high in frame[list(columns)].itertuples(index=False)
    ]
    sets = list(across.ranks.sets) if across.ranks else []
    for name, head in zip(sets, distinct(list(map(clean, sets))), strict=True):
        ends = zip(frame[name], frame[f"{name} low"], frame[f"{name} high"], strict=True)
        cells[head] = [show_rank(*values) for values in ends]
    caption = (
        f"1 is the highest {label(across.primary)}. Behind a rank the 95 % interval of what it may "
        "be on other images of that data set and with other seeds; behind a mean rank the same "
        f"over these data sets. {NEVER_AVERAGED}"
    )
    return Table(cells, frozenset(cells.columns[1:]), caption=caption)


def show_rank(rank: float, low: float, high: float) -> str:
    """Write a rank: "2 [1–3]", "1.5 [1–2]"; alone where it cannot be another."""
    if np.isnan(rank):
        return MISSING
    return f"{rank:g} [{low:g}–{high:g}]" if low < high else f"{rank:g}"


def differences_table(across: Across) -> Table:
    """Show what each variant differs by from the baseline on each data set."""
    frame = across.frame
    frame = frame[frame["variant"] != across.baseline]

    def show(row: pd.Series) -> str:
        primary = across.primary
        ends = [row[f"{primary}_diff{end}"] for end in ("", "_low", "_high")]
        shown = ADJUSTED * bool(row[f"{primary}_diff_adjusted"]) + points(ends[0])
        shown = with_interval(shown, ends[1], ends[2], points)
        word = row[f"{primary}_diff_word"]
        return f"{shown} {word}" if word else shown

    cells = _spread(across, frame, show)
    caption = (
        f"Δ {label(across.primary)} against {clean(across.baseline)} in points, with the intervals "
        "that decide: all of this table are one family, and hold at once. Without a word there is "
        "one seed, and nothing is shown. –: not finished there, or not judged alike."
    )
    if frame[f"{across.primary}_diff_adjusted"].any():
        caption += f" {ADJUSTED_MEANS}"
    return Table(cells, frozenset(cells.columns[1:]), caption=caption)


def scores_table(across: Across) -> Table:
    """Show the scores of each variant on each data set."""

    def show(row: pd.Series) -> str:
        kinds = ("mean", "std", "low", "high")
        mean, std, low, high = (row[f"{across.primary}_{kind}"] for kind in kinds)
        return with_interval(with_spread(percent(mean), std), low, high)

    cells = _spread(across, across.frame, show)
    caption = (
        f"{label(across.primary)} in percent: mean over seeds ± standard deviation, with its own "
        f"95 % interval. {NEVER_AVERAGED}"
    )
    return Table(cells, frozenset(cells.columns[1:]), caption=caption)


def _spread(across: Across, frame: pd.DataFrame, show: Callable[[pd.Series], str]) -> pd.DataFrame:
    """Put a row for each variant and a column for each data set."""
    names = list(dict.fromkeys(frame["variant"]))
    cells = pd.DataFrame({"variant": [clean(name) for name in names]})
    sets = [one.part.name for one in across.parts]
    for name, head in zip(sets, distinct(list(map(clean, sets))), strict=True):
        rows = frame[frame["data_set"] == name].set_index("variant")
        cells[head] = [show(rows.loc[variant]) for variant in names]
    return cells
