"""What a dataset is: named pictures with labels, in splits, and a fingerprint of its content.

In: a loader registered in `DATASETS`. Out: a `Dataset` that reads one picture at a time.
Free of torch; nothing is decoded before `read`.
"""

import colorsys
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcn.errors import InputError
from fcn.registry import Registry

Palette = tuple[tuple[int, int, int], ...]

GOLDEN_TURN = 0.381966
"""Share of the colour circle between two neighbours: the golden angle never comes round to a hue
already used, however many classes there are."""


@dataclass(frozen=True)
class Dataset(ABC):
    """Pictures with labels. Subclasses say where they come from.

    Raises:
        InputError: Class names, colours and `ignore_index` do not fit each other.
    """

    name: str
    """Name it is registered by."""
    class_names: tuple[str, ...]
    """Names of the C classes, in the order of their indices."""
    palette: Palette
    """Display colour of each class, red, green, blue in 0..255."""
    ignore_index: int
    """Label of pixels that are neither trained on nor scored; in 0..255, outside [0, C)."""
    splits: dict[str, tuple[str, ...]]
    """Names of the pictures in each split."""

    def __post_init__(self) -> None:
        C = len(self.class_names)
        if not 2 <= C <= 255:
            raise InputError(
                f"dataset {self.name!r} has {C} classes; give 2 to 255, background included"
            )
        twice = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
        if twice:
            raise InputError(
                f"dataset {self.name!r} has two classes called {twice[0]!r}; rename one"
            )
        if len(self.palette) != C:
            raise InputError(
                f"dataset {self.name!r} has {len(self.palette)} colours for {C} classes"
            )
        if not C <= self.ignore_index <= 255:
            raise InputError(
                f"ignore_index {self.ignore_index} of dataset {self.name!r} must lie in {C}..255: "
                f"labels are 8 bit, and 0..{C - 1} are its classes; 255 is usual"
            )

    @abstractmethod
    def read(self, split: str, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the image (H, W, 3) and target (H, W) of a picture, both uint8.

        Raises:
            InputError: They cannot be read; the message names the file and the way out.
        """

    @abstractmethod
    def content(self) -> list[object]:
        """Return plain values that determine every pixel and label, wherever they are kept.

        Raises:
            InputError: A file is missing.
        """

    def describe(self, split: str, name: str) -> str:
        """Name a picture in messages, with its files if it has any."""
        return f"picture {name!r} of split {split!r}"

    def fingerprint(self) -> str:
        """Return the SHA-256, in hex, of everything here that can change a result.

        Raises:
            InputError: A file is missing.
        """
        # The palette stays out: colours change how a result looks, never what it is.
        values = [self.name, self.class_names, self.ignore_index, self.splits, self.content()]
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


DATASETS: Registry[Callable[..., Dataset]] = Registry("dataset")
"""Loaders `(data_dir: Path | None, *, options) -> Dataset`, each option a keyword with a type and
a default."""


def spread_colours(num_classes: int) -> Palette:
    """Return clearly different colours for any number of classes."""
    tones = [(0.65, 0.85), (0.45, 0.95), (0.8, 0.6)]  # saturation, value
    hues = [(0.58 + k * GOLDEN_TURN) % 1 for k in range(num_classes)]
    rgb = [colorsys.hsv_to_rgb(hue, *tones[k % 3]) for k, hue in enumerate(hues)]
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in rgb)
