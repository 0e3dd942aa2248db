"""Batches: which images, in which view, as a function of (seed, batch number) alone.

In: a `Pack` and the settings of training. Out: tensors on the device. Batch k can be drawn without
batch k-1, which is what lets a killed run go on with the same bits.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.augment import (
    NUM_DRAWN,
    Size,
    View,
    choose_view,
    inside_views,
    view_images,
    view_targets,
)
from bench.data.augmentations import Augmentation, Views
from bench.data.device_views import DeviceViews, count_taps, table_of
from bench.data.kernels import has_kernels
from bench.data.packs.pack import Pack
from bench.data.resample import Images, send
from bench.data.resident import FlatImages, fits, lay_out, resident
from bench.data.streams import draw_uniform
from bench.spec import TrainSpec
from fcn.errors import InputError

ORDER, VIEWS, CELLS, AUGMENT, BALANCE = 0, 1, 2, 3, 4
"""Streams of random numbers; apart, so that order, views and the rest have nothing in common."""

BATCHES_AT_ONCE, PIXELS_AT_ONCE = 8, 2**19
"""Most that a CPU makes at once."""

VIEWS_AHEAD = 512
"""Views drawn at once for a GPU, which then makes them batch by batch: what each place of them
reads is a few megabytes, for which the launching thread has to be there once in many batches."""


class _Drawn(NamedTuple):
    """What is in some batches, view by view."""

    chosen: list[int]
    """The pack's number of the image."""
    views: list[View]
    places: list[tuple[int, int]]
    """Number of the batch, and place in it."""

    def part(self, first: int, number: int) -> "_Drawn":
        part = slice(first, first + number)
        return _Drawn(self.chosen[part], self.views[part], self.places[part])


