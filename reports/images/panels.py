"""Images: the same few images under every variant, beside their targets.

In: what a store holds of them (`kept.py`). Out: `Panel`s to draw. They are chosen by rule, never by
eye (`choice.py`), among those whose prediction every finished variant kept.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.mask_scores import count_mask
from bench.metrics import summarize
from bench.store.runs import Store
from reports.images.choice import Pair, choose_images
from reports.images.kept import Kept
from reports.style import percent

NUM_IMAGES = 3


@dataclass(frozen=True)
class Cell:
    """One variant's prediction of one image, or why there is none."""

    variant: str
    backbone: str
    skip: str
    pred: NDArray[np.uint8] | None
    """Predicted classes, (H, W)."""
    note: str
    """Pixel accuracy on this image, or the reason of its absence."""


@dataclass(frozen=True)
class Panel:
    """One image with its target and all predictions."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3)."""
    target: NDArray[np.uint8]
    """Classes, (H, W); pixels equal to `ignore_index` are unlabelled."""
    cells: tuple[Cell, ...]
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int
    why: str = ""
    """What made the rule choose it."""

    def pred(self, variant: str) -> NDArray[np.uint8] | None:
        """Return one variant's prediction, (H, W)."""
        return next((cell.pred for cell in self.cells if cell.variant == variant), None)


def load_panels(kept: Kept, store: Store, pair: Pair | None = None) -> tuple[list[Panel], str]:
    """Read the images to show, and say by what rule they were chosen.

    Args:
        kept: What there is to choose from.
        store: Where the counts are, and why a prediction is missing.
        pair: The two variants whose difference chooses the images.

    Raises:
        InputError: The pack is damaged where an image lies.
    """
    chosen, rule = choose_images(pair, store, kept.names, NUM_IMAGES)
    return [replace(_panel(kept, one.name, store), why=one.why) for one in chosen], rule


def colour_classes(classes: NDArray[np.uint8], image: Panel) -> NDArray[np.uint8]:
    """Turn classes (H, W) into colours (H, W, 3); unlabelled pixels become grey stripes."""
    table = np.full((256, 3), 235, dtype=np.uint8)
    table[: len(image.palette)] = image.palette
    colours = table[classes]
    unlabelled = (classes == image.ignore_index)[..., None]
    return np.where(unlabelled, stripe(*classes.shape), colours)


def stripe(height: int, width: int) -> NDArray[np.uint8]:
    """Return grey stripes, (H, W, 1): pixels that are not counted."""
    y, x = np.indices((height, width))
    period = max(4, height // 30)
    striped = (x + y) % period < period / 3
    return np.where(striped[..., None], np.uint8(150), np.uint8(215))


def _panel(kept: Kept, name: str, store: Store) -> Panel:
    pack, target = kept.pack, kept.target(name)
    cells = []
    for arm in kept.arms:
        pred = kept.predictions[arm.variant].get(name)
        if pred is not None and pred.shape == target.shape:
            note = _score(pred, target, len(pack.class_names), pack.ignore_index)
        else:
            status = store.status(arm.run.id)
            pred, note = None, "no prediction kept" if status == "done" else f"run {status}"
        model = arm.run.spec.model
        cells.append(Cell(arm.variant, model.backbone, model.skip, pred, note))
    return Panel(
        name=name,
        image=kept.image(name),
        target=target,
        cells=tuple(cells),
        class_names=tuple(pack.class_names),
        palette=tuple(pack.palette),
        ignore_index=pack.ignore_index,
    )


def _score(
    pred: NDArray[np.uint8], target: NDArray[np.uint8], num_classes: int, ignore_index: int
) -> str:
    counts = count_mask(target, pred, num_classes, ignore_index)
    return f"{percent(summarize(counts).pixel_acc)} %"
