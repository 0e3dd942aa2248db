"""What a dataset is: named images with labels, in splits, and a fingerprint of its content.

In: a loader registered in `DATASETS`. Out: a `Dataset` that reads one image at a time.
Free of torch; nothing is decoded before `read`.
"""

import colorsys
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.data.layers import COLOUR, SEMANTIC, Input, Palette, Target, to_json
from fcn.registry import Registry

GOLDEN_TURN = 0.381966
"""Share of the colour circle between two neighbours: the golden angle never comes round to a hue
already used, however many classes there are."""


@dataclass(frozen=True)
class Dataset(ABC):
    """Images with labels. Subclasses say where they come from, and read what more they have.

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
    """Names of the images in each split."""

    target_name: str = field(default=SEMANTIC, kw_only=True)
    """Name of the target that `read` gives."""
    more_inputs: tuple[Input, ...] = field(default=(), kw_only=True)
    """Inputs beside the image: depth, HHA."""
    more_targets: tuple[Target, ...] = field(default=(), kw_only=True)
    """Further targets of the same images."""
    groups: dict[tuple[str, str], str] = field(default_factory=dict, kw_only=True)
    """What an image belongs to, such as its clip, by (split, name): images of one are not
    independent. Empty where it is not known; no part of the fingerprint, as no score needs it."""
    refuses_duplicates: bool = field(default=False, kw_only=True)
    """Images that two splits have in common are an error; else they are said."""

    def __post_init__(self) -> None:
        first, *more = self.targets
        first.require_sense(f"dataset {self.name!r}")
        for target in more:
            target.require_sense(f"target {target.name!r} of dataset {self.name!r}")

    @property
    def inputs(self) -> tuple[Input, ...]:
        """All inputs, the image first."""
        return (COLOUR, *self.more_inputs)

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, that of `read` first."""
        own = Target(self.target_name, self.class_names, self.palette, self.ignore_index)
        return (own, *self.more_targets)

    @abstractmethod
    def read(self, split: str, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the image (H, W, 3) and target (H, W) of an image, both uint8.

        Raises:
            InputError: They cannot be read; the message names the file and the way out.
        """

    def read_input(self, split: str, name: str, wanted: Input) -> NDArray[np.uint8]:
        """Return one of `more_inputs` of an image, (H, W, channels) uint8.

        Raises:
            InputError: It cannot be read.
        """
        raise NotImplementedError(f"dataset {self.name!r} does not read {wanted.name!r}")

    def read_target(self, split: str, name: str, wanted: Target) -> NDArray[np.uint8]:
        """Return one of `more_targets` of an image, (H, W) uint8.

        Raises:
            InputError: It cannot be read.
        """
        raise NotImplementedError(f"dataset {self.name!r} does not read {wanted.name!r}")

    @abstractmethod
    def content(self) -> list[object]:
        """Return plain values that determine every pixel and label, wherever they are kept.

        Raises:
            InputError: A file is missing.
        """

    def is_turned(self, split: str, name: str) -> bool:
        """Return whether a file of an image lies on its side, and is turned upright by its tag."""
        return False

    def count_moved(self, split: str, name: str) -> int:
        """Return how many pixels of a mask hold something near what they are taken for."""
        return 0

    def describe(self, split: str, name: str) -> str:
        """Name an image in messages, with its files if it has any."""
        return f"image {name!r} of split {split!r}"

    def fingerprint(self) -> str:
        """Return the SHA-256, in hex, of everything here that can change a result.

        Raises:
            InputError: A file is missing.
        """
        # The palette stays out: colours change how a result looks, never what it is.
        values = [self.name, self.class_names, self.ignore_index, self.splits, self.content()]
        if self.more_inputs or self.more_targets:
            values.append([to_json(one) for one in self.more_inputs])
            values.append([[m.name, m.class_names, m.ignore_index] for m in self.more_targets])
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
