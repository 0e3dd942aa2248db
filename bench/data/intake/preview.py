"""A page of images with their masks over them: what people look at first.

In: a dataset. Out: one HTML file without scripts, whose images are in it.
"""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.dataset import Dataset
from bench.data.findings import DataReport, ImageFacts
from bench.text import clean

MOST_IMAGES = 24
SIDE = 360
"""Pixels of the longer side."""
OPACITY = 0.55
VOID = (255, 0, 255)
"""Void is striped in this colour: it is in no class, and must be seen."""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
.rows { display: flex; flex-wrap: wrap; gap: 1rem }
figure { margin: 0; width: 36rem } figure img { width: 49%; image-rendering: auto }
figcaption { color: #555; font-size: .9em; overflow-wrap: anywhere }
.key span { display: inline-block; margin: 0 .9em .3em 0 } .key i { display: inline-block;
width: 1em; height: 1em; margin-right: .3em; vertical-align: -.12em; border: 1px solid #0003 }
"""


def draw_page(dataset: Dataset, report: DataReport, title: str, said: Sequence[str]) -> str:
    """Draw the page; reads the images that it shows.

    Args:
        dataset: The images.
        report: What a check of all of them found.
        title: Of the page.
        said: Sentences on what was found and guessed.
    """
    figures = [_figure(dataset, facts) for facts in _choose(report)]
    shares = sum(report.class_counts(split) for split in report.splits)
    total = max(int(np.sum(shares)), 1)
    legend = "".join(
        f"<span><i style='background:rgb{colour}'></i>{_text(name)} "
        f"{100 * int(pixels) / total:.3g} %</span>"
        for name, colour, pixels in zip(
            dataset.class_names, dataset.palette, np.atleast_1d(shares), strict=True
        )
    )
    if void := sum(facts.num_ignored for facts in report.images):
        share = 100 * void / (total + void)
        legend += (
            f"<span><i style='background:rgb{VOID}'></i>void (striped), {share:.3g} % of all</span>"
        )
    notes = "".join(f"<li>{_paragraph(line)}</li>" for line in said)
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<title>{_text(title)}</title><style>{_STYLE}</style><h1>{_text(title)}</h1>"
        f"<ul>{notes}</ul><p class='key'>{legend}</p><div class='rows'>{''.join(figures)}</div>\n"
    )


def _choose(report: DataReport) -> list[ImageFacts]:
    """Choose images so that every class is seen where it is largest, then some of each split."""
    rest = list(report.images)
    counts = np.array([facts.class_counts for facts in rest])
    chosen: dict[int, None] = {}
    for label in np.argsort(counts.sum(0)):  # the rarest first
        if counts[:, label].any() and not any(counts[k, label] for k in chosen):
            chosen[int(counts[:, label].argmax())] = None
    spread = np.linspace(0, len(rest) - 1, min(MOST_IMAGES, len(rest))).astype(int)
    chosen |= dict.fromkeys(spread.tolist())
    return [rest[k] for k in sorted(list(chosen)[:MOST_IMAGES])]


def _figure(dataset: Dataset, facts: ImageFacts) -> str:
    image, mask = dataset.read(facts.split, facts.name)
    over = lay_over(image, mask, dataset)
    pictures = "".join(f"<img alt='' src='{_embed(pixels)}'> " for pixels in (image, over))
    caption = f"{_text(facts.name)} ({_text(facts.split)}, {facts.width}x{facts.height})"
    return f"<figure>{pictures}<figcaption>{caption}</figcaption></figure>"


def lay_over(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], dataset: Dataset
) -> NDArray[np.uint8]:
    """Lay the colours of a mask over its image, (H, W, 3); void is striped."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: len(dataset.palette)] = dataset.palette
    colours[dataset.ignore_index] = VOID
    blend = (1 - OPACITY) * image + OPACITY * colours[mask]
    row, column = np.indices(mask.shape)
    bare = (mask == dataset.ignore_index) & ((row + column) // 4 % 2 == 0)
    return np.where(bare[..., None], image, blend.round().astype(np.uint8))


def _embed(pixels: NDArray[np.uint8]) -> str:
    shown = Image.fromarray(pixels)
    shown.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    shown.save(content, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _paragraph(text: str) -> str:
    return "<br>".join(map(_text, text.split("\n")))


def _text(text: object) -> str:
    return escape(clean(text))
