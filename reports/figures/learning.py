"""Scores by the number of training images: a line for each setting of the rest, with intervals.

In: rows of variants that differ in `data.train_fraction`. Out: a drawing. Variants that differ in
the fold alone are one point, their mean: each fold is judged by other images.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.text import clean, number_of
from reports.figures.canvas import Drawing, new_figure
from reports.figures.direct import can_name, name_lines
from reports.results.frame import Record
from reports.stats.effects import FOLD, Levels
from reports.stats.folds import average_folds, bound_mean
from reports.stats.pairs import Arm
from reports.stats.primary import PRIMARY, primary_of
from reports.style import FAINT, between, colours, figure_label, label, percent, theme

FRACTION = "data.train_fraction"
STEPS = "train.steps"
"""Follows from the share where a question gives epochs."""
MAX_LINES = 7
"""Lines that are told apart; of more there is no figure."""
SIDE = 0.012
"""By how much lines stand apart along the axis, as a part of each number: bars do not cover."""


def learning_frame(
    summary: pd.DataFrame, records: Sequence[Record], levels: Levels, arms: Mapping[str, Arm]
) -> pd.DataFrame:
    """Return a row for each scored variant, or mean over folds: its line, its images, its score.

    Args:
        summary: One row for each variant.
        records: Of all planned runs; they say how many images were trained on.
        levels: The level of each variant by factor.
        arms: What counts say of a variant; without them a mean over folds has no interval.

    Returns:
        `variant` (empty for a mean over folds), `line` (the values of the other factors; empty
        where there are none), `num_trained`, and of the primary score `<score>_mean`, and `_low`
        and `_high`, NaN without counts.
    """
    trained: dict[str, set[int]] = {}
    for record in records:
        if record.result is not None and record.result.num_trained is not None:
            trained.setdefault(record.planned.variant, set()).add(record.result.num_trained)
    followers = {FRACTION, *([STEPS] if _follows(levels) else [])}
    has_folds = _varies(levels.get(FOLD, {}))
    ignored = {*followers, FOLD}
    others = [name for name, own in levels.items() if name not in ignored and _varies(own)]
    primary = primary_of(summary)
    columns = ["variant", *(f"{primary}_{kind}" for kind in ("mean", "low", "high"))]
    rows = summary.reindex(columns=columns).dropna(subset=f"{primary}_mean")
    rows = rows[[len(trained.get(str(name), ())) == 1 for name in rows["variant"]]]
    names = [str(name) for name in rows["variant"]]
    frame = rows.assign(
        line=[", ".join(str(levels[other][name]) for other in others) for name in names],
        num_trained=[next(iter(trained[name])) for name in names],
    ).reset_index(drop=True)
    return _average_folds(frame, primary, levels, arms) if has_folds else frame


def _average_folds(
    frame: pd.DataFrame, primary: str, levels: Levels, arms: Mapping[str, Arm]
) -> pd.DataFrame:
    """Return a row for the mean over folds of each line and share that has all folds."""
    averaged = average_folds(arms, levels)
    rows: list[dict[str, Any]] = []
    shares = [levels[FRACTION][str(name)] for name in frame["variant"]]
    for _, own in frame.assign(share=shares).groupby(["line", "share"], sort=False):
        if len(own) < len(set(levels[FOLD].values())):
            continue
        wholes = {averaged.members.get(name, "") for name in own["variant"]}
        arm = averaged.arms.get(next(iter(wholes))) if len(wholes) == 1 else None
        low, high = (math.nan, math.nan) if arm is None else bound_mean(arm, primary)
        mean = own[f"{primary}_mean"].mean()
        scores = {f"{primary}_mean": mean, f"{primary}_low": low, f"{primary}_high": high}
        number = round(own["num_trained"].mean())
        rows.append({"variant": "", **scores, "line": own["line"].iloc[0], "num_trained": number})
    return pd.DataFrame(rows, columns=frame.columns)


def has_curve(frame: pd.DataFrame) -> bool:
    """Say whether there is a line of two numbers of images, and not too many lines."""
    if not len(frame):
        return False
    longest = frame.groupby("line")["num_trained"].nunique().max()
    return bool(longest > 1 and frame["line"].nunique() <= MAX_LINES)


def plot_learning(frame: pd.DataFrame, names: Mapping[str, str], primary: str = PRIMARY) -> Drawing:
    """Draw the mean score of each variant over its number of training images, with its interval.

    Args:
        frame: `learning_frame`.
        names: Of variants, as they are shown.
        primary: The score.
    """
    lines = list(dict.fromkeys(frame["line"]))
    palette = colours(lines)
    with theme():
        figure, axes = new_figure((7.0, 4.2), 1, 1)
        ax = axes[0, 0]
        ends = []
        for k, line in enumerate(lines):
            own = frame[frame["line"] == line].sort_values("num_trained")
            beside = 1 + SIDE * (k - (len(lines) - 1) / 2)
            x = own["num_trained"] * beside
            ax.plot(
                x, own[f"{primary}_mean"], "o-", color=palette[line], markersize=5, linewidth=1.4
            )
            bars = own[f"{primary}_low"], own[f"{primary}_high"]
            ax.vlines(x, *bars, color=palette[line], linewidth=1.1)
            for at, row in zip(x, own.to_dict("records"), strict=True):
                y, told = row[f"{primary}_mean"], _tell(row, names, primary)
                figure.name_point(ax, at, y, told, row["variant"])
            ends.append((float(own[f"{primary}_mean"].iloc[-1]), float(x.iloc[-1]), line))
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(sorted(set(frame["num_trained"]))))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}".replace(",", "\u2009")))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        ax.set_ylabel(f"{label(primary)}, %")
        figure.supxlabel("training images", fontsize=9, color=FAINT)
        if len(lines) > 1 and can_name(ends):
            name_lines(ax, ends, palette)
        elif len(lines) > 1:
            handles = [Line2D([], [], color=palette[one], label=figure_label(one)) for one in lines]
            ax.legend(handles=handles, loc="lower right", fontsize=8)
    return figure


def _tell(row: Mapping[str, object], names: Mapping[str, str], primary: str) -> str:
    mean, low, high = (float(str(row[f"{primary}_{name}"])) for name in ("mean", "low", "high"))
    interval = f" {between(low, high)}" if low == low else ""
    images = number_of(int(str(row["num_trained"])), "image")
    whose = names[str(row["variant"])] if row["variant"] else clean(f"{row['line']}, mean of folds")
    return f"{whose.removeprefix(', ')}, {images}: {percent(mean)}{interval}"


def _follows(levels: Levels) -> bool:
    """Say whether all variants of one share have as many steps."""
    pairs = {(share, levels.get(STEPS, {}).get(name)) for name, share in levels[FRACTION].items()}
    return len(pairs) == len({share for share, _ in pairs})


def _varies(levels: Mapping[str, str]) -> bool:
    return len(set(levels.values())) > 1
