"""Batches that are scored: every image of a split once, without anything random.

In: a `Pack` and a split. Out: tensors on the device, images as the network sees them and targets at
the label's own size.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from bench.data.augment import Size, View, scaled_size, to_network
from bench.data.device_views import DeviceViews, count_taps, table_of
from bench.data.kernels import has_kernels
from bench.data.packs.pack import Pack
from bench.data.resample import send
from bench.data.resident import FlatImages, lay_out, resident

T = TypeVar("T")


def eval_batches(
    pack: Pack,
    split: str,
    *,
    input_scale: float,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    batch_size: int,
    batch_pixels: float = math.inf,
    part: tuple[int, int] = (0, 1),
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Yield every image of a split once, without anything random.

    A CPU has them in the order of the split, other devices by size: else a split of ragged sizes
    would be scored image by image.

    Args:
        pack: Decoded images.
        split: Name of the split.
        input_scale: Resize of every image for the network.
        mean: Of each channel, on the scale 0..1.
        std: Of each channel, on the scale 0..1.
        device: Where batches are made.
        batch_size: Most images in one batch; a batch ends where the size changes.
        batch_pixels: Most pixels in one batch, of images or of targets; one image may have more.
        part: Number of this process and of all that take batches in turn.

    Yields:
        The pack's numbers of the N images, images (N, K, h, w) float32 at network size, and
        targets (N, H, W) int64 at the label's own size, or (N, T, H, W) of several targets.

    Raises:
        InputError: The split does not exist.
    """
    indices = pack.indices(split)
    if device.type != "cpu":  # of ragged sizes a group would have one image, or two
        indices = sorted(indices, key=pack.size)
    sized = ((i, pack.size(i)) for i in indices)
    groups = groups_of_one_size(sized, input_scale, batch_size, batch_pixels)
    own = list(islice(groups, part[0], None, part[1]))
    mean, std = pack.scale_statistics(mean, std)
    if own and has_kernels(device):
        yield from _made_on_device(pack, own, input_scale, mean=mean, std=std, device=device)
        return
    for group in own:
        images = np.stack([pack.image(i) for i in group])
        targets = np.stack([pack.target(i) for i in group])
        x = to_network(images, input_scale, mean=mean, std=std, device=device)
        yield group, x, send(targets, device).long()


def _made_on_device(
    pack: Pack,
    groups: list[list[int]],
    input_scale: float,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Yield batches made by kernels, of images that stay on the device where they fit."""
    kept = resident(pack, [i for group in groups for i in group], device)
    ignored = [target.ignore_index for target in pack.targets]

    def views(group: list[int], flat: FlatImages, scale: float) -> DeviceViews:
        own = pack.size(group[0])
        view = View(own, scaled_size(own, scale))
        table = table_of([view] * len(group), [flat.row[i] for i in group])
        taps = count_taps([own], scale)
        return DeviceViews(flat, table, view.scaled, taps=taps, mean=mean, std=std, ignored=ignored)

    for group in groups:
        flat = kept or lay_out(pack, group, device)
        seen = views(group, flat, input_scale)
        if input_scale == 1:
            images, targets = seen.see(0, len(group))
        else:
            images, _ = seen.see(0, len(group), with_targets=False)
            _, targets = views(group, flat, 1).see(0, len(group), with_images=False)
        yield group, images, targets[0] if len(targets) == 1 else targets.transpose(0, 1)


def groups_of_one_size(
    sized: Iterable[tuple[T, Size]], input_scale: float, batch_size: int, batch_pixels: float
) -> Iterator[list[T]]:
    """Yield neighbours of one size together: what is scored, or predicted, at once.

    Args:
        sized: Things with the height and width of their image, each taken when it is needed.
        input_scale: Resize of every image for the network.
        batch_size: Most of them in one group.
        batch_pixels: Most pixels in one group, of the images as they are or as the network sees
            them; one image may have more.
    """
    group: list[T] = []
    size, most = (0, 0), 0
    for thing, own in sized:
        if group and (len(group) == most or own != size):
            yield group
            group = []
        if not group:
            pixels = max(math.prod(own), math.prod(scaled_size(own, input_scale)))
            size, most = own, max(1, int(min(batch_size, batch_pixels // pixels)))
        group.append(thing)
    if group:
        yield group
