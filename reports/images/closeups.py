"""What two variants get wrong, and a close-up of the place where they differ most.

In: images with the predictions of both. Out: drawings, a row for each image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from reports.figures.canvas import WIDTH, Drawing
from reports.images.choice import find_difference
from reports.images.drawing import CAPTION, show_pixels
from reports.images.panels import Panel, colour_classes, stripe
from reports.style import MIDTONE, RIGHT, WRONG, figure_label, image_theme, percent

FOOT = 0.4
"""Inches below the rows, for the legend."""
PALE, BOTH_WRONG = "#eceef1", "#4b5563"


def draw_errors(images: Sequence[Panel], before: str, after: str) -> Drawing:
    """Draw image, target and, for two variants, which counted pixels are wrong."""
    with image_theme():
        figure, rows = _new_rows(images, columns=4)
        for axes, image in zip(rows, images, strict=True):
            counted = image.target != image.ignore_index
            show_pixels(axes[0], image.image, figure_label(image.why or image.name, 44), "")
            show_pixels(axes[1], colour_classes(image.target, image), "target", "")
            for ax, variant in zip(axes[2:], (before, after), strict=True):
                pred = image.pred(variant)
                assert pred is not None
                wrong = (pred != image.target) & counted
                shown = _paint(image.target.shape, (PALE, counted & ~wrong), (WRONG, wrong))
                share = wrong.sum() / max(1, counted.sum())
                show_pixels(ax, shown, figure_label(variant, 24), f"{percent(share)} % wrong")
        _add_legend(figure, {"right": PALE, "wrong": WRONG})
    return figure


def draw_closeups(images: Sequence[Panel], before: str, after: str) -> Drawing:
    """Draw the crop of each image in which two variants differ in most pixels."""
    with image_theme():
        figure, rows = _new_rows(images, columns=5)
        for axes, image in zip(rows, images, strict=True):
            old, new = image.pred(before), image.pred(after)
            assert old is not None
            assert new is not None
            counted = image.target != image.ignore_index
            crop = find_difference(old, new, image.target, image.ignore_index)
            show_pixels(axes[0], image.image, figure_label(image.why or image.name, 34), "")
            axes[0].add_patch(_frame(crop))
            show_pixels(axes[1], colour_classes(image.target, image)[crop], "target", "")
            for ax, variant, pred in ((axes[2], before, old), (axes[3], after, new)):
                show_pixels(ax, colour_classes(pred, image)[crop], figure_label(variant, 26), "")
            was, now = old == image.target, new == image.target
            shown = _paint(
                image.target.shape,
                (PALE, was & now & counted),
                (BOTH_WRONG, ~was & ~now & counted),
                (RIGHT, ~was & now & counted),
                (WRONG, was & ~now & counted),
            )
            repaired, broken = (
                int(part[crop].sum()) for part in (~was & now & counted, was & ~now & counted)
            )
            note = f"+{repaired} −{broken} px"
            show_pixels(axes[4], shown[crop], "what changed", note)
        colours = {"repaired": RIGHT, "broken": WRONG, "right in both": PALE}
        _add_legend(figure, {**colours, "wrong in both": BOTH_WRONG})
    return figure


def _new_rows(images: Sequence[Panel], columns: int) -> tuple[Drawing, Any]:
    """Make a figure with a row for each image, as high as the highest needs."""
    width = (WIDTH - 0.1) / (1.04 * columns)
    ratio = max(image.target.shape[0] / image.target.shape[1] for image in images)
    height = width * min(ratio, 1.5)
    body = len(images) * (height + CAPTION)
    figure = Drawing(figsize=(WIDTH, body + FOOT))
    edges: dict[str, float] = {"left": 0.005, "right": 0.995, "bottom": FOOT / (body + FOOT)}
    edges["top"] = 1 - CAPTION / (body + FOOT)
    gaps = {"hspace": CAPTION / height, "wspace": 0.04}
    return figure, figure.subplots(len(images), columns, squeeze=False, gridspec_kw=edges | gaps)


def _paint(shape: tuple[int, int], *parts: tuple[str, NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Colour the pixels (H, W) of each part; the rest, unlabelled pixels, is striped."""
    shown = np.repeat(stripe(*shape), 3, axis=2)
    for colour, where in parts:
        shown[where] = [round(255 * channel) for channel in to_rgb(colour)]
    return shown


def _frame(crop: tuple[slice, slice]) -> Rectangle:
    y, x = crop
    size = {"width": x.stop - x.start, "height": y.stop - y.start}
    return Rectangle((x.start, y.start), **size, fill=False, edgecolor="#ffffff", linewidth=1.8)


def _add_legend(figure: Drawing, colours: dict[str, str]) -> None:
    patches = [
        Patch(facecolor=colour, edgecolor=MIDTONE, linewidth=0.6, label=name)
        for name, colour in colours.items()
    ]
    uncounted = Patch(facecolor="#d7d7d7", edgecolor="#969696", hatch="////", label="unlabelled")
    figure.legend(
        handles=[*patches, uncounted], loc="lower left", ncols=6, fontsize=8.5, handlelength=1.2,
        handleheight=1.2, bbox_to_anchor=(0.0, 0.0), borderaxespad=0.2,
    )  # fmt: skip
