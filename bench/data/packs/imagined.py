"""An imagined pack: as many images as a data set will have, all of one size, none of which exists.

In: an outline. Out: what asks a pack for sizes, splits and layers, and for no pixel, gets answers:
networks are built for it and their steps timed before anything is downloaded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.data.dataset import spread_colours
from bench.data.layers import COLOUR, SEMANTIC, Input, Target
from bench.data.packs.index import Entry
from bench.data.packs.pack import Pack

VOID = 255


class ImaginedPack(Pack):
    """Images that are only counted.

    Args:
        fingerprint: What stands for the data set's own.
        num_images: Of each split.
        size: Height and width of every image.
        num_classes: Of the first target.
        more_inputs: Beside the image.
        more_targets: Beside the first.
    """

    def __init__(
        self,
        fingerprint: str,
        num_images: Mapping[str, int],
        size: tuple[int, int],
        num_classes: int,
        more_inputs: Sequence[Input] = (),
        more_targets: Sequence[Target] = (),
    ) -> None:
        # Nothing is mapped: whatever asks for a pixel fails.
        names = tuple(f"class {number}" for number in range(num_classes))
        first = Target(SEMANTIC, names, spread_colours(num_classes), VOID)
        counts = np.full(num_classes, size[0] * size[1] // num_classes).tolist()
        more = {
            one.name: [1] * len(one.class_names) for one in more_targets
        }  # as if all were there
        self.folder, self.fingerprint = Path(), fingerprint
        self._entries = [
            Entry(f"{split}-{number}", split, *size, 0, counts, more)
            for split, count in num_images.items()
            for number in range(count)
        ]
        self.splits = tuple(num_images)
        self.available_inputs = (COLOUR, *more_inputs)
        self.available_targets = (first, *more_targets)
        self._inputs, self._targets, self._only = {}, {}, {}
        self._limit, self._hidden = None, ()
        self.inputs, self.targets = (COLOUR,), (first,)

    def groups(self, split: str) -> list[str]:
        """Return nothing: what belongs together is not known."""
        return []
