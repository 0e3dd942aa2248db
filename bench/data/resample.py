"""Resampling: a picture times one matrix per axis, a label map read at one index per axis.

The matrices are banded, for a pixel reads few others. A GPU multiplies them whole, which takes it
less time than to start many small products; a CPU multiplies blocks along the band.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 96
"""Pixels read by places that are multiplied together on a CPU, about."""

Pictures = Tensor | Sequence[NDArray[np.uint8]]
"""N pictures, each (H, W, K) uint8, or label maps, each (H, W) uint8: arrays of any sizes, which a
CPU reads, or a tensor on the device that is to read it, padded below and to the right."""

Indices = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""Index of the pixel read at each place of N views, (N, length), and whether it lies inside."""


@dataclass(frozen=True)
class Block:
    """A stretch of an axis of a view."""

    places: slice
    """Where it is seen."""
    read: slice
    """The pixels that it reads."""


@dataclass(frozen=True)
class Bands:
    """Which pixels of an axis each place of N views reads."""

    weights: NDArray[np.float32]
    """Weight of each pixel read, (N, length, taps); 0 throughout outside the picture."""
    first: NDArray[np.int64]
    """First pixel read, (N, length); it may lie before the picture, with weight 0."""
    inside: NDArray[np.bool_]
    """Whether the place lies in the picture, (N, length)."""
    sizes: NDArray[np.int64]
    """Pixels of the axis in each picture, (N,)."""
    padded: int
    """Pixels of the axis, padding included."""

    def matrices(self, device: torch.device) -> Tensor:
        """Return the weights as matrices, (N, length, padded)."""
        N, length, taps = self.weights.shape
        # What is read beyond either end has weight 0 and lands in margins that are cut off.
        start = send(self.first.clip(-taps, self.padded)[..., None] + taps, device)
        places = start + torch.arange(taps, device=device)
        full = torch.zeros(N, length, self.padded + 2 * taps, device=device)
        full.scatter_(2, places, send(self.weights, device))
        return full[..., taps : taps + self.padded]

    def whole(self, n: int) -> "Block":
        """Return the places of view n that lie inside, and the pixels which they read."""
        inside = self.inside[n].nonzero()[0]
        return self._block(n, inside[0], inside[-1] + 1) if len(inside) else self._block(n, 0, 1)

    def blocks(self, n: int, whole: "Block") -> "Iterator[Block]":
        """Yield the places of `whole` in blocks that read about as many pixels each."""
        start, stop = whole.places.start, whole.places.stop
        num_blocks = math.ceil((whole.read.stop - whole.read.start) / BLOCK)
        ends = [start + (stop - start) * k // num_blocks for k in range(num_blocks + 1)]
        return (self._block(n, *ends) for ends in pairwise(ends))

    def _block(self, n: int, start: int, stop: int) -> "Block":
        ends = int(self.first[n, start]), int(self.first[n, stop - 1])  # a mirrored axis falls
        size = int(self.sizes[n])
        low = min(max(min(ends), 0), size - 1)
        high = max(low + 1, min(max(ends) + self.weights.shape[2], size))
        return Block(slice(start, stop), slice(low, high))


def send(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to a device without waiting for what the device is doing."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def normalise(images: Tensor, statistics: Tensor) -> Tensor:
    """Return pictures as float32, less the mean, over the standard deviation.

    Args:
        images: (..., W, K) of 0..255.
        statistics: Mean and standard deviation of each channel on the scale 0..1, (2, K).
    """
    # Whole rows: arithmetic over few channels is slow.
    return _normalise_rows(images.flatten(-2), statistics.repeat(1, images.shape[-2])).view(
        images.shape
    )


def resample(images: Pictures, rows: Bands, columns: Bands, statistics: Tensor) -> Tensor:
    """Resample and normalise pictures.

    Args:
        images: N pictures.
        rows: What each row of the views reads.
        columns: What each column of the views reads.
        statistics: As for `normalise`.

    Returns:
        (N, K, h, w) float32; 0 outside the pictures.
    """
    arrays = arrays_for_cpu(images)
    if arrays is not None:
        return _resample_by_blocks(arrays, rows, columns, statistics)
    assert isinstance(images, Tensor)
    device = images.device
    down, across = rows.matrices(device), columns.matrices(device)
    # Products run on 0..255, which TF32 holds exactly, and normalising comes last.
    seen = down[:, None] @ images.permute(0, 3, 1, 2).float() @ across[:, None].mT
    mean, std = statistics[:, :, None, None]
    in_rows, in_columns = send(rows.inside, device), send(columns.inside, device)
    inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    return seen.div_(255).sub_(mean).div_(std).where(inside, 0.0)


def take_nearest(targets: Pictures, rows: Indices, columns: Indices, *, outside: int) -> Tensor:
    """Read label maps at one row and one column index per pixel.

    Args:
        targets: N label maps.
        rows: What each of the h rows of the views reads.
        columns: What each of the w columns of the views reads.
        outside: Label outside the pictures.

    Returns:
        (N, h, w) int64.
    """
    arrays = arrays_for_cpu(targets)
    if arrays is not None:
        return _take_one_by_one(arrays, rows, columns, outside)
    assert isinstance(targets, Tensor)
    device = targets.device
    (y, in_y), (x, in_x) = (tuple(send(part, device) for part in axis) for axis in (rows, columns))
    picture = torch.arange(len(targets), device=device)[:, None, None]
    seen = targets[picture, y[:, :, None], x[:, None, :]].long()
    return seen.where(in_y[:, :, None] & in_x[:, None, :], outside)


def arrays_for_cpu(pictures: Pictures) -> Sequence[NDArray[np.uint8]] | None:
    """Return pictures as arrays if a CPU is to compute, else None."""
    if not isinstance(pictures, Tensor):
        return pictures
    return list(pictures.numpy()) if pictures.device.type == "cpu" else None


def _resample_by_blocks(
    images: Sequence[NDArray[np.uint8]], rows: Bands, columns: Bands, statistics: Tensor
) -> Tensor:
    N, K = len(images), images[0].shape[2]
    cpu = torch.device("cpu")
    down, across = rows.matrices(cpu), columns.matrices(cpu)
    widest = statistics.repeat(1, columns.padded)
    seen = torch.zeros(N, K, rows.first.shape[1], columns.first.shape[1])
    for n, image in enumerate(images):
        y, x = rows.whole(n), columns.whole(n)
        part = torch.from_numpy(image[y.read, x.read].astype(np.float32))
        width = part.shape[1]
        pixels = _normalise_rows(part.flatten(1), widest[:, : width * K])
        shrunk = torch.empty(y.places.stop - y.places.start, width * K)
        for block in rows.blocks(n, y):
            read, here = _within(y.read, block.read), _within(y.places, block.places)
            torch.mm(down[n, block.places, block.read], pixels[read], out=shrunk[here])
        planes = shrunk.view(-1, width, K).permute(2, 0, 1).reshape(-1, width)
        view = planes.new_empty(len(planes), x.places.stop - x.places.start)
        for block in columns.blocks(n, x):
            read, here = _within(x.read, block.read), _within(x.places, block.places)
            weights = across[n, block.places, block.read].T
            torch.mm(planes[:, read], weights, out=view[:, here])
        seen[n, :, y.places, x.places] = view.view(K, -1, view.shape[1])
    return seen


def _normalise_rows(rows: Tensor, statistics: Tensor) -> Tensor:
    """Normalise rows of pixels, (..., W * K), in place where they are float32."""
    mean, std = statistics
    return rows.float().div_(255).sub_(mean).div_(std)


def _take_one_by_one(
    targets: Sequence[NDArray[np.uint8]], rows: Indices, columns: Indices, outside: int
) -> Tensor:
    """Read label maps with numpy, which takes columns four times as fast as torch."""
    (y, in_y), (x, in_x) = rows, columns
    seen = np.empty((len(targets), y.shape[1], x.shape[1]), dtype=np.int64)
    for n, target in enumerate(targets):
        seen[n] = target[y[n]].take(x[n], axis=1)
        seen[n, ~in_y[n]] = outside
        seen[n][:, ~in_x[n]] = outside
    return torch.from_numpy(seen)


def _within(whole: slice, part: slice) -> slice:
    """Return where a part of a stretch lies in it."""
    return slice(part.start - whole.start, part.stop - whole.start)
