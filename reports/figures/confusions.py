"""Confusion matrices: where the pixels of each class go, for two variants side by side.

In: pixel counts summed over a variant's seeds. Out: a drawing, each row of which adds up to 100 %.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from numpy.typing import NDArray

from reports.figures.canvas import WIDTH, Drawing, new_figure
from reports.results.frame import Record
from reports.style import EMPTY, PAPER, figure_label, theme

MAX_TEXTS = 12
"""Classes up to which each cell says its number; beyond, the colour and the page's hint do."""
SHOWN = 0.005
"""Share of a row from which a cell is coloured: what rounds to 0 % is empty."""
MAX_CLASSES = 60
"""Classes beyond which rows can no longer be told apart, so that nothing is drawn."""


def sum_confusions(
    records: Sequence[Record], variants: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Add up the counts of all finished seeds of each variant, (C, C); none without a run."""
    totals: dict[str, NDArray[np.int64]] = {}
    for record in records:
        name = record.planned.variant
        if record.result is not None and name in variants:
            counts = np.array(record.result.confusion, dtype=np.int64)
            totals[name] = totals[name] + counts if name in totals else counts
    return {name: totals[name] for name in variants if name in totals}


def plot_confusions(
    confusions: Mapping[str, NDArray[np.int64]], class_names: Sequence[str]
) -> Drawing:
    """Draw row-normalised matrices: rows are target classes, columns predicted ones.

    Args:
        confusions: Pixel counts, (C, C), by variant.
        class_names: The C names.
    """
    C = len(class_names)
    side = min(WIDTH / 2, 1.6 + 0.34 * C) if len(confusions) > 1 else min(WIDTH, 2 + 0.42 * C)
    ticks = [figure_label(name, 16) for name in class_names]
    with theme():
        figure, axes = new_figure(
            (min(WIDTH, side * len(confusions) + 0.8), side + 0.2), 1, len(confusions), sharey=True
        )
        for ax, (variant, counts) in zip(axes.flat, confusions.items(), strict=True):
            totals = counts.sum(1, keepdims=True)
            share = np.divide(counts, totals, where=totals > 0, out=np.full(counts.shape, np.nan))
            ax.set_facecolor(EMPTY)
            sns.heatmap(
                share, ax=ax, mask=~(share >= SHOWN), vmin=0, vmax=1, square=True, cbar=False,
                linewidths=0.5, linecolor=PAPER, cmap=sns.color_palette("crest", as_cmap=True),
                annot=_texts(share) if C <= MAX_TEXTS else None, fmt="",
                annot_kws={"fontsize": 7}, xticklabels=ticks, yticklabels=ticks,
            )  # fmt: skip
            for i, j in np.argwhere(share >= SHOWN):
                text = f"{class_names[i]} called {class_names[j]}: {100 * share[i, j]:.1f} %"
                figure.name_point(ax, j + 0.5, i + 0.5, f"{variant}: {text}", variant)
            ax.grid(False)
            ax.set_title(figure_label(variant, 36))
            ax.tick_params(axis="x", rotation=90)
            ax.tick_params(axis="y", rotation=0)
            ax.set_xlabel("predicted")
        axes[0, 0].set_ylabel("target")
    return figure


def _texts(share: NDArray[np.float64]) -> NDArray[np.str_]:
    """Write whole percents; what rounds to nothing stays empty."""
    return np.array([[f"{100 * s:.0f}" if s >= SHOWN else "" for s in row] for row in share])
