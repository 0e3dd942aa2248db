"""Learning curves: smoothed loss, and mIoU where it was watched; over steps, images or seconds.

In: the frames of logged steps and of watched scores. Out: a drawing.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from reports.figures.canvas import WIDTH, Drawing, new_figure
from reports.figures.direct import can_name, name_lines
from reports.results.frame import IDENTITY
from reports.style import FAINT, colours, figure_label, percent, theme

NUM_BINS = 40
"""Points of a smoothed curve: the loss is averaged within each of these equal spans."""
AXES = {"step": "step", "images": "training images seen", "seconds": "seconds of training"}
"""What a curve may run over: columns of both frames, and their names."""
MAX_LINES = 7
"""Curves that one panel holds before they are told apart no more."""


def plot_curves(
    curves: pd.DataFrame,
    watched: pd.DataFrame,
    variants: pd.DataFrame,
    *,
    grouped: bool,
    by: str = "step",
) -> Drawing:
    """Draw learning curves: smoothed loss, and below it the mIoU watched along the way, if any.

    Args:
        curves: The frame of logged steps.
        watched: The frame of scores taken along the way; may be empty.
        variants: Rows with `variant`, `backbone`, `skip`, in the plan's order.
        grouped: One panel per backbone, a colour per skip; otherwise a colour per variant.
        by: What curves run over, one of `AXES`.
    """
    panel, hue = ("backbone", "skip") if grouped else ("panel", "variant")
    names = list(dict.fromkeys(variants["variant"]))
    chunk = {name: f"{1 + i // MAX_LINES}" for i, name in enumerate(names)}
    variants, curves, watched = (
        frame.assign(panel=frame["variant"].map(chunk)) for frame in (variants, curves, watched)
    )
    panels = list(dict.fromkeys(variants[panel]))
    hues = {p: list(dict.fromkeys(variants.loc[variants[panel] == p, hue])) for p in panels}
    everywhere = colours(list(dict.fromkeys(variants[hue])))
    kinds = [("loss", "training loss", _bin_losses(curves, by))]
    watched = watched.dropna(subset="miou")  # labels that are void everywhere give no score
    if len(watched):
        split = figure_label(", ".join(dict.fromkeys(watched["split"])))
        together = watched.groupby(["variant", "step"])[by].transform("mean")  # seeds, in seconds
        kinds.append(("miou", f"mIoU on {split}, %", watched.assign(**{by: together})))
    with theme():
        bands = -(-len(panels) // 4)
        columns = -(-len(panels) // bands)
        size = (WIDTH, 0.5 + 2.3 * bands * len(kinds))
        figure, axes = new_figure(size, bands * len(kinds), columns, sharex=True, sharey="row")
        for ax in axes.flat:
            ax.set_visible(False)
        for k, (value, title, frame) in enumerate(kinds):
            mine = [axes[k * bands + i // columns, i % columns] for i in range(len(panels))]
            for i, (ax, name) in enumerate(zip(mine, panels, strict=True)):
                ax.set_visible(True)
                palette = everywhere if grouped else colours(hues[name])
                _draw_curves(ax, frame[frame[panel] == name], (by, value), hue, palette)
                if grouped and (k == 0 or bands > 1):
                    ax.set_title(figure_label(name))
                ax.set_ylabel(title if i % columns == 0 else "")
                ax.tick_params(labelbottom=k == len(kinds) - 1)
            lows, highs = zip(*(ax.get_ylim() for ax in mine), strict=True)
            for ax in mine:
                ax.set_ylim(min(lows), max(highs))  # bands do not share theirs
            for ax, name in zip(mine, panels, strict=True) if not grouped else ():
                _tell_apart(ax, hues[name], frame[frame[panel] == name], is_first=k == 0)
        figure.supxlabel(AXES[by], fontsize=9, color=FAINT)
        if grouped:
            handles = _handles(everywhere)
            figure.legend(handles=handles, loc="outside upper right", ncols=min(len(handles), 4))
    return figure


def _tell_apart(ax: Axes, names: Sequence[str], frame: pd.DataFrame, *, is_first: bool) -> None:
    """Name lines at their ends where they are few, else by a legend in the first panel."""
    drawn = [name for name in names if (frame["variant"] == name).any()]
    lines = zip(drawn, ax.lines, strict=True)
    last = {name: np.asarray(line.get_xydata())[-1] for name, line in lines}
    ends = [(float(y), float(x), name) for name, (x, y) in last.items()]
    if can_name(ends):
        name_lines(ax, ends, colours(names))
    elif is_first:
        ax.legend(handles=_handles(colours(names)), loc="upper right", fontsize=8)


def _handles(palette: dict[str, str]) -> list[Line2D]:
    return [Line2D([], [], color=c, label=figure_label(name)) for name, c in palette.items()]


def _bin_losses(curves: pd.DataFrame, by: str) -> pd.DataFrame:
    """Average each run's loss within equal spans of `by`, which becomes the span's middle."""
    last = curves[by].max() or 1  # a clock that never moved
    count = min(NUM_BINS, int(curves["step"].max()))
    spans = np.ceil(curves[by] * count / last - 1e-9).clip(lower=1) - 1
    binned = curves.assign(**{by: (spans + 0.5) * last / count})
    keys = [*IDENTITY, "panel", by]
    return binned.groupby(keys, sort=False)["loss"].mean().reset_index()


def _draw_curves(
    ax: Axes, frame: pd.DataFrame, axes: tuple[str, str], hue: str, palette: dict[str, str]
) -> None:
    """Draw the mean over seeds and one standard deviation of `axes`, names of x and y."""
    x, y = axes
    if len(frame):
        names = [name for name in palette if (frame[hue] == name).any()]
        sns.lineplot(
            frame, x=x, y=y, hue=hue, hue_order=names, palette=palette, ax=ax, legend=False,
            errorbar="sd", linewidth=1.4, err_kws={"alpha": 0.15, "linewidth": 0},
        )  # fmt: skip
        for name, line in zip(names, ax.lines, strict=True):
            variant = str(frame.loc[frame[hue] == name, "variant"].iloc[0])
            _name_curve(ax, (name, variant), np.asarray(line.get_xydata()), is_score=y == "miou")
    if y == "miou":
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}".replace(",", "\u2009")))
    ax.set_xlabel("")


def _name_curve(
    ax: Axes, names: tuple[str, str], points: NDArray[np.float64], *, is_score: bool
) -> None:
    """Name points of a curve, by what it is called in its panel, and by its variant."""
    assert isinstance(ax.figure, Drawing)
    name, variant = names
    for x, y in points:
        ax.figure.name_point(ax, x, y, f"{name}: {percent(y) if is_score else f'{y:.3f}'}", variant)
