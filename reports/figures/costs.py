"""Figures of costs: mIoU against what it takes, with the variants that nothing beats on both.

In: a summary by variant. Out: a drawing with a panel for each cost that was recorded.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from reports.figures.canvas import WIDTH, Drawing, new_figure
from reports.figures.effects import MARKERS
from reports.style import (
    FAINT,
    INK,
    colours,
    duration,
    figure_label,
    percent,
    theme,
)

COSTS = {
    "num_parameters": "parameters",
    "gmacs": "GMACs per image",
    "latency_ms": "latency, ms",
    "peak_memory_mib": "peak memory, MiB",
    "train_seconds": "training time",
}
"""Columns that are costs, the smaller the better, with their names; those recorded are drawn."""
ROUND = [m * 10.0**e for e in range(-6, 15) for m in (1, 2, 5)]
ROUND_SECONDS = [
    *(x for x in ROUND if x < 1),
    *(m * unit for unit in (1, 60, 3600) for m in (1, 2, 5, 10, 20)),
    *(30, 1800, 48 * 3600, 96 * 3600),
    *(x * 3600 for x in ROUND if x > 96),
]
"""Numbers and durations that read well on an axis; each at most 2.5 times the one before."""
MAX_NAMED = 8
"""Variants on the front that are named in the figure; the page names every one pointed at."""


def list_costs(summary: pd.DataFrame) -> list[str]:
    """List the costs that two or more variants differ in."""
    return [name for name in COSTS if name in summary and summary[name].nunique() > 1]


def find_front(cost: "pd.Series[float]", score: "pd.Series[float]") -> list[int]:
    """Return the positions that no other beats in score at the same cost or less, by cost."""
    order = sorted(
        (i for i in range(len(cost)) if not np.isnan(cost.iloc[i] + score.iloc[i])),
        key=lambda i: (cost.iloc[i], -score.iloc[i]),
    )
    front: list[int] = []
    for i in order:
        if not front or score.iloc[i] > score.iloc[front[-1]]:
            front.append(i)
    return front


def plot_costs(summary: pd.DataFrame, *, grouped: bool) -> Drawing:
    """Draw mean mIoU against each recorded cost, and the front of variants that nothing beats.

    Args:
        summary: One row for each variant.
        grouped: A colour for each backbone and a sign for each skip.
    """
    done = summary[summary["miou_mean"].notna()]
    costs = list_costs(done)
    by = "backbone" if grouped else "variant"
    palette = colours(list(dict.fromkeys(done[by])) if grouped else ["all"])
    signs = {skip: MARKERS[i % 7] for i, skip in enumerate(dict.fromkeys(done["skip"]))}
    bands = -(-len(costs) // 3)
    columns = -(-len(costs) // bands)
    with theme():
        size = (WIDTH if columns > 1 else 6.5, 3.6 * bands)
        figure, axes = new_figure(size, bands, columns, sharey=True)
        for ax in axes.flat[len(costs) :]:
            ax.set_visible(False)
        for ax, cost in zip(axes.flat, costs, strict=False):
            front = find_front(done[cost], done["miou_mean"])
            best = done.iloc[front]
            ax.step(
                best[cost], best["miou_mean"], where="post", color=FAINT, linewidth=1.1, zorder=1
            )
            values = done[[cost, "miou_mean"]].to_numpy(float)
            for (x, y), row in zip(values, done.to_dict("records"), strict=True):
                colour = palette[row[by]] if grouped else palette["all"]
                sign = signs[row["skip"]] if grouped else "o"
                ax.plot(x, y, sign, color=colour, markersize=7, alpha=0.9)
                shown = _show(cost, x)
                figure.name_point(ax, x, y, f"{row['variant']}: {percent(y)}, {shown}")
            if not grouped and len(front) <= MAX_NAMED:
                _name_front(ax, best, cost)
            _scale(ax, done[cost], is_time=cost == "train_seconds")
            ax.set_title(COSTS[cost])
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _, cost=cost: _show(cost, x)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        axes[0, 0].set_ylabel("mIoU, %")
        if grouped:
            marks = [
                Line2D([], [], color=c, lw=3, label=figure_label(n)) for n, c in palette.items()
            ]
            marks += [
                Line2D([], [], color=INK, marker=m, ls="", label=figure_label(n))
                for n, m in signs.items()
            ]
            figure.legend(handles=marks, loc="outside lower left", ncols=7)
    return figure


def _show(cost: str, value: float) -> str:
    if cost == "num_parameters":
        return f"{value / 1e6:.4g} M"
    return duration(value).replace(".0 ", " ") if cost == "train_seconds" else f"{value:.3g}"


def _scale(ax: Axes, values: "pd.Series[float]", *, is_time: bool) -> None:
    """Choose a logarithmic axis for costs that differ by a factor, and a few round ticks."""
    low, high = float(values.min()), float(values.max())
    if high < 3 * low or low <= 0:
        ax.xaxis.set_major_locator(MaxNLocator(3))
        return
    ax.set_xscale("log")
    rounds = ROUND_SECONDS if is_time else ROUND
    inside = [x for x in sorted(rounds) if low * 0.9 <= x <= high * 1.1]
    ax.xaxis.set_major_locator(FixedLocator(inside[:: -(-len(inside) // 4)]))
    ax.xaxis.set_minor_locator(NullLocator())


def _name_front(ax: Axes, front: pd.DataFrame, cost: str) -> None:
    for row in front.itertuples(index=False):
        ax.annotate(
            figure_label(row.variant, 20), (getattr(row, cost), row.miou_mean),
            xytext=(5, -10), textcoords="offset points", fontsize=8, color=FAINT,
        )  # fmt: skip
