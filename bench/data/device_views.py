"""Views made on a GPU from six whole numbers an image, with the bits that a CPU sees.

In: images that lie on the device and views of them. Out: what a network sees, and its targets.
What the views of many batches read is found at once; a batch is then one kernel. Where there are
none (`bench.data.kernels`), `bench.data.augment` makes the same views.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.augment import Size, View, channel_statistics, scaled_size
from bench.data.axis import FRACTION_BITS
from bench.data.kernels import starting_on
from bench.data.resample import send
from bench.data.resident import FlatImages

PLACES = 128
"""Places of an axis that one program of a kernel finds."""

PART = (4, 64)
"""Height and width of what one program of a kernel shows."""


def count_taps(sizes: Iterable[Size], smallest_scale: float) -> int:
    """Return how many pixels of an axis a place reads at most.

    Args:
        sizes: Height and width of each image.
        smallest_scale: Factor by which they are resized, at least.
    """
    sides = {
        (side, seen)
        for size in set(sizes)
        for side, seen in zip(size, scaled_size(size, smallest_scale), strict=True)
    }
    # Pixels closer than `reach`, on both sides; one more where rounding reaches a little further.
    reach = max(1.0, max(side / seen for side, seen in sides))
    return math.ceil(2 * reach) + 1


def table_of(views: Sequence[View], rows: Sequence[int]) -> NDArray[np.int32]:
    """Return the six whole numbers of each view, (V, 6): all that a device has to be told.

    Args:
        views: V views.
        rows: Which of the images on the device each is of.
    """
    return np.array(
        [(row, v.top, v.left, *v.scaled, v.flip) for row, v in zip(rows, views, strict=True)],
        dtype=np.int32,
    )


@dataclass(frozen=True)
class _Places:
    """What the places of V views read along an axis."""

    first: Tensor
    """(V, length) int32."""
    weights: Tensor
    """(V, taps, length) int32."""
    nearest: Tensor
    """(V, length) int32; -1 outside."""


class DeviceViews:
    """V views of images on a device, of one size, ready to be made a few at a time.

    Args:
        images: The images.
        table: What `table_of` gives.
        out_size: Height h and width w of what is seen.
        taps: What `count_taps` gives.
        mean: Of each channel, as `Pack.scale_statistics` has it.
        std: Likewise.
        ignored: Label outside the images, of each target.
    """

    def __init__(
        self,
        images: FlatImages,
        table: NDArray[np.int32],
        out_size: Size,
        *,
        taps: int,
        mean: Sequence[float],
        std: Sequence[float],
        ignored: Sequence[int],
    ) -> None:
        device = images.pixels.device
        self._images, self._out_size, self._taps = images, out_size, taps
        self._table = send(table, device)
        self._rows, self._columns = (self._find_places(axis) for axis in (0, 1))
        self._statistics = channel_statistics(tuple(mean), tuple(std), device)
        self._ignored = send(np.array(ignored, dtype=np.int64), device)

    def see(
        self, first: int, number: int, *, with_images: bool = True, with_targets: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Make some of the views.

        Args:
            first: Number of the first of them.
            number: How many, N.
            with_images: Whether images are wanted; without, K is 0.
            with_targets: Whether targets are wanted; without, T is 0.

        Returns:
            Images (N, K, h, w) float32, channels last, 0 outside; targets (T, N, h, w) int64.
        """
        from bench.data.view_kernels import see  # there may be no Triton

        (height, width), flat = self._out_size, self._images
        K, T = flat.pixels.shape[1] * with_images, len(flat.labels) * with_targets
        device = flat.pixels.device
        seen = torch.empty(number, height, width, K, device=device)
        targets = torch.empty(T, number, height, width, dtype=torch.int64, device=device)
        launch: Any = see[number, -(-height // PART[0]), -(-width // PART[1])]
        with starting_on(device):
            launch(
                flat.pixels,
                flat.labels,
                self._table,
                flat.places,
                *(self._rows.first, self._rows.weights, self._rows.nearest),
                *(self._columns.first, self._columns.weights, self._columns.nearest),
                self._statistics,
                self._ignored,
                seen,
                targets,
                first,
                len(flat.pixels),
                height,
                width,
                K,
                T,
                taps=self._taps,
                fraction_bits=FRACTION_BITS,
                is_deep=flat.pixels.dtype == torch.int16,
                rows_at_once=PART[0],
                columns_at_once=PART[1],
                enable_fp_fusion=False,
            )
        return seen.permute(0, 3, 1, 2), targets

    def _find_places(self, axis: int) -> _Places:
        from bench.data.view_kernels import find_places

        V, length, device = len(self._table), self._out_size[axis], self._table.device
        shape = ((V, length), (V, self._taps, length), (V, length))
        places = _Places(*(torch.empty(s, dtype=torch.int32, device=device) for s in shape))
        launch: Any = find_places[V, -(-length // PLACES)]
        with starting_on(device):
            launch(
                self._table,
                self._images.places,
                places.first,
                places.weights,
                places.nearest,
                length,
                axis=axis,
                taps=self._taps,
                fraction_bits=FRACTION_BITS,
                block=PLACES,
                enable_fp_fusion=False,
            )
        return places
