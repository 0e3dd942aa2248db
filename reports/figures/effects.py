"""Figures of effects: how skip and backbone act on each other, and how far from the baseline.

In: summaries by variant, in fractions. Out: drawings.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from reports.figures.canvas import WIDTH, Drawing, new_figure
from reports.stats.contrasts import SHOWN
from reports.style import FAINT, INK, colours, figure_label, label, percent, points, theme

MARKERS = "osD^vPX"


def plot_interaction(summary: pd.DataFrame) -> Drawing:
    """Draw mean mIoU over skips, a line for each backbone: parallel lines are no interaction."""
    backbones, skips = (list(dict.fromkeys(summary[name])) for name in ("backbone", "skip"))
    cells = summary.set_index(["backbone", "skip"])
    palette = colours(backbones)
    size = (min(WIDTH, 4.2 + 0.9 * len(skips)), 4.0)
    ends = []
    with theme():
        figure, axes = new_figure(size, 1, 1)
        ax = axes[0, 0]
        for k, backbone in enumerate(backbones):
            index = pd.MultiIndex.from_product([[backbone], skips])
            mean, std = (
                cells[f"miou_{kind}"].reindex(index).to_numpy(float) for kind in ("mean", "std")
            )
            x = np.arange(len(skips)) + 0.02 * (k - (len(backbones) - 1) / 2)  # bars side by side
            ax.errorbar(
                x, mean, yerr=std, color=palette[backbone], marker=MARKERS[k % len(MARKERS)],
                markersize=6, linewidth=1.6, elinewidth=1.2,
            )  # fmt: skip
            for where, skip, value in zip(x, skips, mean, strict=True):
                figure.name_point(ax, where, value, f"{backbone}-{skip}: {percent(value)}")
            known = np.flatnonzero(~np.isnan(mean))
            if len(known):
                ends.append((float(mean[known[-1]]), float(x[known[-1]]), backbone))
        ax.set_xticks(range(len(skips)), [figure_label(skip, 22) for skip in skips])
        ax.set_xlim(-0.3, len(skips) - 0.7)
        ax.set_title("mIoU, %")
        ax.grid(False, axis="x")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        _name_lines(ax, ends, palette)
    return figure


def plot_differences(summary: pd.DataFrame, baseline: str) -> Drawing:
    """Draw each variant's difference of mIoU to the baseline, with its interval where it has one.

    Args:
        summary: Rows with `miou_diff_mean` and `miou_diff_std`; bars are the columns
            `miou_diff_low` and `miou_diff_high` if there are any, else ± one standard deviation.
        baseline: Name of the variant at zero.
    """
    rows = summary[(summary["variant"] != baseline) & summary["miou_diff_mean"].notna()]
    mean = rows["miou_diff_mean"].to_numpy(float)
    low, high = find_interval(rows)
    words = rows.get("miou_diff_word", pd.Series("", rows.index)).to_list()
    with theme():
        figure, axes = new_figure((WIDTH, 1.1 + 0.3 * len(rows)), 1, 1)
        ax = axes[0, 0]
        ax.axvline(0, color=INK, linewidth=1.0)
        for y, variant in enumerate(rows["variant"]):
            apart = words[y] == SHOWN
            style: dict[str, Any] = {"color": colours(["a"])["a"] if apart else FAINT}
            ax.plot([low[y], high[y]], [y, y], linewidth=2.0, solid_capstyle="butt", **style)
            ax.plot(mean[y], y, "o", markersize=6.5, **style)
            shown = points(mean[y])
            if low[y] == low[y]:
                shown += f" [{points(low[y])}, {points(high[y])}]"
            figure.name_point(ax, mean[y], y, f"{variant}: {shown}")
            beside = {"xycoords": ax.get_yaxis_transform(), "annotation_clip": False}
            ax.annotate(shown, (1.01, y), va="center", fontsize=8.5, color=INK, **beside)
        ax.set_yticks(range(len(rows)), [figure_label(name, 40) for name in rows["variant"]])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.grid(False, axis="y")
        ax.set_title(f"Δ {label('miou')} against {figure_label(baseline)}, points")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: points(x).removesuffix(".0")))
    return figure


def has_interval(summary: pd.DataFrame) -> bool:
    """Say whether differences have intervals of their own, rather than a standard deviation."""
    return "miou_diff_low" in summary and bool(summary["miou_diff_low"].notna().any())


def find_interval(rows: pd.DataFrame) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Return both ends of each difference's bar; NaN where nothing is known of its spread."""
    if has_interval(rows):
        return rows["miou_diff_low"].to_numpy(float), rows["miou_diff_high"].to_numpy(float)
    mean, std = (rows[f"miou_diff_{kind}"].to_numpy(float) for kind in ("mean", "std"))
    return mean - std, mean + std


def _name_lines(ax: Axes, ends: list[tuple[float, float, str]], palette: dict[str, str]) -> None:
    """Write each line's name at its end, moved apart where two would meet."""
    low, high = ax.get_ylim()
    room, floor = (high - low) * 0.055, -np.inf
    for y, x, name in sorted(ends):
        floor = max(y, floor + room)
        beside: Any = {"xytext": (10, 0), "textcoords": "offset points", "annotation_clip": False}
        ax.annotate(figure_label(name, 22), (x, floor), va="center", color=palette[name], **beside)
