"""Views of images: scale, crop and flip as one resampling, and the same path for evaluation.

Bilinear, with a triangle filter that widens when shrinking (antialiasing), in whole numbers, one
axis at a time. Targets take the nearest pixel and are never interpolated. A view at scale 1 gives
the original pixels exactly; outside is 0, the mean.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.axis import Axis
from bench.data.resample import Images, normalise, resample, send, take_nearest
from bench.spec import TrainSpec

Size = tuple[int, int]
"""Height and width in pixels."""


NUM_DRAWN = 4
"""Random numbers of a view: for scale, top, left, and whether it is mirrored."""


@dataclass(frozen=True)
class View:
    """Which part of a resized image is seen; all in pixels."""

    size: Size
    """Size of the image itself."""
    scaled: Size
    """Size it is resized to."""
    top: int = 0
    """First row seen of the resized image; negative when the view reaches beyond it."""
    left: int = 0
    """First column seen."""
    flip: bool = False
    """Mirror what is seen left and right."""


def scaled_size(size: Size, scale: float) -> Size:
    """Return a size times a factor, in whole pixels, at least one."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def draw_view(rng: np.random.Generator, size: Size, train: TrainSpec, input_scale: float) -> View:
    """Draw a random view.

    Args:
        rng: Source of everything random. As many numbers are drawn whatever the settings, so that
            switching one off leaves the others as they were.
        size: Size of the image.
        train: Takes `scale`, `crop` and `flip` from it.
        input_scale: Resize of every image, on top of which the random one comes.
    """
    return choose_view(rng.random(NUM_DRAWN), size, train, input_scale)


def choose_view(
    drawn: NDArray[np.float64], size: Size, train: TrainSpec, input_scale: float
) -> View:
    """Turn random numbers from [0, 1), (NUM_DRAWN,), into a view; the rest is as in `draw_view`."""
    for_scale, for_top, for_left, for_flip = drawn
    smallest, largest = train.scale
    scaled = scaled_size(size, input_scale * smallest * (largest / smallest) ** for_scale)
    crop = train.crop or scaled
    return View(
        size=size,
        scaled=scaled,
        top=_draw_offset(for_top, scaled[0] - crop[0]),
        left=_draw_offset(for_left, scaled[1] - crop[1]),
        flip=bool(train.flip and for_flip < 0.5),
    )


def view_images(
    images: Images,
    views: Sequence[View],
    out_size: Size,
    *,
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """Resample images and normalise them.

    Args:
        images: N images.
        views: One for each image.
        out_size: Height h and width w of what is seen.
        mean: Of each channel, on the scale 0..1.
        std: Of each channel, on the scale 0..1.

    Returns:
        (N, K, h, w) float32; 0 outside the images.
    """
    device = images.device if isinstance(images, Tensor) else torch.device("cpu")
    statistics = channel_statistics(tuple(mean), tuple(std), device)
    if all(_is_whole(view, out_size) for view in views):
        whole = images if isinstance(images, Tensor) else send(np.stack(images), device)
        return normalise(whole, statistics).permute(0, 3, 1, 2)
    rows, columns = (_axis(views, axis, out_size[axis]) for axis in (0, 1))
    return resample(images, rows, columns, statistics)


def view_targets(
    targets: Images, views: Sequence[View], out_size: Size, *, ignore_index: int
) -> Tensor:
    """Take the nearest label of each pixel seen.

    Args:
        targets: N masks.
        views: One for each mask.
        out_size: Height h and width w of what is seen.
        ignore_index: Label outside the images.

    Returns:
        (N, h, w) int64.
    """
    (rows, in_rows), (columns, in_columns) = (
        _nearest(views, axis, out_size[axis]) for axis in (0, 1)
    )
    return take_nearest(targets, (rows, in_rows), (columns, in_columns), outside=ignore_index)


def inside_views(views: Sequence[View], out_size: Size) -> NDArray[np.bool_]:
    """Return which pixels of the views lie in their images, (N, h, w)."""
    (_, rows), (_, columns) = (_nearest(views, axis, out_size[axis]) for axis in (0, 1))
    inside: NDArray[np.bool_] = rows[:, :, None] & columns[:, None, :]
    return inside


def to_network(
    image: NDArray[np.uint8],
    input_scale: float,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    size: Size | None = None,
) -> Tensor:
    """Turn one image or several of one size into the network's input, nothing random.

    Args:
        image: (H, W, K) or (N, H, W, K), uint8 or uint16.
        input_scale: Factor by which they are resized; 1 gives the original pixels.
        mean: Of each channel, on the scale 0..1.
        std: Of each channel, on the scale 0..1.
        device: Where to compute.
        size: Height and width that they get, whatever theirs are, in place of the factor.

    Returns:
        (N, K, h, w) float32 on the device, N = 1 for one image.
    """
    copied = None if image.flags.writeable else True  # a pack is not, and torch wants it
    pixels = send(np.array(image, ndmin=4, copy=copied), device)
    own = (pixels.shape[1], pixels.shape[2])
    view = View(own, size or scaled_size(own, input_scale))
    return view_images(pixels, [view] * len(pixels), view.scaled, mean=mean, std=std)


# Made once: to make a tensor on a GPU from numbers waits for all that it was given before.
@functools.lru_cache(maxsize=16)
def channel_statistics(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> Tensor:
    """Return mean and deviation of each channel on a device, (2, K)."""
    with torch.inference_mode(False):  # evaluation may be first to ask, and training next
        return torch.tensor([mean, std], device=device)


def _draw_offset(fraction: float, room: int) -> int:
    """Place a window at random: inside the image, or around it if the window is larger."""
    return min(room, 0) + int(fraction * (abs(room) + 1))


def _is_whole(view: View, out_size: Size) -> bool:
    return view == View(out_size, out_size)


def _axis(views: Sequence[View], axis: int, length: int) -> Axis:
    """Return what the views show along an axis, 0 for rows."""
    first, size, scaled, is_mirrored = _along(views, axis)
    return Axis.of(length, first, size, scaled, is_mirrored.astype(np.bool_))


def _along(views: Sequence[View], axis: int) -> NDArray[np.int64]:
    """Return first pixel, size, scaled size and whether mirrored of each view, (4, N)."""
    return np.array(
        [
            (v.left if axis else v.top, v.size[axis], v.scaled[axis], v.flip and axis == 1)
            for v in views
        ]
    ).T


def _nearest(
    views: Sequence[View], axis: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the source pixel under each place, (N, length), and what lies inside."""
    first, size, scaled, is_mirrored = _along(views, axis)[..., None]
    step = np.arange(length)
    at = first + np.where(is_mirrored, step[::-1], step)
    inside = (at >= 0) & (at < scaled)
    source = (2 * at + 1) * size // (2 * scaled)  # in whole numbers: the same on every device
    return np.where(inside, source, 0), inside
