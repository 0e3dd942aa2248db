"""Figures of scores: seeds and means by variant, the grid of backbones and skips, classes.

In: frames and summaries of raw units. Out: matplotlib figures.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from reports.figures.canvas import WIDTH, Drawing, new_figure
from reports.stats.primary import primary_of
from reports.style import (
    BLANK,
    EMPTY,
    FAINT,
    MISSING,
    PAPER,
    WASH,
    colours,
    figure_label,
    label,
    percent,
    points,
    theme,
    with_spread,
)

DIVERGING = "PuOr"
"""Two hues that every kind of colour blindness tells apart."""


def plot_scores(
    runs: pd.DataFrame,
    *,
    grouped: bool,
    skips: Sequence[str] = (),
    scores: tuple[str, str] = ("pixel_acc", "miou"),
) -> Drawing:
    """Draw two scores side by side: seeds as dots, mean and ± std as a bar.

    Args:
        runs: The frame of runs.
        grouped: Rows are backbones and colours skips; otherwise each variant is a row.
        skips: All skips of the question in its order, so that each keeps its colour and its place
            where not all variants are drawn.
        scores: Their names.
    """
    row, hue = ("backbone", "skip") if grouped else ("variant", "variant")
    frame = runs.assign(**{name: runs[name].map(figure_label) for name in (row, hue)})
    order, hues = list(dict.fromkeys(frame[row])), list(dict.fromkeys(frame[hue]))
    if grouped and skips:
        hues = [figure_label(name) for name in skips]
    palette = colours(hues)
    rows: dict[str, Any] = {"y": row, "order": order}
    if grouped:
        rows |= {"hue": hue, "hue_order": hues, "palette": palette}
    else:
        rows["color"] = colours(["all"])["all"]
    height = 1.0 + len(order) * ((0.17 * len(hues) + 0.2) if grouped else 0.32)
    with theme():
        figure, axes = new_figure((WIDTH, max(2.2, height)), 1, 2, sharey=True)
        for ax, score in zip(axes.flat, scores, strict=True):
            for i in range(0, len(order), 2):
                ax.axhspan(i - 0.5, i + 0.5, color=WASH, linewidth=0, zorder=0)
            _draw_seeds(ax, frame[frame[score].notna()], score, rows)
            _mark_unfinished(ax, frame, rows)
            _name_seeds(figure, ax, frame, score, rows)
            ax.set(title=f"{label(score)}, %", xlabel="", ylabel="")
            ax.set_ylim(len(order) - 0.5, -0.5)
            ax.grid(False, axis="y")
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}"))
        if grouped:
            marks = [axes.flat[0].plot([], [], "o", color=palette[h], label=h)[0] for h in hues]
            figure.legend(handles=marks, loc="outside upper right", ncols=min(len(hues), 6))
    return figure


def plot_skip_grid(summary: pd.DataFrame, skips: Sequence[str] = ()) -> Drawing:
    """Draw the mean score of each backbone (rows) and skip (columns); blanks are hatched.

    `skips` are all of the question in its order; by default those of the summary.
    """
    backbones = list(dict.fromkeys(summary["backbone"]))
    skips = list(skips) or list(dict.fromkeys(summary["skip"]))
    primary = primary_of(summary)
    cells = summary.set_index(["backbone", "skip"])
    index = pd.MultiIndex.from_product([backbones, skips])
    mean, std = (
        cells[f"{primary}_{kind}"].reindex(index).to_numpy().reshape(len(backbones), len(skips))
        for kind in ("mean", "std")
    )
    texts = np.vectorize(lambda m, s: with_spread(percent(m), s))(mean, std)
    grid = pd.DataFrame(mean, index=backbones, columns=skips)
    named = cells["variant"].reindex(index).fillna("").to_numpy().reshape(texts.shape)
    size = (min(WIDTH, 2.6 + 1.35 * len(skips)), 1.0 + 0.5 * len(backbones))
    return _draw_heatmap(grid, texts, size, f"{label(primary)}, %", named)


def plot_classes(grid: pd.DataFrame) -> Drawing:
    """Draw mean IoU of each variant and class, in percent; blanks are hatched."""
    named = np.repeat(np.array(grid.index, dtype=object)[:, None], grid.shape[1], axis=1)
    if grid.shape[1] > 16:
        grid, named = grid.T, named.T  # many classes read better downwards
    texts = np.vectorize(percent)(grid.to_numpy())
    size = (min(WIDTH, 3.0 + 0.62 * grid.shape[1]), 1.7 + 0.32 * grid.shape[0])
    return _draw_heatmap(grid, texts, size, "IoU, %", named)


def plot_class_gains(gains: pd.DataFrame) -> Drawing:
    """Draw what a change brings to each class, in points; a dot where its interval is off zero.

    Args:
        gains: `class_gains.find_class_gains`.
    """
    names = {kind: list(dict.fromkeys(gains[kind])) for kind in ("context", "class_name")}
    is_off = (gains["low"] > 0) | (gains["high"] < 0)
    shown = [points(x) + " •" * bool(off) for x, off in zip(gains["diff"], is_off, strict=True)]
    cells = gains.assign(text=shown).set_index(["context", "class_name"])
    grid, texts = (
        cells[kind].unstack().loc[names["context"], names["class_name"]]
        for kind in ("diff", "text")
    )
    if grid.shape[1] > 16:
        grid, texts = grid.T, texts.T
    size = (min(WIDTH, 3.0 + 0.72 * grid.shape[1]), 1.7 + 0.32 * grid.shape[0])
    most = float(np.nanmax(np.abs(grid.to_numpy()))) or 1.0
    ranges = {"vmin": -most, "vmax": most}
    return _draw_heatmap(
        grid, texts.to_numpy(), size, "Change of IoU, points", None, DIVERGING, ranges
    )


def _draw_seeds(ax: Axes, data: pd.DataFrame, score: str, rows: dict[str, Any]) -> None:
    """Draw each seed as a dot, and mean ± std over them; `rows` is seaborn's y, hue and orders."""
    count = len(rows.get("hue_order", [0]))
    dodge = count > 1
    common = {**rows, "data": data, "x": score, "ax": ax, "legend": False}
    sns.stripplot(**common, dodge=dodge, jitter=False, size=6, alpha=0.45, linewidth=0)
    sns.pointplot(
        **common,
        dodge=0.8 - 0.8 / count if dodge else False,  # where stripplot puts its dots
        errorbar="sd",
        linestyle="none",
        marker="|",
        markersize=11 if not dodge else 8,
        markeredgewidth=2.2,
        err_kws={"linewidth": 1.4},
    )


