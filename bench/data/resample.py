"""Resampling: an image as Pillow resizes it, a mask read at one index per axis.

A CPU has Pillow do it. A GPU multiplies by one matrix per axis, in the same whole numbers, so that
every device shows the same image, to the bit: up to a shrinking by 15, within one level beyond.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench.data.axis import FRACTION_BITS, Axis

HALF_BITS = FRACTION_BITS // 2
"""Bits of one half of a weight; products of a half and a pixel add up exactly, in TF32 too."""

Images = Tensor | Sequence[NDArray[np.uint8]]
"""N images, each (H, W, K) uint8 (or uint16, as a tensor int16 of the same bits), or masks, each
(H, W) uint8: arrays of any sizes, which a CPU reads, or a tensor on the device that is to read it,
padded below and to the right."""

Indices = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""Index of the pixel read at each place of N views, (N, length), and whether it lies inside."""


def send(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to a device without waiting for what the device is doing.

    What torch can do with uint16 is little: it is taken for int16, the same bits; see `levels`.
    """
    tensor = torch.from_numpy(array.view(np.int16) if array.dtype == np.uint16 else array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def levels(images: Tensor) -> Tensor:
    """Return the values of images as float32, which holds whole numbers of 16 bits."""
    return (images.int() & 0xFFFF).float() if images.dtype == torch.int16 else images.float()


def normalise(images: Tensor, statistics: Tensor) -> Tensor:
    """Return images as float32, less the mean, over the standard deviation.

    Args:
        images: (..., W, K) of 0..255, or of 16 bits.
        statistics: Mean and standard deviation of each channel of images over 255, (2, K).
    """
    # Whole rows: arithmetic over few channels is slow.
    mean, std = statistics.repeat(1, images.shape[-2])
    rows = levels(images.flatten(-2)).div_(255).sub_(mean).div_(std)
    return rows.view(images.shape)


def resample(images: Images, rows: Axis, columns: Axis, statistics: Tensor) -> Tensor:
    """Resample and normalise images.

    Args:
        images: N images.
        rows: What the views show from top to bottom.
        columns: What they show from left to right.
        statistics: As for `normalise`.

    Returns:
        (N, K, h, w) float32, channels last; 0 outside the images.
    """
    arrays = arrays_for_cpu(images)
    if is_deep(images):
        seen = _multiply_deep(_pad(images), rows, columns)
    elif arrays is not None:
        seen = torch.from_numpy(_resize_one_by_one(arrays, rows, columns))
    else:
        assert isinstance(images, Tensor)
        seen = _multiply_together(images, rows, columns)
    views = normalise(seen, statistics)
    inside = rows.inside()[:, :, None, None] & columns.inside()[:, None, :, None]
    if not inside.all():
        views = views.where(send(inside, views.device), 0.0)
    return views.permute(0, 3, 1, 2)


def take_nearest(targets: Images, rows: Indices, columns: Indices, *, outside: int) -> Tensor:
    """Read masks at one row and one column index per pixel.

    Args:
        targets: N masks.
        rows: What each of the h rows of the views reads.
        columns: What each of the w columns of the views reads.
        outside: Label outside the images.

    Returns:
        (N, h, w) int64.
    """
    arrays = arrays_for_cpu(targets)
    if arrays is not None:
        return _take_one_by_one(arrays, rows, columns, outside)
    assert isinstance(targets, Tensor)
    device = targets.device
    (y, in_y), (x, in_x) = (tuple(send(part, device) for part in axis) for axis in (rows, columns))
    image = torch.arange(len(targets), device=device)[:, None, None]
    seen = targets[image, y[:, :, None], x[:, None, :]].long()
    return seen.where(in_y[:, :, None] & in_x[:, None, :], outside)


def arrays_for_cpu(images: Images) -> Sequence[NDArray[np.uint8]] | None:
    """Return images as arrays if a CPU is to compute, else None."""
    if not isinstance(images, Tensor):
        return images
    return list(images.numpy()) if images.device.type == "cpu" else None


def _resize_one_by_one(
    images: Sequence[NDArray[np.uint8]], rows: Axis, columns: Axis
) -> NDArray[np.uint8]:
    """Have Pillow make the views, (N, h, w, K)."""
    seen = np.zeros((len(images), rows.length, columns.length, images[0].shape[2]), dtype=np.uint8)
    for n, image in enumerate(images):
        part = image[slice(*rows.read[n]), slice(*columns.read[n])]
        # Pillow knows three channels as one image; others are images of their own.
        bands = [part] if part.shape[2] == 3 else np.moveaxis(part, 2, 0)
        views = np.dstack([np.asarray(_resize(band, rows, columns, n)) for band in bands])
        seen[n, slice(*rows.places[n]), slice(*columns.places[n])] = views
    return seen


def _resize(pixels: NDArray[np.uint8], rows: Axis, columns: Axis, n: int) -> Image.Image:
    """Return what Pillow makes of the pixels that view n reads, (H, W) or (H, W, 3)."""
    image = Image.fromarray(pixels)
    width, height = columns.num_places(n), rows.num_places(n)
    (left, right), (top, bottom) = columns.box[n], rows.box[n]
    # One axis at a time: which Pillow would take first, and round, differs from case to case.
    across = (left, 0, right, image.height)
    image = image.resize((width, image.height), Image.Resampling.BILINEAR, across)
    image = image.resize((width, height), Image.Resampling.BILINEAR, (0, top, width, bottom))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if columns.mirrored[n] else image


def _multiply_together(images: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Make the views with one matrix per axis, (N, h, w, K)."""
    seen = images.permute(0, 3, 1, 2).float()
    for axis in (columns, rows):
        seen = _multiply(seen, _matrices(axis, seen.shape[-1], seen.device)).mT
    return seen.permute(0, 2, 3, 1)


def is_deep(images: Images) -> bool:
    """Say whether images have 16 bits a channel."""
    if isinstance(images, Tensor):
        return images.dtype == torch.int16
    return bool(images[0].dtype == np.uint16)


def _pad(images: Images) -> Tensor:
    """Return images as one tensor, padded below and to the right."""
    if isinstance(images, Tensor):
        return images
    shape = np.array([image.shape for image in images]).max(0)
    whole = np.zeros((len(images), *shape), dtype=np.uint16)
    for n, image in enumerate(images):
        whole[n, : image.shape[0], : image.shape[1]] = image
    return send(whole, torch.device("cpu"))


def _multiply_deep(images: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Make the views of 16-bit images, (N, h, w, K), on every device by the same whole numbers.

    Each byte of a value adds up exactly, as 8-bit images do; together they are 38 bits.
    """
    seen = levels(images.permute(0, 3, 1, 2))
    for axis in (columns, rows):
        weights = _matrices(axis, seen.shape[-1], seen.device)
        upper = (seen / 256).floor()
        total = (_sum(upper, weights) << 8) + _sum(seen - 256 * upper, weights)
        seen = (total + (1 << FRACTION_BITS - 1) >> FRACTION_BITS).float().mT
    return seen.permute(0, 2, 3, 1)


def _sum(pixels: Tensor, weights: Tensor) -> Tensor:
    """Weigh whole numbers up to 255, (N, K, L, size), and add them up: (N, K, L, length) int64."""
    upper, lower = weights >> HALF_BITS, weights & (1 << HALF_BITS) - 1
    sums = [(pixels @ half.float()[:, None].mT).long() for half in (upper, lower)]
    return (sums[0] << HALF_BITS) + sums[1]


def _multiply(pixels: Tensor, weights: Tensor) -> Tensor:
    """Resample whole numbers (N, K, L, size) with weights (N, length, size): (N, K, L, length)."""
    # A weight is too long for a product that adds up exactly; each of its halves is not.
    upper, lower = weights >> HALF_BITS, weights & (1 << HALF_BITS) - 1
    sums = [(pixels @ half.float()[:, None].mT).int() for half in (upper, lower)]
    return ((sums[0] << HALF_BITS) + sums[1] + (1 << FRACTION_BITS - 1) >> FRACTION_BITS).float()


def _matrices(axis: Axis, size: int, device: torch.device) -> Tensor:
    """Return the weight of each pixel at each place, (N, length, size) int32."""
    first, weights = axis.weights()
    N, length, taps = weights.shape
    # What is read beyond the end has weight 0 and lands in a margin that is cut off.
    places = send(first.clip(max=size), device)[..., None] + torch.arange(taps, device=device)
    full = torch.zeros(N, length, size + taps, dtype=torch.int32, device=device)
    return full.scatter_(2, places, send(weights, device))[..., :size]


def _take_one_by_one(
    targets: Sequence[NDArray[np.uint8]], rows: Indices, columns: Indices, outside: int
) -> Tensor:
    """Read masks with numpy, which takes columns four times as fast as torch."""
    (y, in_y), (x, in_x) = rows, columns
    seen = np.empty((len(targets), y.shape[1], x.shape[1]), dtype=np.int64)
    for n, target in enumerate(targets):
        seen[n] = target[y[n]].take(x[n], axis=1)
        seen[n, ~in_y[n]] = outside
        seen[n][:, ~in_x[n]] = outside
    return torch.from_numpy(seen)
