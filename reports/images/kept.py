"""What a store still holds of the images that a report may show: the pack, and kept predictions.

In: a plan, and a store with its packed dataset. Out: `Kept`, or the reason why there is nothing.
Each variant is shown by its first seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.packs.pack import Pack, as_reported, open_pack
from bench.plan import Plan, PlannedRun
from bench.store.runs import Store
from bench.text import clean
from fcn.errors import InputError


@dataclass(frozen=True)
class Kept:
    """Images of one split, with the predictions that the first run of each variant kept."""

    pack: Pack
    indices: Mapping[str, int]
    """Numbers of the split's images in the pack, by name."""
    arms: Sequence[PlannedRun]
    """The first run of each variant."""
    predictions: Mapping[str, Mapping[str, NDArray[np.uint8]]]
    """Predicted classes (H, W), by variant and image; none of a variant that has none."""

    @property
    def names(self) -> list[str]:
        """Images whose prediction every variant kept that kept any, in the split's order."""
        held = [found for found in self.predictions.values() if found]
        return [name for name in self.indices if held and all(name in found for found in held)]

    @property
    def variants(self) -> list[str]:
        """Variants that kept predictions."""
        return [name for name, found in self.predictions.items() if found]

    def target(self, name: str) -> NDArray[np.uint8]:
        """Return an image's target, (H, W)."""
        return np.asarray(self.pack.target(self.indices[name]))

    def image(self, name: str) -> NDArray[np.uint8]:
        """Return an image, (H, W, 3)."""
        return np.asarray(self.pack.image(self.indices[name]))


def open_kept(plan: Plan, store: Store) -> Kept:
    """Read which images there are to be shown.

    Args:
        plan: The variants to show, each by its first run.
        store: Where predictions and the packed dataset are.

    Raises:
        InputError: There is none; the message is a sentence for the page.
    """
    arms: dict[str, PlannedRun] = {}
    for planned in plan.runs:
        arms.setdefault(planned.variant, planned)
    first = next(iter(arms.values())).run
    split = first.spec.evaluate.split
    if len({(arm.run.fingerprint, arm.run.spec.evaluate.split) for arm in arms.values()}) != 1:
        raise InputError(
            "The variants are judged on different images, so none can be shown side by side."
        )
    try:
        pack = as_reported(open_pack(store.packs_dir, first.fingerprint), first.spec.data.targets)
        indices = {pack.name(i): i for i in pack.indices(split)}
    except (OSError, ValueError):  # not there, or damaged; InputError is a ValueError
        raise InputError(
            "The decoded dataset is not in this store (packs/), so no images are shown; "
            "`fcn-bench check` with this spec decodes it; then make the report again."
        ) from None
    predictions = {name: _load_predictions(store, arm) for name, arm in arms.items()}
    kept = Kept(pack, indices, list(arms.values()), predictions)
    if not kept.names:
        raise InputError(f"No prediction of the split {clean(split)!r} is there to be shown.")
    return kept


def _load_predictions(store: Store, arm: PlannedRun) -> dict[str, NDArray[np.uint8]]:
    if store.status(arm.run.id) != "done":
        return {}
    try:
        return store.predictions(arm.run.id, arm.run.spec.evaluate.split)
    except (OSError, KeyError, ValueError):  # pruned, or not what we wrote
        return {}
