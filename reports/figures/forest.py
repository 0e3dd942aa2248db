"""Forest plots: differences with the intervals that decide, one row each, in one panel or several.

In: frames of differences as fractions, with a word each. Out: a drawing. What is shown to be
better or worse is full and coloured, by sign; what is not shown is hollow and grey; what is
equivalent is a square within the margin's band.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports.figures.canvas import WIDTH, Drawing, new_figure
from reports.stats.finding import EQUIVALENT, SHOWN
from reports.style import (
    FAINT,
    INK,
    PAPER,
    RIGHT,
    WASH,
    WRONG,
    figure_label,
    points,
    theme,
    with_interval,
)

ROW = 0.29
"""Inches of a row."""
COLUMNS = ("name", "diff", "low", "high", "word")


def plot_forest(panels: Mapping[str, pd.DataFrame], margin: float | None = None) -> Drawing:
    """Draw differences, a panel below the other, all on one scale.

    Args:
        panels: By title, rows of `COLUMNS`: `diff`, `low` and `high` as fractions (the latter NaN
            where there is no interval), `word` empty where there is no verdict.
        margin: Half the band within which differences do not matter.
    """
    heights = [max(len(rows), 1) + 1.4 for rows in panels.values()]
    size = (WIDTH, 0.6 + ROW * sum(heights))
    share: dict[str, Any] = {"sharex": True, "height_ratios": heights}
    with theme():
        figure, axes = new_figure(size, len(panels), 1, **share)
        for ax, (title, rows) in zip(axes[:, 0], panels.items(), strict=True):
            _draw_panel(figure, ax, rows, margin)
            ax.set_title(figure_label(title, 80))
        last = axes[-1, 0]
        last.set_xlim(_find_reach(panels.values()))
        last.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        last.xaxis.set_major_formatter(FuncFormatter(lambda x, _: points(x).removesuffix(".0")))
    return figure


def _draw_panel(figure: Drawing, ax: Axes, rows: pd.DataFrame, margin: float | None) -> None:
    if margin:
        ax.axvspan(-margin, margin, color=WASH, zorder=0)
    ax.axvline(0, color=INK, linewidth=1.0)
    for y, (name, diff, low, high, word) in enumerate(
        zip(*(rows[c] for c in COLUMNS), strict=True)
    ):
        colour = (RIGHT if diff > 0 else WRONG) if word == SHOWN else FAINT
        ax.plot([low, high], [y, y], color=colour, linewidth=2.0, solid_capstyle="butt")
        marker: dict[str, Any] = {"marker": "s" if word == EQUIVALENT else "o", "markersize": 6.5}
        fill = PAPER if word != SHOWN else colour
        ax.plot(diff, y, color=colour, markerfacecolor=fill, markeredgewidth=1.6, **marker)
        shown = with_interval(points(diff), low, high, points)
        figure.name_point(ax, diff, y, f"{name}: {shown}{f', {word}' if word else ''}")
        beside: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "annotation_clip": False}
        ax.annotate(shown, (1.01, y), va="center", fontsize=8.5, color=INK, **beside)
    ax.set_yticks(range(len(rows)), [figure_label(name, 40) for name in rows["name"]])
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    ax.grid(False, axis="y")


def _find_reach(panels: Iterable[pd.DataFrame]) -> tuple[float, float]:
    """Return limits that keep zero and every end in sight."""
    values = np.concatenate([rows[["diff", "low", "high"]].to_numpy(float) for rows in panels])
    ends = [*values[np.isfinite(values)], 0.0]
    room = 0.04 * max(float(np.ptp(ends)), 0.002)
    return min(ends) - room, max(ends) + room
