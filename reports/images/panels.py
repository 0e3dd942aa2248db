"""Images: the same few images under every variant, beside their targets.

In: a plan, and a store with its packed dataset and kept predictions. Out: `Panel`s to draw.
They are chosen by rule, never by eye (`choice.py`), among those whose prediction every finished
variant kept. Each variant is shown by its first seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.data.packs.pack import Pack, as_reported, open_pack
from bench.metrics import count_mask, summarize
from bench.plan import Plan, PlannedRun
from bench.store.runs import Store
from bench.text import clean
from fcn.errors import InputError
from reports.images.choice import Pair, choose_images
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


def load_panels(plan: Plan, store: Store, pair: Pair | None = None) -> tuple[list[Panel], str]:
    """Read the images to show, and say by what rule; without any, say why there are none.

    Args:
        plan: The variants to show, each by its first run.
        store: Where counts, predictions and the packed dataset are.
        pair: The two variants whose difference chooses the images.
    """
    arms = _first_runs(plan)
    if len({(arm.run.fingerprint, arm.run.spec.evaluate.split) for arm in arms}) != 1:
        return (
            [],
            "The variants are judged on different images, so none can be shown side by side.",
        )
    run = arms[0].run
    try:
        pack = as_reported(open_pack(store.packs_dir, run.fingerprint), run.spec.data.targets)
        indices = {pack.name(i): i for i in pack.indices(run.spec.evaluate.split)}
    except (OSError, ValueError):  # not there, or damaged; InputError is a ValueError
        return [], (
            "The decoded dataset is not in this store (packs/), so no images are shown; "
            "`fcn-bench check` with this spec decodes it; then make the report again."
        )
    split = run.spec.evaluate.split
    kept = [_load_kept(store, arm) for arm in arms]
    common = [n for n in indices if any(kept) and all(n in k for k in kept if k)]
    if not common:
        return [], f"No prediction of the split {clean(split)!r} is there to be shown."
    chosen, rule = choose_images(pair, store, common, NUM_IMAGES)
    try:
        images = [
            replace(_panel(pack, indices[one.name], one.name, arms, kept, store), why=one.why)
            for one in chosen
        ]
    except InputError as error:
        return [], f"No images are shown: {clean(str(error))}."
    return images, rule


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


def _first_runs(plan: Plan) -> list[PlannedRun]:
    first: dict[str, PlannedRun] = {}
    for planned in plan.runs:
        first.setdefault(planned.variant, planned)
    return list(first.values())


def _load_kept(store: Store, arm: PlannedRun) -> dict[str, NDArray[np.uint8]]:
    if store.status(arm.run.id) != "done":
        return {}
    try:
        return store.predictions(arm.run.id, arm.run.spec.evaluate.split)
    except (OSError, KeyError, ValueError):  # pruned, or not what we wrote
        return {}


def _panel(
    pack: Pack,
    index: int,
    name: str,
    arms: Sequence[PlannedRun],
    kept: Sequence[Mapping[str, NDArray[np.uint8]]],
    store: Store,
) -> Panel:
    target = np.asarray(pack.target(index))
    cells = []
    for arm, predictions in zip(arms, kept, strict=True):
        pred = predictions.get(name)
        if pred is not None and pred.shape == target.shape:
            note = _score(pred, target, len(pack.class_names), pack.ignore_index)
        else:
            status = store.status(arm.run.id)
            pred, note = None, "no prediction kept" if status == "done" else f"run {status}"
        model = arm.run.spec.model
        cells.append(Cell(arm.variant, model.backbone, model.skip, pred, note))
    return Panel(
        name=name,
        image=np.asarray(pack.image(index)),
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