def _mark_unfinished(ax: Axes, frame: pd.DataFrame, rows: dict[str, Any]) -> None:
    """Put a cross at the left edge for each variant that has no finished run, or no score."""
    for variant in frame.drop_duplicates("variant").itertuples(index=False):
        own = frame[frame["variant"] == variant.variant]
        if own["miou"].notna().any():
            continue
        is_done = (own["status"] == "done").any()
        y = _height(variant, rows)
        colour = rows["palette"][getattr(variant, rows["hue"])] if "hue" in rows else FAINT
        middle = ax.get_yaxis_transform()  # x in parts of the axis, y in rows
        why = "× no labelled pixel" if is_done else "× no finished run"
        text = ax.text(0.012, y, why, color=colour, fontsize=8, transform=middle)
        text.set_verticalalignment("center")


def _name_seeds(
    figure: Drawing, ax: Axes, frame: pd.DataFrame, score: str, rows: dict[str, Any]
) -> None:
    for run in frame[frame[score].notna()].itertuples(index=False):
        text = f"{run.variant}, seed {run.seed}: {percent(getattr(run, score))}"
        figure.name_point(ax, getattr(run, score), _height(run, rows), text, str(run.variant))


def _height(run: Any, rows: dict[str, Any]) -> float:
    """Return where a run's row lies: its backbone's, moved by its skip."""
    hues = rows.get("hue_order", [None])
    k = hues.index(getattr(run, rows["hue"])) if "hue" in rows else 0
    return float(rows["order"].index(getattr(run, rows["y"])) - 0.4 + 0.8 * (k + 0.5) / len(hues))


def _draw_heatmap(
    grid: pd.DataFrame,
    texts: "np.ndarray[Any, Any]",
    size: tuple[float, float],
    title: str,
    variants: "np.ndarray[Any, Any] | None" = None,
    palette: str = "crest",
    ranges: dict[str, float] | None = None,
) -> Drawing:
    """Draw fractions as colours under their texts; a NaN is a hatched blank with a dash.

    `variants` are those of the cells, if each is of one.
    """
    with theme():
        figure, axes = new_figure(size, 1, 1)
        ax = axes[0, 0]
        ax.grid(False)
        sns.heatmap(
            grid.to_numpy(dtype=float),
            ax=ax,
            annot=texts,
            fmt="",
            cmap=sns.color_palette(palette, as_cmap=True),
            **(ranges or {}),
            linewidths=1.5,
            linecolor=PAPER,
            annot_kws={"fontsize": 8.5},
            xticklabels=[figure_label(name, 22) for name in grid.columns],
            yticklabels=[figure_label(name) for name in grid.index],
            cbar=False,  # every cell says its value
        )
        for i, j in np.argwhere(grid.isna().to_numpy()):
            blank = Rectangle((j, i), 1, 1, facecolor=EMPTY, edgecolor=BLANK, linewidth=0)
            blank.set_hatch("////")
            ax.add_patch(blank)
            ax.text(j + 0.5, i + 0.5, MISSING, ha="center", va="center", color=FAINT)
        for i, j in np.argwhere(grid.notna().to_numpy()):
            text = f"{grid.index[i]}, {grid.columns[j]}: {texts[i, j]}"
            figure.name_point(
                ax, j + 0.5, i + 0.5, text, "" if variants is None else variants[i, j]
            )
        steep = sum(len(str(name)) for name in grid.columns) * 0.085 > size[0] - 3
        ax.tick_params(axis="x", rotation=40 if steep else 0)
        ax.tick_params(axis="y", rotation=0)
        for text in ax.get_xticklabels() if steep else []:
            text.set(ha="right", rotation_mode="anchor")
        ax.set(title=title, xlabel="", ylabel="")
    return figure
