"""Drawing of images: image and target at the left, one cell for each variant, a class legend.

In: a `Panel`. Out: a matplotlib figure. Backbones are rows and skips columns where a plan has
both; otherwise cells follow the plan's order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpecBase
from matplotlib.patches import Patch
from numpy.typing import NDArray

from reports.figures.canvas import Drawing
from reports.images.panels import Cell, Panel, colour_classes
from reports.style import BLANK, MIDTONE, figure_label, image_theme

WIDTH = 10.0
"""Inches."""
MAX_COLUMNS = 4
"""Cells in a row without a grid of backbones and skips, image and target among them."""
MAX_CLASSES = 24
"""Classes that a legend names, the most frequent first."""
CAPTION = 0.24
"""Inches above a cell for its words."""
MARGIN = 0.3
"""Inches between image and grid, where the rows are named."""
LEGEND_COLUMNS = 8


def draw_panel(image: Panel, *, grouped: bool) -> Drawing:
    """Draw one image under every variant.

    Args:
        image: Image, target and predictions.
        grouped: Rows are backbones and columns skips, with image and target larger at the left.
    """
    height, width = image.target.shape
    legend = _legend(image)
    foot = 0.22 * -(-len(legend) // LEGEND_COLUMNS) + 0.15
    if grouped:
        rows = _lay_out_grid(image.cells)
        left = min(len(rows) / 2, 2.5)  # cells wide: two stacked fill the height of the rows
        across = left + len(rows[0])
    else:
        left, across = 0.0, float(min(MAX_COLUMNS, len(image.cells) + 2))
        rows = _lay_out_flow(image.cells, int(across))
    cell_width = (WIDTH - 0.2 - MARGIN * grouped) / (1.06 * across)
    cell_height = cell_width * height / width
    body = len(rows) * (cell_height + CAPTION)
    with image_theme():
        figure = Drawing(figsize=(WIDTH, body + foot))
        edges = {"left": 0.01, "right": 0.99, "bottom": foot / (body + foot)}
        edges["top"] = 1 - CAPTION / (body + foot)
        gap = CAPTION / cell_height
        words = int(cell_width * 15) - 7  # what fits beside the score, at eight points
        if grouped:
            n, parts = len(rows), [left, len(rows[0])]
            wide = 2 * MARGIN / WIDTH  # gridspec counts gaps in mean widths, here half the figure
            outer = figure.add_gridspec(1, 2, width_ratios=parts, wspace=wide, **edges)
            sides = outer[0].subgridspec(2, 1, hspace=2 * gap / (n + (n - 2) * gap))
            _show_truth(figure.add_subplot(sides[0]), image, "image")
            _show_truth(figure.add_subplot(sides[1]), image, "target")
            inner: GridSpecBase = outer[1].subgridspec(n, len(rows[0]), hspace=gap, wspace=0.06)
        else:
            inner = figure.add_gridspec(len(rows), int(across), hspace=gap, wspace=0.06, **edges)
        for i, row in enumerate(rows):
            for j, cell in enumerate(row):
                ax = figure.add_subplot(inner[i, j])
                if isinstance(cell, str):
                    _show_truth(ax, image, cell)
                else:
                    name = "" if cell is None else cell.skip if grouped else cell.variant
                    _show_cell(ax, cell, image, figure_label(name, words))
                    if cell is not None:
                        middle = (image.target.shape[1] / 2, image.target.shape[0] / 2)
                        figure.name_point(ax, *middle, f"{cell.variant}: {cell.note}", cell.variant)
                if grouped and j == 0:
                    _name_row(ax, row, letters=int(cell_height * 15))
        figure.legend(
            handles=legend, loc="lower left", ncols=LEGEND_COLUMNS, fontsize=8, handlelength=1.1,
            handleheight=1.1, columnspacing=1.4, borderaxespad=0.1, bbox_to_anchor=(0.004, 0.0),
        )  # fmt: skip
    return figure


def _lay_out_grid(cells: Sequence[Cell]) -> list[list[Cell | str | None]]:
    backbones, skips = (
        list(dict.fromkeys(getattr(cell, name) for cell in cells)) for name in ("backbone", "skip")
    )
    found = {(cell.backbone, cell.skip): cell for cell in cells}
    return [[found.get((b, s)) for s in skips] for b in backbones]


def _lay_out_flow(cells: Sequence[Cell], columns: int) -> list[list[Cell | str | None]]:
    flow: list[Cell | str | None] = ["image", "target", *cells]
    return [flow[i : i + columns] for i in range(0, len(flow), columns)]


def _show_truth(ax: Axes, image: Panel, which: str) -> None:
    pixels = image.image if which == "image" else colour_classes(image.target, image)
    show_pixels(ax, pixels, which, "", weight="bold")


def _name_row(ax: Axes, row: Sequence[Cell | str | None], *, letters: int) -> None:
    """Write the backbone beside its row, where a long name takes no room from the skips."""
    backbone = next(cell.backbone for cell in row if isinstance(cell, Cell))
    beside = {"xytext": (-3, 0), "textcoords": "offset points", "xycoords": "axes fraction"}
    middle: dict[str, Any] = {**beside, "rotation": 90, "ha": "right", "va": "center"}
    ax.annotate(figure_label(backbone, letters), (0, 0.5), fontsize=8, **middle)


def _show_cell(ax: Axes, cell: Cell | None, image: Panel, title: str) -> None:
    blank = np.full((*image.target.shape, 4), 128, dtype=np.uint8)
    blank[..., 3] = 36  # of 255: a shade on white and on dark alike
    if cell is not None and cell.pred is not None:
        show_pixels(ax, colour_classes(cell.pred, image), title, cell.note)
        return
    show_pixels(ax, blank, title, "")
    note = cell.note if cell else "not planned"
    middle: dict[str, Any] = {"ha": "center", "va": "center", "transform": ax.transAxes}
    ax.text(0.5, 0.5, note, color=MIDTONE, fontsize=8, **middle)


def show_pixels(
    ax: Axes, pixels: NDArray[np.uint8], title: str, note: str, *, weight: str = "normal"
) -> None:
    """Show colours, (H, W, 3) or with opacity (H, W, 4), with words at both ends above."""
    ax.imshow(pixels, interpolation="nearest")
    ax.set_anchor("NW")
    ax.set_axis_off()
    ax.set_title(title, fontsize=8, fontweight=weight, loc="left", pad=3)
    ax.set_title(note, fontsize=8, fontweight="normal", color=MIDTONE, loc="right", pad=3)


def _legend(image: Panel) -> list[Patch]:
    """Name the classes seen in target or predictions, the most frequent first."""
    seen = [image.target, *(cell.pred for cell in image.cells if cell.pred is not None)]
    counts = sum(np.bincount(classes.ravel(), minlength=256) for classes in seen)
    order = [int(c) for c in np.argsort(-np.asarray(counts), kind="stable")]
    classes = [c for c in order if np.asarray(counts)[c] and c < len(image.class_names)]
    patches = [
        Patch(
            facecolor="#{:02x}{:02x}{:02x}".format(*image.palette[c]),
            edgecolor=BLANK,
            label=figure_label(image.class_names[c], 18),
        )
        for c in classes[:MAX_CLASSES]
    ]
    if (image.target == image.ignore_index).any():
        patches.append(
            Patch(facecolor="#d7d7d7", edgecolor="#969696", hatch="////", label="unlabelled")
        )
    return patches
