"""The critical-difference diagram: mean ranks on one axis, bars over what is not told apart.

In: names, mean ranks, groups and the critical difference (`stats.across.RankTest`). Out: a drawing.

Reference: Demšar, 2006, section 3.2.4, figure 1.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from reports.figures.canvas import WIDTH, Drawing, new_figure
from reports.stats.across import RankTest
from reports.style import FAINT, INK, figure_label, theme

ROW, BAR = 0.27, 0.16
"""Inches from label to label, and from bar to bar."""
TOP = 0.75
"""Inches of the axis with its numbers, and of the critical difference above it."""


def plot_ranks(names: Sequence[str], test: RankTest) -> Drawing:
    """Draw mean ranks, the best at the left; lines lead to names in two columns.

    Args:
        names: Of the variants.
        test: What was found of them.
    """
    order = np.argsort(test.mean_ranks, kind="stable")
    groups = test.list_groups()
    left = math.ceil(len(order) / 2)
    depth = BAR * (len(groups) + 1)
    height = TOP + depth + ROW * left + 0.2
    with theme():
        figure, axes = new_figure((WIDTH, height), 1, 1)
        ax = axes[0, 0]
        _prepare(ax, len(order), height)
        ranks = test.mean_ranks[order]
        for k, (v, rank) in enumerate(zip(order, ranks, strict=True)):
            is_left = k < left
            row = k if is_left else len(order) - 1 - k  # the outermost are the highest
            text = f"{figure_label(names[v], 34)}  {rank:.2f}"
            _draw_lead(ax, float(rank), -depth - ROW * (row + 0.5), text, is_left=is_left)
            figure.name_point(ax, float(rank), 0, f"{names[v]}: mean rank {rank:.2f}")
        for k, group in enumerate(groups):
            ends = test.mean_ranks[group].min() - 0.04, test.mean_ranks[group].max() + 0.04
            y = -BAR * (k + 1)
            ax.plot(ends, [y, y], color=INK, linewidth=4.0, solid_capstyle="round")
        if test.is_shown:
            _draw_critical(ax, test.critical)
    return figure


def _prepare(ax: Axes, num_variants: int, height: float) -> None:
    """Draw the axis of ranks at height 0; a unit upwards is an inch."""
    V = num_variants
    room = 0.5 * (V - 1)
    ax.set_xlim(1 - room, V + room)
    ax.set_ylim(TOP - height, TOP)
    ax.axis("off")
    ax.plot([1, V], [0, 0], color=INK, linewidth=1.2)
    step = max(1, round((V - 1) / 12))
    for rank in range(1, V + 1, step):
        ax.plot([rank, rank], [0, 0.07], color=INK, linewidth=1.2)
        ax.annotate(f"{rank}", (rank, 0.1), ha="center", va="bottom", fontsize=9, color=INK)


def _draw_lead(ax: Axes, rank: float, y: float, text: str, *, is_left: bool) -> None:
    """Lead from a mean rank down and aside to its name."""
    low, high = ax.get_xlim()
    edge = low + 0.25 * (high - low) if is_left else high - 0.25 * (high - low)
    end = min(edge, rank) if is_left else max(edge, rank)
    ax.plot([rank, rank, end], [0, y, y], color=FAINT, linewidth=1.0)
    ax.plot(rank, 0, "o", color=INK, markersize=4.5)
    side: dict[str, Any] = {"ha": "right" if is_left else "left", "va": "center"}
    shift = (-6 if is_left else 6, 0)
    place: dict[str, Any] = {"xytext": shift, "textcoords": "offset points"}
    ax.annotate(text, (end, y), color=INK, fontsize=9, annotation_clip=False, **side, **place)


def _draw_critical(ax: Axes, critical: float) -> None:
    """Draw the critical difference above the axis, from the best rank on."""
    y = 0.5
    ax.plot([1, 1 + critical], [y, y], color=INK, linewidth=1.4, marker="|", markersize=7)
    text = f"critical difference {critical:.2f}"
    ax.annotate(text, (1 + critical / 2, y + 0.05), ha="center", va="bottom", fontsize=9, color=INK)
