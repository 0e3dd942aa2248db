"""From what a mask's file holds to classes: values or colours, many to one, several to void.

In: a mask as it was written, a key for each pixel. Out: class indices, and `ignore_index` for void.
Files are never rewritten: the map is applied whenever a mask is read.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fcn.errors import InputError

Kind = Literal["values", "colours"]
Keys = NDArray[np.int32]
"""A mask as it was written, (H, W): values 0..65535, or colours as `colour_key` numbers them."""

TRANSPARENT = 1 << 24
"""Key of a pixel that shows nothing, where the others are colours."""
NUM_KEYS = {"values": 1 << 16, "colours": TRANSPARENT + 1}
NUM_NAMED = 8


@dataclass(frozen=True)
class ClassMap:
    """Which keys are which class."""

    kind: Kind
    """What the keys are."""
    classes: tuple[tuple[int, ...], ...]
    """Keys of each class, (C,)."""
    void: tuple[int, ...] = ()
    """Keys that are neither trained on nor scored."""
    others_are_void: bool = False
    """Take every key that is not listed as void; else it is refused."""

    def to_json(self) -> list[object]:
        """Return plain values that say everything that decides a label."""
        return [self.kind, self.classes, sorted(self.void), self.others_are_void]

    def apply(
        self, keys: Keys, ignore_index: int, path: Path, way_out: str = ""
    ) -> NDArray[np.uint8]:
        """Return the class of each pixel, (H, W).

        Args:
            keys: The mask as it was written.
            ignore_index: Label of void.
            path: Its file, named in messages.
            way_out: What to do about a key that is not listed, for the message.

        Raises:
            InputError: It holds a key that is not listed.
        """
        found = _table(self, ignore_index).take(keys)
        if found.min() == 0:
            raise InputError(f"{path} holds {self._name_unknown(keys[found == 0])}{way_out}")
        return (found - np.uint16(1)).astype(np.uint8)

    def nearest(self, keys: Keys) -> Keys:
        """Return for each pixel the listed key nearest to its own, by Euclidean distance."""
        listed = np.array([*(key for own in self.classes for key in own), *self.void], np.int32)
        listed = listed[listed != TRANSPARENT]
        distinct, inverse = np.unique(keys, return_inverse=True)
        if self.kind == "values":
            distance = np.abs(distinct[:, None] - listed)
            return np.asarray(listed[distance.argmin(1)][inverse]).reshape(keys.shape)
        chosen = distinct.copy()
        for start in range(0, len(distinct), 4096):  # a JPEG has a hundred thousand colours
            part = channels(distinct[start : start + 4096])[:, None] - channels(listed)
            chosen[start : start + 4096] = listed[(part**2).sum(-1).argmin(1)]
        chosen[distinct == TRANSPARENT] = TRANSPARENT
        return chosen[inverse].reshape(keys.shape)

    def listed(self) -> Iterator[int]:
        """Yield every key that is listed, those of classes first."""
        for own in self.classes:
            yield from own
        yield from self.void

    def _name_unknown(self, unknown: Keys) -> str:
        keys, counts = np.unique(unknown, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:NUM_NAMED]
        named = ", ".join(f"{write_key(self.kind, keys[i])} ({counts[i]} pixels)" for i in order)
        more = f" and {len(keys) - NUM_NAMED} more" if len(keys) > NUM_NAMED else ""
        what = "the values" if self.kind == "values" else "the colours"
        return f"{what} {named}{more}, of no class"


def colour_key(red: int, green: int, blue: int) -> int:
    """Number a colour."""
    return red << 16 | green << 8 | blue


def channels(keys: Keys) -> NDArray[np.int32]:
    """Return red, green and blue of colours, (..., 3)."""
    return np.stack([keys >> 16 & 255, keys >> 8 & 255, keys & 255], axis=-1)


def rgb_of(key: int) -> tuple[int, int, int]:
    """Return red, green and blue of a colour."""
    return key >> 16 & 255, key >> 8 & 255, key & 255


def write_key(kind: Kind, key: int) -> str:
    """Write a key as classes.yaml has it."""
    key = int(key)
    if kind == "values":
        return str(key)
    return "transparent" if key == TRANSPARENT else str(list(rgb_of(key)))


def count_keys(keys: Keys) -> Counter[int]:
    """Count the pixels of each key: by runs, of which masks have few, and JPEGs many."""
    flat = keys.ravel()
    if not flat.size:
        return Counter()
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    lengths = np.diff(starts, append=len(flat))
    distinct, run = np.unique(flat[starts], return_inverse=True)
    pixels = np.bincount(run, weights=lengths).astype(np.int64)
    return Counter(dict(zip(distinct.tolist(), pixels.tolist(), strict=True)))


@lru_cache(maxsize=4)
def _table(mapping: ClassMap, ignore_index: int) -> NDArray[np.uint16]:
    """Return for each key its label + 1, or 0 where it is refused."""
    others = ignore_index + 1 if mapping.others_are_void else 0
    table = np.full(NUM_KEYS[mapping.kind], others, dtype=np.uint16)
    table[list(mapping.void)] = ignore_index + 1
    for label, keys in enumerate(mapping.classes, start=1):
        table[list(keys)] = label
    return table
