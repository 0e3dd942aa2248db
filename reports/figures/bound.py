"""Stride bound: the mIoU of the target itself, once it is as coarse as a prediction's stride.

In: a pack's targets. Out: scores by stride, and a drawing of them beside what variants reached.
A cell of `stride` x `stride` label pixels is given its most frequent class: what that bounds is
told in `bench.data.stride_bound`, which counts.
"""

import re

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from bench.data.packs.pack import Pack
from bench.data.stride_bound import STRIDES, bound_strides
from bench.metrics import CONFUSION, class_counts
from bench.plan import Plan
from bench.scoring import USUAL, Scorer, Scoring
from reports.figures.canvas import Drawing, new_figure
from reports.style import FAINT, INK, colours, figure_label, percent, theme

MAX_IMAGES = 200
"""Targets that are read, evenly spaced over the split."""


def bound_split(pack: Pack, split: str, scoring: Scoring = USUAL) -> tuple[dict[int, float], int]:
    """Return the bound of a split's targets, `MAX_IMAGES` at most, and how many have labels.

    It is a mean over the classes that the question's own mIoU is over.
    """
    indices = pack.indices(split)
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(len(indices), MAX_IMAGES)).round())
    targets = [np.asarray(pack.target(indices[int(i)])) for i in chosen]  # mapped, not read yet
    labelled = [target for target in targets if (target != pack.ignore_index).any()]

    def score(confusions: NDArray[np.int64]) -> NDArray[np.float64]:
        counts = class_counts(confusions)
        scorer = Scorer.of(scoring.pooled(), (CONFUSION,), pack.class_names, counts[0, 1])
        return scorer.score({CONFUSION: counts})["miou"]

    return bound_strides(labelled, len(pack.class_names), score=score), len(labelled)


def find_strides(plan: Plan) -> dict[str, float]:
    """Return the stride, in label pixels, of each variant whose skip is named by it (`fcn16s`).

    A network that sees images at half their size predicts at twice its stride.
    """
    strides = {}
    for planned in plan.runs:
        spec = planned.run.spec
        named = re.match(r"fcn(\d+)s", spec.model.skip)
        if named:
            strides[planned.variant] = int(named[1]) / spec.data.input_scale
    return strides


def plot_bound(
    bound: dict[int, float], summary: pd.DataFrame, strides: dict[str, float]
) -> Drawing:
    """Draw the bound over strides, and the mean mIoU of each variant at its stride.

    Args:
        bound: mIoU by stride.
        summary: One row for each variant.
        strides: Stride of a variant, in label pixels; those without are not drawn.
    """
    reached = summary[summary["variant"].isin(strides) & summary["miou_mean"].notna()]
    palette = colours(list(dict.fromkeys(reached["backbone"])))
    with theme():
        figure, axes = new_figure((8.0, 4.2), 1, 1)
        ax = axes[0, 0]
        ax.plot(list(bound), list(bound.values()), "o-", color=INK, linewidth=1.4, markersize=4)
        for stride, miou in bound.items():
            figure.name_point(ax, stride, miou, f"target at stride {stride}: {percent(miou)}")
            above = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
            ax.annotate(percent(miou), (stride, miou), fontsize=8, color=INK, **above)
        beside = {"xytext": (14, 10), "textcoords": "offset points", "color": INK}
        ax.annotate("the target itself, as coarse", (STRIDES[2], bound[STRIDES[2]]), **beside)
        for backbone, rows in reached.groupby("backbone", sort=False):
            rows = rows.assign(stride=rows["variant"].map(strides)).sort_values("stride")
            style = {"color": palette[str(backbone)], "label": figure_label(backbone)}
            ax.plot(rows["stride"], rows["miou_mean"], "s-", linewidth=1.2, markersize=5.5, **style)
            values = rows[["stride", "miou_mean"]].to_numpy(float)
            for variant, (stride, miou) in zip(rows["variant"], values, strict=True):
                figure.name_point(ax, stride, miou, f"{variant}: {percent(miou)}", variant)
        ax.set_xscale("log", base=2)
        ax.set_xticks(list(bound))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        ax.set_ylim(0, 1.06)
        ax.set(title="mIoU, %")
        ax.set_xlabel("stride of the prediction, label pixels", color=FAINT)
        if 0 < len(palette) <= 12:  # none before the first run has finished
            figure.legend(loc="outside right center")
    return figure
