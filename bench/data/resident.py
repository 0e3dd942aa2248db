"""Images on a GPU, end to end: of a whole split where they fit, for as long as their pack lives.

In: a pack and which of its images. Out: flat tensors from which `bench.data.device_views` makes
views, whatever the images' sizes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.packs.pack import Pack
from bench.data.resample import send

DEVICE_SHARE = 0.25
"""Largest share of a GPU's free memory that a split's images may take; the rest is for training."""

PART_BYTES = 2**26
"""Bytes copied at once: each lies in pinned memory, of which there should not be much."""


@dataclass(frozen=True)
class FlatImages:
    """M images on a device, end to end, P pixels in all."""

    pixels: Tensor
    """(P, K) uint8, or int16 of the bits of uint16."""
    labels: Tensor
    """(T, P) uint8, of T targets."""
    places: Tensor
    """First pixel, height and width of each image, (M, 3) int64."""
    row: dict[int, int]
    """Which of them an image of the pack is."""


def num_bytes(pack: Pack, indices: Sequence[int]) -> int:
    """Return what images take with their labels, in bytes."""
    width = np.dtype(pack.pixel_type).itemsize * pack.num_channels + len(pack.targets)
    return width * sum(H * W for H, W in map(pack.size, indices))


def free_bytes(device: torch.device) -> float:
    """Return the memory of a GPU that this process may still take, beside others or alone."""
    index = torch.cuda.current_device() if device.index is None else device.index
    free, total = torch.cuda.mem_get_info(index)
    return min(free, total * torch.cuda.get_per_process_memory_fraction(index))


def fits(pack: Pack, indices: Sequence[int], device: torch.device) -> bool:
    """Say whether images may stay on a GPU."""
    return num_bytes(pack, indices) < DEVICE_SHARE * free_bytes(device)


def lay_out(pack: Pack, indices: Sequence[int], device: torch.device) -> FlatImages:
    """Copy images to a device; nothing waits for it.

    Raises:
        InputError: The bytes of an image are not those that were packed.
    """
    sizes = np.array([pack.size(i) for i in indices], dtype=np.int64)
    areas = sizes.prod(1)
    ends = areas.cumsum()
    num_pixels = int(ends[-1])
    kind = torch.int16 if pack.pixel_type == np.uint16 else torch.uint8
    pixels = torch.empty(num_pixels, pack.num_channels, dtype=kind, device=device)
    labels = torch.empty(len(pack.targets), num_pixels, dtype=torch.uint8, device=device)
    done = 0
    for images, targets in _parts(pack, indices):
        part = slice(done, done + len(images))
        pixels[part] = send(images, device)
        labels[:, part] = send(targets, device)
        done = part.stop
    places = send(np.column_stack([ends - areas, sizes]), device)
    return FlatImages(pixels, labels, places, {int(i): row for row, i in enumerate(indices)})


_kept: "WeakKeyDictionary[Pack, dict[tuple[torch.device, tuple[int, ...]], FlatImages]]" = (
    WeakKeyDictionary()
)


def resident(pack: Pack, indices: Sequence[int], device: torch.device) -> FlatImages | None:
    """Return images that stay on a GPU with their pack; None where they do not fit.

    Whoever asks for the same images again gets what is there.

    Raises:
        InputError: As for `lay_out`.
    """
    kept = _kept.setdefault(pack, {})
    key = (device, tuple(indices))
    if key not in kept:
        if not fits(pack, indices, device):
            return None
        with torch.inference_mode(False):  # evaluation may be first to ask, and training next
            kept[key] = lay_out(pack, indices, device)
    return kept[key]


def _parts(
    pack: Pack, indices: Sequence[int]
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.uint8]]]:
    """Yield pixels (p, K) and labels (T, p) of a few images at a time."""
    images: list[NDArray[np.generic]] = []
    targets: list[NDArray[np.uint8]] = []
    for i in indices:
        images.append(pack.image(i).reshape(-1, pack.num_channels))
        targets.append(pack.target(i).reshape(len(pack.targets), -1))
        if sum(image.nbytes for image in images) >= PART_BYTES:
            yield np.concatenate(images), np.concatenate(targets, axis=1)
            images, targets = [], []
    if images:
        yield np.concatenate(images), np.concatenate(targets, axis=1)
