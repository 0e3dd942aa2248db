"""Resampling: a picture times one matrix per axis, a label map read at one index per axis.

The matrices are banded, for a pixel reads few others. A GPU multiplies them whole, which takes it
less time than to start many small products; a CPU multiplies blocks along the band.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BLOCK = 64
"""Places of a view multiplied together on a CPU."""


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

    weights: Tensor
    """Weight of each pixel read, (N, length, taps); 0 throughout outside the picture."""
    first: Tensor
    """First pixel read, (N, length); it may lie before the picture, with weight 0."""
    inside: Tensor
    """Whether the place lies in the picture, (N, length)."""
    padded: int
    """Pixels of the axis, padding included."""

    def to(self, device: torch.device) -> "Bands":
        """Return the bands on a device."""
        weights, first, inside = (send(x, device) for x in (self.weights, self.first, self.inside))
        return Bands(weights, first, inside, self.padded)

    def matrices(self) -> Tensor:
        """Return the weights as matrices, (N, length, padded)."""
        N, length, taps = self.weights.shape
        # What is read beyond either end has weight 0 and lands in margins that are cut off.
        low, high = -taps, self.padded
        places = (self.first.clamp(low, high) + taps)[..., None]
        places = places + torch.arange(taps, device=places.device)
        full = self.weights.new_zeros(N, length, self.padded + 2 * taps)
        return full.scatter_(2, places, self.weights)[..., taps : taps + self.padded]

    def whole(self, n: int) -> "Block":
        """Return the places of view n that lie inside, and the pixels which they read."""
        inside = self.inside[n].nonzero()[:, 0].tolist() or [0]
        return self._block(n, inside[0], inside[-1] + 1)

    def blocks(self, n: int, whole: "Block") -> "Iterator[Block]":
        """Yield the places of `whole` in blocks."""
        for start in range(whole.places.start, whole.places.stop, BLOCK):
            yield self._block(n, start, min(start + BLOCK, whole.places.stop))

    def _block(self, n: int, start: int, stop: int) -> "Block":
        ends = int(self.first[n, start]), int(self.first[n, stop - 1])  # a mirrored axis falls
        low = min(max(min(ends), 0), self.padded - 1)
        high = max(low + 1, min(max(ends) + self.weights.shape[2], self.padded))
        return Block(slice(start, stop), slice(low, high))


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU's tensor to a device without waiting for what the device is doing."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def normalise(images: Tensor, statistics: Tensor) -> Tensor:
    """Return pictures (..., W, 3) as float32, less the mean, over the standard deviation.

    Args:
        images: (..., W, 3) of 0..255.
        statistics: Mean and standard deviation of each channel on the scale 0..1, (2, 3).
    """
    W = images.shape[-2]
    mean, std = statistics.repeat(1, W)  # whole rows: arithmetic over three channels is slow
    pixels = images.flatten(-2).float().div_(255).sub_(mean).div_(std)
    return pixels.view(images.shape)


def resample(images: Tensor, rows: Bands, columns: Bands, statistics: Tensor) -> Tensor:
    """Resample and normalise pictures.

    Args:
        images: (N, H, W, 3) uint8.
        rows: What each row of the views reads.
        columns: What each column of the views reads.
        statistics: As for `normalise`.

    Returns:
        (N, 3, h, w) float32; 0 outside the pictures.
    """
    if images.device.type == "cpu":
        return _resample_by_blocks(images, rows, columns, statistics)
    pixels = images.permute(0, 3, 1, 2).float()
    # Products run on 0..255, which TF32 holds exactly, and normalising comes last.
    seen = rows.matrices()[:, None] @ pixels @ columns.matrices()[:, None].mT
    mean, std = statistics[:, :, None, None]
    inside = rows.inside[:, None, :, None] & columns.inside[:, None, None, :]
    return seen.div_(255).sub_(mean).div_(std).where(inside, 0.0)


def take_nearest(
    targets: Tensor,
    rows: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
    *,
    outside: int,
) -> Tensor:
    """Read label maps at one row and one column index per pixel.

    Args:
        targets: (N, H, W) uint8.
        rows: Index of each row, (N, h), and whether it lies inside; on the CPU.
        columns: Index of each column, (N, w), and whether it lies inside; on the CPU.
        outside: Label where either does not.

    Returns:
        (N, h, w) int64.
    """
    if targets.device.type == "cpu":
        return _take_one_by_one(targets, rows, columns, outside)
    device = targets.device
    (y, in_y), (x, in_x) = (tuple(send(t, device) for t in axis) for axis in (rows, columns))
    picture = torch.arange(len(targets), device=device)[:, None, None]
    seen = targets[picture, y[:, :, None], x[:, None, :]].long()
    return seen.where(in_y[:, :, None] & in_x[:, None, :], outside)


def _resample_by_blocks(images: Tensor, rows: Bands, columns: Bands, statistics: Tensor) -> Tensor:
    N, C = len(images), images.shape[3]
    down, across = rows.matrices(), columns.matrices()
    seen = torch.zeros(N, C, rows.first.shape[1], columns.first.shape[1])
    for n in range(N):
        y, x = rows.whole(n), columns.whole(n)
        pixels = normalise(images[n, y.read, x.read], statistics)
        height, width = len(seen[n, 0, y.places]), pixels.shape[1]
        shrunk = torch.empty(height, width * C)
        for block in rows.blocks(n, y):
            part = pixels[_within(y.read, block.read)].flatten(1)
            here = _within(y.places, block.places)
            torch.mm(down[n, block.places, block.read], part, out=shrunk[here])
        planes = shrunk.view(height, width, C).permute(2, 0, 1).contiguous()
        for block in columns.blocks(n, x):
            read = _within(x.read, block.read)
            weights = across[n, block.places, block.read].T
            for plane, view in zip(planes, seen[n, :, y.places, block.places], strict=True):
                torch.mm(plane[:, read], weights, out=view)
    return seen


def _take_one_by_one(
    targets: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], outside: int
) -> Tensor:
    """Read label maps with numpy, which takes columns four times as fast as torch."""
    seen = np.empty((len(targets), rows[0].shape[1], columns[0].shape[1]), dtype=np.int64)
    for n, target in enumerate(targets.numpy()):
        seen[n] = target[rows[0][n].numpy()].take(columns[0][n].numpy(), axis=1)
        seen[n, ~rows[1][n].numpy()] = outside
        seen[n][:, ~columns[1][n].numpy()] = outside
    return torch.from_numpy(seen)


def _within(whole: slice, part: slice) -> slice:
    """Return where a part of a stretch lies in it."""
    return slice(part.start - whole.start, part.stop - whole.start)