class Batches:
    """Training batches of one split.

    Args:
        pack: Decoded images.
        train: Takes `split`, `batch_size`, `sampler`, `crop`, `scale`, `flip`, `augment` and
            `loss_sampling` from it.
        input_scale: Resize of every image for the network.
        seed: The run's seed.
        mean: Of each channel, on the scale 0..1.
        std: Of each channel, on the scale 0..1.
        device: Where batches are made.
        part: Number of this process and of all that share each batch.
        cell: Side of the cells of which `train.loss_sampling` draws, in pixels.

    Raises:
        InputError: The split does not exist, images of a batch would differ in size, or there are
            fewer of them than processes.
    """

    def __init__(
        self,
        pack: Pack,
        train: TrainSpec,
        *,
        input_scale: float,
        seed: int,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        part: tuple[int, int] = (0, 1),
        cell: int = 32,
    ) -> None:
        self._cell = cell
        self._pack = pack
        self._train = train
        self._input_scale = input_scale
        self._seed = seed
        self._statistics = dict(zip(("mean", "std"), pack.scale_statistics(mean, std), strict=True))
        self._indices = np.array(pack.indices(train.split))
        require_equal_sizes(pack, train)
        require_shards(train, part[1])
        self._share = shard_of(train.batch_size, *part)
        self._ignored = [target.ignore_index for target in pack.targets]
        self._augmentation = (
            Augmentation(train.augment, mean, std, self._ignored, pack.inputs[0])
            if train.augment
            else None
        )
        self._device = device
        self._sizes = {pack.size(i) for i in pack.indices(train.split)}
        self._flat: FlatImages | None = None
        self._images: _Images | None = None
        if has_kernels(device):
            self._flat = resident(pack, pack.indices(train.split), device)
            self._taps = count_taps(self._sizes, input_scale * train.scale[0])
        else:
            self._images = _Images(pack, self._indices, device)
        self._at_once = self._choose_at_once()
        self._next = 0
        self._coming: Iterator[tuple[Tensor, Tensor]] = iter(())
        # A batch may lie in two epochs; drawing an order takes long where images are many.
        self._order = lru_cache(maxsize=2)(self._draw_order)
        self._showing = _images_by_class(pack, train.split) if train.sampler == "balanced" else []

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Return this process's share of batch number `index`.

        Images are (N, K, h, w) float32, K the channels of all inputs; targets (N, h, w) int64, or
        (N, T, h, w) of several targets.
        """
        made = next(self._coming, None) if index == self._next else None
        if made is None:
            self._coming = self._make(range(index, index + self._at_once))
            made = next(self._coming)
        self._next = index + 1
        return made

    def _make(self, numbers: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw several batches at once, and make them: at once too on a CPU."""
        drawn = self._draw(numbers)
        out_size = self._train.crop or drawn.views[0].scaled
        size = len(self._share)
        starts = range(0, len(drawn.chosen), size)
        if self._images is None:
            views = self._prepare(drawn, out_size)
            for k in starts:
                images, targets = views.see(k, size)
                yield self._finish(images, list(targets), drawn.part(k, size), out_size)
            return
        # All together: what they need is then in the processor's caches.
        images, seen = self._see(self._images, drawn, out_size)
        images, whole = self._finish(images, seen, drawn, out_size)
        for k in starts:
            yield images[k : k + size], whole[k : k + size]

    def _draw(self, numbers: range) -> _Drawn:
        """Draw what is in some batches."""
        places = [(index, k) for index in numbers for k in self._share]
        images = {index: self.image_indices(index) for index in numbers}
        chosen = [images[index][k] for index, k in places]
        random = draw_uniform([(self._seed, VIEWS, *place) for place in places], NUM_DRAWN)
        views = [
            choose_view(one, self._pack.size(i), self._train, self._input_scale)
            for one, i in zip(random, chosen, strict=True)
        ]
        return _Drawn(chosen, views, places)

    def _see(self, source: "_Images", drawn: _Drawn, out_size: Size) -> tuple[Tensor, list[Tensor]]:
        """Make views without kernels; return images, and of each target the targets."""
        arrays, maps = source.take(drawn.chosen)
        images = view_images(arrays, drawn.views, out_size, **self._statistics)
        return images, [
            view_targets(labels, drawn.views, out_size, ignore_index=ignored)
            for labels, ignored in zip(maps, self._ignored, strict=True)
        ]

    def _prepare(self, drawn: _Drawn, out_size: Size) -> DeviceViews:
        """Have a device find what the views of some batches read."""
        flat = self._flat or lay_out(self._pack, list(dict.fromkeys(drawn.chosen)), self._device)
        table = table_of(drawn.views, [flat.row[i] for i in drawn.chosen])
        return DeviceViews(
            flat, table, out_size, taps=self._taps, ignored=self._ignored, **self._statistics
        )

    def _finish(
        self, images: Tensor, seen: list[Tensor], drawn: _Drawn, out_size: Size
    ) -> tuple[Tensor, Tensor]:
        """Do with views what the settings ask for beside them; put several targets together."""
        if self._augmentation is not None:
            inside = send(inside_views(drawn.views, out_size), images.device)
            seeds = [_draw_seed(self._seed, AUGMENT, *one) for one in drawn.places]
            images, seen = self._augmentation(Views(images, seen, inside), seeds)
        if self._train.loss_sampling < 1:
            counts = send(self._draw_cells(drawn.places, out_size), images.device)
            seen = [s.where(counts, label) for s, label in zip(seen, self._ignored, strict=True)]
        return images, seen[0] if len(seen) == 1 else torch.stack(seen, dim=1)

    def _choose_at_once(self) -> int:
        """Return how many batches to draw at once."""
        size = len(self._share)
        if self._images is not None:
            return _batches_at_once(self._train, size, self._device)
        is_ready = self._flat is not None and has_one_shape(self._pack, self._train)
        return max(1, VIEWS_AHEAD // size) if is_ready else 1

    def image_indices(self, index: int) -> list[int]:
        """Return the pack's numbers of the images of a batch; every epoch has each once.

        With `train.sampler` balanced, each is drawn from those that show a class, all classes
        alike.
        """
        num_images, batch_size = len(self._indices), self._train.batch_size
        samples = range(index * batch_size, (index + 1) * batch_size)
        if self._showing:
            return [self._draw_balanced(j) for j in samples]
        orders = {epoch: self._order(epoch) for epoch in {j // num_images for j in samples}}
        return [int(orders[j // num_images][j % num_images]) for j in samples]

    def _draw_cells(self, drawn: Sequence[tuple[int, int]], size: Size) -> NDArray[np.bool_]:
        """Draw the pixels that count in the loss, (N, h, w), cell by cell, for each image."""
        rows, columns = (-(-side // self._cell) for side in size)
        cells = [
            np.random.default_rng([self._seed, CELLS, *one]).random((rows, columns))
            < self._train.loss_sampling
            for one in drawn
        ]
        pixels = np.stack(cells).repeat(self._cell, 1).repeat(self._cell, 2)
        return np.ascontiguousarray(pixels[:, : size[0], : size[1]])

    def _draw_balanced(self, sample: int) -> int:
        rng = np.random.default_rng([self._seed, BALANCE, sample])
        return int(rng.choice(self._showing[rng.integers(len(self._showing))]))

    def _draw_order(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, ORDER, epoch])
        return rng.permutation(self._indices)


def _images_by_class(pack: Pack, split: str) -> list[NDArray[np.int64]]:
    """Return, for each class that a split shows, the pack's numbers of the images that show it.

    Of several targets, by the classes of the first.

    Raises:
        InputError: The split shows no class.
    """
    counts = pack.image_class_counts(split, pack.targets[0].name)
    indices = np.array(pack.indices(split))
    showing = [indices[counts[:, c] > 0] for c in range(counts.shape[1])]
    found = [images for images in showing if len(images)]
    if not found:
        raise InputError(f"train.sampler balanced: no image of split {split!r} shows a class")
    return found


def _draw_seed(*entropy: int) -> int:
    """Draw a seed for torch, which takes 64 bits, from as many numbers as there are."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


def _batches_at_once(train: TrainSpec, batch_size: int, device: torch.device) -> int:
    """Return how many batches to make at once: several if they are small and a CPU makes them."""
    if device.type != "cpu" or train.crop is None:
        return 1
    fitting = PIXELS_AT_ONCE // (batch_size * math.prod(train.crop))
    return min(max(1, fitting), BATCHES_AT_ONCE)


def shard_of(count: int, rank: int, size: int) -> range:
    """Return which of `count` things the process `rank` of `size` takes: neighbours, about equal.

    The shares of all processes are each thing once, in order.
    """
    return range(rank * count // size, (rank + 1) * count // size)


def require_shards(train: TrainSpec, num_processes: int) -> None:
    """See that each process has an image of every batch.

    Raises:
        InputError: There are more processes than images.
    """
    if train.batch_size < num_processes:
        raise InputError(
            f"train.batch_size {train.batch_size} cannot be shared among {num_processes} devices; "
            f"give --devices-per-run at most {train.batch_size}"
        )


def has_one_shape(pack: Pack, train: TrainSpec) -> bool:
    """Say whether all batches have one shape."""
    if train.crop is not None:
        return True
    sizes = {pack.size(i) for i in pack.indices(train.split)}
    return len(sizes) == 1 and train.scale[0] == train.scale[1]


def require_equal_sizes(pack: Pack, train: TrainSpec) -> None:
    """See that the images of every batch have one size.

    Raises:
        InputError: They differ, and no crop makes them equal.
    """
    if train.crop is not None or train.batch_size == 1:
        return
    advice = "set train.crop to the height and width of training crops"
    if train.scale[0] != train.scale[1]:
        raise InputError(
            f"train.scale {list(train.scale)} gives the images of a batch different sizes; {advice}"
        )
    sizes = sorted({pack.size(i) for i in pack.indices(train.split)})
    if len(sizes) > 1:
        shown = ", ".join(f"{H}x{W}" for H, W in sizes[:4]) + ", ..." * (len(sizes) > 4)
        raise InputError(
            f"images of split {train.split!r} have {len(sizes)} sizes ({shown}); "
            f"{advice}, or train.batch_size to 1"
        )


class _Images:
    """Images of a split where batches are made without kernels: a CPU's are those of the pack.

    A GPU gets uint8 batches padded to the largest image; they stay on it where they fit.
    """

    def __init__(self, pack: Pack, indices: NDArray[np.int64], device: torch.device) -> None:
        self._pack = pack
        self._device = device
        self._row = {int(i): row for row, i in enumerate(indices)}
        self._resident: tuple[Tensor, Tensor] | None = None
        sizes = {pack.size(i) for i in self._row}
        if device.type == "cuda" and len(sizes) == 1 and fits(pack, list(self._row), device):
            self._resident = self._load(list(self._row))

    def take(self, indices: list[int]) -> tuple[Images, list[Images]]:
        """Return the images, each (H, W, K), and of each target the targets, each (H, W)."""
        if self._device.type == "cpu":
            maps = [self._pack.target(i) for i in indices]
            by_target = [maps] if len(self._pack.targets) == 1 else zip(*maps, strict=True)
            return [self._pack.image(i) for i in indices], [list(maps) for maps in by_target]
        if self._resident is None:
            images, targets = self._load(indices)
        else:
            rows = send(np.array([self._row[i] for i in indices]), self._device)
            images, targets = (pixels[rows] for pixels in self._resident)
        return images, list(targets.unbind(1))

    def _load(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Return images (N, H, W, K) and targets (N, T, H, W), padded to the largest."""
        sizes = [self._pack.size(i) for i in indices]
        H, W = _largest(sizes)
        images = np.zeros(
            (len(indices), H, W, self._pack.num_channels), dtype=self._pack.pixel_type
        )
        targets = np.zeros((len(indices), len(self._pack.targets), H, W), dtype=np.uint8)
        for k, (i, (h, w)) in enumerate(zip(indices, sizes, strict=True)):
            images[k, :h, :w] = self._pack.image(i)
            targets[k, :, :h, :w] = self._pack.target(i)
        return send(images, self._device), send(targets, self._device)


def _largest(sizes: list[Size]) -> Size:
    return max(H for H, _ in sizes), max(W for _, W in sizes)
