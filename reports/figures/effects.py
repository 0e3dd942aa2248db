"""Figures of effects: what each change brings, on average and in each context, and differences.

In: frames of changes and summaries by variant, in fractions. Out: drawings.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from reports.figures.canvas import WIDTH, Drawing, new_figure
from reports.formats import MARK
from reports.marks import is_marked
from reports.stats.finding import SHOWN
from reports.stats.primary import primary_of
from reports.style import FAINT, INK, RIGHT, WASH, figure_label, label, points, theme, with_interval

MAX_ROWS = 36
"""Rows of a figure of effects; of more changes, contexts are left out, then the last changes."""


class Effects(NamedTuple):
    """One change: its rows in the frames of changes, of means and of interactions."""

    contexts: pd.DataFrame
    mean: pd.DataFrame
    """One row; none where there is one context."""
    apart: pd.DataFrame


def plot_effects(effects: Sequence[Effects]) -> Drawing:
    """Draw what changes of one factor bring, and how far each context is from the mean.

    A thick bar is the mean over contexts, thin ones below it are the contexts; at the right stands
    what each context has more than the mean. Bars are the intervals that decide.
    """
    rows = list(_list_rows(_fit(effects)))
    has_apart = any(len(one.apart) for one in effects)
    with theme():
        figure, axes = new_figure(
            (WIDTH, 1.0 + 0.205 * len(rows)),
            1,
            1 + has_apart,
            sharey=True,
            width_ratios=[3, 2][: 1 + has_apart],
        )
        panels = axes.flat
        for ax in panels:
            ax.axvline(0, color=INK, linewidth=1.0)
            ax.grid(False, axis="y")
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: points(x).removesuffix(".0")))
        for y, row in enumerate(rows):
            if row.is_mean:
                for ax in panels:
                    ax.axhspan(y - 0.5, y + 0.5, color=WASH, linewidth=0, zorder=0)
            _draw_bar(figure, panels[0], y, row, row.own)
            if has_apart and row.apart is not None:
                _draw_bar(figure, panels[1], y, row, row.apart)
        panels[0].set_yticks(range(len(rows)), [row.label for row in rows])
        for text, row in zip(panels[0].get_yticklabels(), rows, strict=True):
            text.set(fontweight="bold" if row.is_mean else "normal", fontsize=9)
        panels[0].set_ylim(len(rows) - 0.4, -0.6)
        panels[0].set_title(f"Change of {label(primary_of(rows[0].own))}, points")
        if has_apart:
            panels[1].set_title("In a context less the mean")
            panels[1].tick_params(axis="y", length=0)
    return figure


class _Row(NamedTuple):
    label: str
    is_mean: bool
    own: Mapping[Any, Any]
    apart: Mapping[Any, Any] | None
    """The row of interactions."""


def _list_rows(effects: Sequence[Effects]) -> list[_Row]:
    rows = []
    for one in effects:
        if len(one.mean):
            own = one.mean.iloc[0].to_dict()
            mark = f" {MARK}" if is_marked(one.contexts) else ""
            rows.append(_Row(_name_change(own) + mark, True, own, None))
        apart = {row["context"]: row for row in one.apart.to_dict("records")}
        for own in one.contexts.to_dict("records"):
            name = figure_label(own["context"], 30) if len(one.mean) else _name_change(own)
            mark = f" {MARK}" if own.get("remark") else ""
            rows.append(_Row(name + mark, not len(one.mean), own, apart.get(own["context"])))
    return rows


def _fit(effects: Sequence[Effects]) -> Sequence[Effects]:
    """Leave out contexts, then changes, until the figure can be read."""
    if sum(1 + len(one.contexts) for one in effects) > MAX_ROWS and len(effects[0].mean):
        effects = [one._replace(contexts=one.contexts[:0], apart=one.apart[:0]) for one in effects]
    most = effects[0].contexts[:MAX_ROWS]  # of one change there may be more than can be read
    kept, number = [], 0
    for one in (effects[0]._replace(contexts=most), *effects[1:]):
        number += len(one.mean) + len(one.contexts)
        if number <= MAX_ROWS:
            kept.append(one)
    return kept


def _draw_bar(figure: Drawing, ax: Axes, y: int, row: _Row, found: Mapping[Any, Any]) -> None:
    """Draw an estimate with the interval that decides; in colour where it is shown."""
    prefix = f"{primary_of(found)}_diff"
    mean, low, high = (float(found[f"{prefix}_{kind}"]) for kind in ("mean", "low", "high"))
    colour = RIGHT if found[f"{prefix}_word"] == SHOWN else FAINT
    width, size = (3.2, 7.0) if row.is_mean else (1.6, 4.8)
    ax.plot([low, high], [y, y], color=colour, linewidth=width, solid_capstyle="butt")
    ax.plot(mean, y, "o", color=colour, markersize=size)
    text = with_interval(points(mean), low, high, points)
    where = "" if row.is_mean else f"{found['context']}, "
    told = f"{where}{found['before']} → {found['after']}: {text}"
    figure.name_point(ax, mean, y, told, "" if row.is_mean else str(found.get("variant_after", "")))
    if row.own is found:
        beside: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "annotation_clip": False}
        weight = "bold" if row.is_mean else "normal"
        ax.annotate(text, (1.01, y), va="center", fontsize=8, color=INK, weight=weight, **beside)


def _name_change(row: Mapping[Any, Any]) -> str:
    return f"{figure_label(row['before'], 18)} → {figure_label(row['after'], 18)}"


def plot_differences(summary: pd.DataFrame, baseline: str) -> Drawing:
    """Draw each variant's difference to the baseline, with its interval where it has one.

    Args:
        summary: Rows with `<score>_diff_mean` and `_std` of the primary score; bars are the columns
            `_low` and `_high` if there are any, else ± one standard deviation.
        baseline: Name of the variant at zero.
    """
    primary = primary_of(summary)
    prefix = f"{primary}_diff"
    rows = summary[(summary["variant"] != baseline) & summary[f"{prefix}_mean"].notna()]
    mean = rows[f"{prefix}_mean"].to_numpy(float)
    low, high = find_interval(rows)
    words = rows.get(f"{prefix}_word", pd.Series("", rows.index)).to_list()
    with theme():
        figure, axes = new_figure((WIDTH, 1.1 + 0.3 * len(rows)), 1, 1)
        ax = axes[0, 0]
        ax.axvline(0, color=INK, linewidth=1.0)
        for y, variant in enumerate(rows["variant"]):
            apart = words[y] == SHOWN
            style: dict[str, Any] = {"color": RIGHT if apart else FAINT}
            ax.plot([low[y], high[y]], [y, y], linewidth=2.0, solid_capstyle="butt", **style)
            ax.plot(mean[y], y, "o", markersize=6.5, **style)
            shown = with_interval(points(mean[y]), low[y], high[y], points)
            figure.name_point(ax, mean[y], y, f"{variant}: {shown}", variant)
            beside = {"xycoords": ax.get_yaxis_transform(), "annotation_clip": False}
            ax.annotate(shown, (1.01, y), va="center", fontsize=8.5, color=INK, **beside)
        ax.set_yticks(range(len(rows)), [figure_label(name, 40) for name in rows["variant"]])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.grid(False, axis="y")
        ax.set_title(f"Δ {label(primary)} against {figure_label(baseline)}, points")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: points(x).removesuffix(".0")))
    return figure


def has_interval(summary: pd.DataFrame) -> bool:
    """Say whether differences have intervals of their own, rather than a standard deviation."""
    column = f"{primary_of(summary)}_diff_low"
    return column in summary and bool(summary[column].notna().any())


def find_interval(rows: pd.DataFrame) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Return both ends of each difference's bar; NaN where nothing is known of its spread."""
    prefix = f"{primary_of(rows)}_diff"
    if has_interval(rows):
        return rows[f"{prefix}_low"].to_numpy(float), rows[f"{prefix}_high"].to_numpy(float)
    mean, std = (rows[f"{prefix}_{kind}"].to_numpy(float) for kind in ("mean", "std"))
    return mean - std, mean + std
