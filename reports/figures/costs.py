"""Figures of costs: mIoU against what it takes, with how far that spreads over runs.

In: a summary by variant, and what was measured. Out: a drawing with a panel for each cost.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from reports.figures.canvas import WIDTH, Drawing, new_figure
from reports.stats.costs import Cost
from reports.stats.primary import primary_of
from reports.style import (
    FAINT,
    INK,
    PAPER,
    colours,
    duration,
    figure_label,
    label,
    percent,
    theme,
)

COSTS = {
    "num_parameters": "parameters",
    "gmacs": "GMACs per image",
    "latency_ms": "latency, ms",
    "step_memory_mib": "memory of a step",
    "train_seconds": "training time",
}
"""What each cost is called."""
MARKERS = "osD^vPX"
ROUND = [m * 10.0**e for e in range(-6, 15) for m in (1, 2, 5)]
ROUND_SECONDS = [
    *(x for x in ROUND if x < 1),
    *(m * unit for unit in (1, 60, 3600) for m in (1, 2, 5, 10, 20)),
    *(30, 1800, 48 * 3600, 96 * 3600),
    *(x * 3600 for x in ROUND if x > 96),
]
"""Numbers and durations that read well on an axis; each at most 2.5 times the one before."""
MAX_NAMED = 8
"""Variants that none beats which are named in the figure; the page names every one pointed at."""


def list_costs(costs: Mapping[str, Cost]) -> list[str]:
    """List the costs that two or more variants differ in."""
    return [name for name, cost in costs.items() if len(set(cost.typical.values())) > 1]


def plot_costs(
    summary: pd.DataFrame,
    costs: Mapping[str, Cost],
    fronts: Mapping[str, Sequence[str]],
    names: Mapping[str, str],
    *,
    grouped: bool,
) -> Drawing:
    """Draw the mean of the primary score against each cost; variants that another beats are hollow.

    Args:
        summary: One row for each variant.
        costs: What was measured.
        fronts: By cost, the variants that none beats; none where none is beaten.
        names: Of variants, as they are shown.
        grouped: A colour for each backbone and a sign for each skip.
    """
    primary = primary_of(summary)
    done = summary[summary[f"{primary}_mean"].notna()]
    shown = list_costs(costs)
    by = "backbone" if grouped else "variant"
    palette = colours(list(dict.fromkeys(done[by])) if grouped else ["all"])
    signs = {skip: MARKERS[i % len(MARKERS)] for i, skip in enumerate(dict.fromkeys(done["skip"]))}
    bands = -(-len(shown) // 3)
    columns = -(-len(shown) // bands)
    with theme():
        size = (WIDTH if columns > 1 else 6.5, 3.6 * bands)
        figure, axes = new_figure(size, bands, columns, sharey=True)
        for ax in axes.flat[len(shown) :]:
            ax.set_visible(False)
        for ax, name in zip(axes.flat, shown, strict=False):
            cost, front = costs[name], fronts.get(name, ())
            for row in done.to_dict("records"):
                variant, y = str(row["variant"]), row[f"{primary}_mean"]
                if variant not in cost.typical:
                    continue
                colour = palette[row[by]] if grouped else palette["all"]
                x, ends = cost.typical[variant], (cost.low[variant], cost.high[variant])
                face = PAPER if front and variant not in front else colour
                sign = signs[row["skip"]] if grouped else "o"
                ax.plot(ends, (y, y), color=colour, linewidth=1.1, alpha=0.6, zorder=1)
                ax.plot(x, y, sign, color=colour, markerfacecolor=face, markersize=7)
                told = f"{names[variant]}: {percent(y)}, {_show_span(name, x, *ends)}"
                figure.name_point(ax, x, y, told, variant)
            if not grouped and 0 < len(front) <= MAX_NAMED:
                _name_front(ax, done[done["variant"].isin(front)], cost, names)
            values = [*cost.low.values(), *cost.high.values()]
            _scale(ax, min(values), max(values), is_time=name == "train_seconds")
            ax.set_title(COSTS[name])
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _, name=name: _show(name, x)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        axes[0, 0].set_ylabel(f"{label(primary)}, %")
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
    if cost == "train_seconds":
        return duration(value).replace(".0 ", " ")
    if cost == "step_memory_mib":
        return f"{value / 1024:.3g} GiB" if value >= 1000 else f"{value:.3g} MiB"
    return f"{value:.3g}"


def _show_span(cost: str, value: float, low: float, high: float) -> str:
    ends = f" [{_show(cost, low)}, {_show(cost, high)}]" if high > low else ""
    return f"{_show(cost, value)}{ends}"


def _scale(ax: Axes, low: float, high: float, *, is_time: bool) -> None:
    """Choose a logarithmic axis for costs that differ by a factor, and a few round ticks."""
    if high < 3 * low or low <= 0:
        ax.xaxis.set_major_locator(MaxNLocator(3))
        return
    ax.set_xscale("log")
    rounds = ROUND_SECONDS if is_time else ROUND
    inside = [x for x in sorted(rounds) if low * 0.9 <= x <= high * 1.1]
    ax.xaxis.set_major_locator(FixedLocator(inside[:: -(-len(inside) // 4)]))
    ax.xaxis.set_minor_locator(NullLocator())


def _name_front(ax: Axes, front: pd.DataFrame, cost: Cost, names: Mapping[str, str]) -> None:
    means = front[f"{primary_of(front)}_mean"]
    for variant, mean in zip(front["variant"], means, strict=True):
        ax.annotate(
            figure_label(names[variant], 20), (cost.typical[variant], mean),
            xytext=(5, -10), textcoords="offset points", fontsize=8, color=FAINT,
        )  # fmt: skip
