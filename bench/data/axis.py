"""One axis of the views of a batch: which pixels each place shows, and with which weights.

In: where views begin, and sizes. Out: whole numbers, and weights as Pillow has them.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FRACTION_BITS = 22
"""Bits of a weight after the point: Pillow's for 8-bit images."""


@dataclass(frozen=True)
class Axis:
    """What N views show along one axis: which of their places, of which pixels."""

    length: int
    """Places of a view."""
    places: NDArray[np.int64]
    """First place that shows the image, and the one after the last, (N, 2)."""
    read: NDArray[np.int64]
    """The same of the pixels that are read, antialiasing's included, (N, 2)."""
    box: NDArray[np.float32]
    """Where what is seen begins and ends, in pixels from the first that is read, (N, 2)."""
    mirrored: NDArray[np.bool_]
    """Whether it is seen from its end to its beginning, (N,)."""

    @classmethod
    def of(
        cls,
        length: int,
        first: NDArray[np.int64],
        size: NDArray[np.int64],
        scaled: NDArray[np.int64],
        mirrored: NDArray[np.bool_],
    ) -> "Axis":
        """Find what each view shows.

        Args:
            length: Places of a view.
            first: First pixel seen of the resized image, (N,); negative if the view begins
                before it.
            size: Pixels of the image itself, (N,).
            scaled: Pixels it is resized to, (N,).
            mirrored: See it from its end to its beginning, (N,).
        """
        shrink = size / scaled
        reach = np.maximum(shrink, 1)
        begin, end = np.maximum(0, -first), np.minimum(length, scaled - first)
        low, high = (first + begin) * shrink, np.minimum((first + end) * shrink, size)
        start = np.maximum(0, np.floor(low - reach))
        stop = np.minimum(size, np.ceil(high + reach) + 1)
        return cls(
            length=length,
            places=np.where(mirrored, (length - end, length - begin), (begin, end)).T,
            read=np.array((start, stop), dtype=np.int64).T,
            box=np.array((low - start, high - start), dtype=np.float32).T,
            mirrored=mirrored,
        )

    def num_places(self, n: int) -> int:
        """Return how many places of view n show the image."""
        return int(self.places[n, 1] - self.places[n, 0])

    def inside(self) -> NDArray[np.bool_]:
        """Return which places show the image, (N, length)."""
        place = np.arange(self.length)
        return (place >= self.places[:, :1]) & (place < self.places[:, 1:])

    def weights(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the first pixel that each place reads, (N, length), and weights from there on.

        Weights are (N, length, taps), in parts of 2**22: a triangle that widens when shrinking.
        They are 0 beyond the image, and throughout at places outside.
        """
        place = np.where(
            self.mirrored[:, None],
            self.places[:, 1:] - 1 - np.arange(self.length),
            np.arange(self.length) - self.places[:, :1],
        )
        start, stop = self.box[:, :1], self.box[:, 1:]  # a box of Pillow's is float32
        scale = (stop - start).astype(np.float64) / (self.places[:, 1:] - self.places[:, :1])
        reach = np.maximum(scale, 1)
        centre = start + (place + 0.5) * scale
        first = np.maximum(centre - reach + 0.5, 0).astype(np.int64)
        taps = first[..., None] + np.arange(2 * math.ceil(reach.max()) + 1)
        parts = 1 - np.abs((taps - centre[..., None] + 0.5) * (1 / reach)[..., None])
        end = (self.read[:, 1:] - self.read[:, :1])[..., None]
        parts[(parts < 0) | (taps >= end) | ~self.inside()[..., None]] = 0
        total = np.maximum(parts.sum(-1, keepdims=True), 1e-9)  # 0 at places outside
        whole = (parts / total * (1 << FRACTION_BITS) + 0.5).astype(np.int32)
        return first + self.read[:, :1], whole
