"""A dataset decoded once: flat uint8 files that all runs map into memory, and an index.

In: a `Dataset`. Out: `Pack`, read only, in `<packs_dir>/<first 16 of the fingerprint>/` with
`images.bin` (H, W, 3 of each image), `targets.bin` (H, W of each) and `index.json`; further
inputs and targets, where a dataset has them, in `input-NAME.bin` and `target-NAME.bin`.
A pack appears by one rename: whoever sees it sees all of it.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bench.data.check import check
from bench.data.cores import Progress
from bench.data.dataset import Dataset
from bench.data.findings import DataReport
from bench.data.layers import (
    COLOUR,
    Input,
    Palette,
    Target,
    choose_inputs,
    choose_targets,
    network_options,
    scale_statistics,
)
from bench.data.packs.groups import keep_groups, read_groups
from bench.data.packs.index import damaged, read_index
from bench.data.packs.packing import file_names, keep_in_use, publish, scratch_beside, write_pack
from bench.spec import DataSpec
from bench.store.atomic import file_digest
from fcn.errors import InputError

__all__ = ["DataReport", "Pack", "check", "open_pack", "pack"]


Pixels = NDArray[np.uint8] | NDArray[np.uint16]
"""Channels of 8 bits, or of 16 where an input has a `value_range`."""


PixelType = type[np.uint8] | type[np.uint16]


@dataclass(frozen=True)
class _Layer:
    """One file of a pack."""

    number: int
    """Place of its checksum in an entry's."""
    pixels: Pixels
    channels: int
    checked: set[int] = field(default_factory=set)
    """Images whose bytes this process has looked at: a disk may change one without a word."""


class Pack:
    """Decoded images of one dataset, numbered from 0 over all splits.

    Args:
        folder: What `pack` wrote.

    Raises:
        InputError: The folder is not whole.
    """

    def __init__(self, folder: Path) -> None:
        index = read_index(folder)
        self.folder = folder
        self.fingerprint = index.fingerprint
        self._entries = index.entries
        num_pixels, first = index.num_pixels, index.first_target
        more_inputs, more_targets = index.inputs, index.targets
        self.splits = tuple(dict.fromkeys(entry.split for entry in self._entries))
        self.available_inputs = (COLOUR, *more_inputs)
        self.available_targets = (first, *more_targets)
        kinds: list[tuple[int, PixelType]] = [(3, np.uint8), (1, np.uint8)]
        kinds += [(one.channels, np.uint16 if one.value_range else np.uint8) for one in more_inputs]
        kinds += [(1, np.uint8)] * len(more_targets)
        layers = [
            _Layer(number, _map(folder / name, count * num_pixels, kind), count)
            for number, (name, (count, kind)) in enumerate(
                zip(file_names(more_inputs, more_targets), kinds, strict=True)
            )
        ]
        inputs, targets = layers[2 : 2 + len(more_inputs)], layers[2 + len(more_inputs) :]
        self._inputs = dict(
            zip((i.name for i in self.available_inputs), (layers[0], *inputs), strict=True)
        )
        self._targets = dict(
            zip((t.name for t in self.available_targets), (layers[1], *targets), strict=True)
        )
        self._limit: int | None = None
        self._only: dict[str, list[int]] = {}
        self._hidden: tuple[tuple[NDArray[np.bool_], Pixels], ...] = ()
        self.inputs: tuple[Input, ...] = (COLOUR,)
        """What `image` gives, side by side."""
        self.targets: tuple[Target, ...] = (first,)
        """What `target` gives."""

    def __len__(self) -> int:
        return len(self._entries)

    def choose(self, inputs: Sequence[str], targets: Sequence[str]) -> "Pack":
        """Return the same pack, of which `image` and `target` give what is named.

        Args:
            inputs: Names of inputs, at least one.
            targets: Names of targets; none for the dataset's first.

        Raises:
            InputError: The dataset has no such input or target.
        """
        chosen = copy.copy(self)
        chosen.inputs = choose_inputs(self.available_inputs, inputs)
        chosen.targets = choose_targets(self.available_targets, targets)
        return chosen

    def seen_by(self, data: DataSpec) -> "Pack":
        """Return the same pack as a run sees it: its inputs and targets, its share of each split.

        Raises:
            InputError: The dataset has no such input or target.
        """
        return self.choose(data.inputs, data.targets).limited(data.limit_images)

    def limited(self, number: int | None) -> "Pack":
        """Return the same pack with so many images of each split at most; None for all."""
        chosen = copy.copy(self)
        chosen._limit = number
        return chosen

    def only(self, split: str, indices: Sequence[int]) -> "Pack":
        """Return the same pack, of one of whose splits there are these images alone.

        Args:
            split: Name of the split.
            indices: Their numbers, in order.
        """
        chosen = copy.copy(self)
        chosen._only = {**self._only, split: list(indices)}
        return chosen

    def hiding(self, hidden: NDArray[np.bool_], colour: Pixels) -> "Pack":
        """Return the same pack, whose images have a colour where the first target has some labels.

        What is hidden already stays so.

        Args:
            hidden: Whether a label is hidden, (256,).
            colour: What is shown there, (num_channels,), of `pixel_type`.
        """
        chosen = copy.copy(self)
        chosen._hidden = (*self._hidden, (hidden, colour))
        return chosen

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of the first target chosen."""
        return self.targets[0].class_names

    @property
    def palette(self) -> Palette:
        """Display colours of those classes."""
        return self.targets[0].palette

    @property
    def ignore_index(self) -> int:
        """Label of pixels that do not count in that map."""
        return self.targets[0].ignore_index

    @property
    def num_classes(self) -> int:
        """Number of its classes C."""
        return len(self.class_names)

    @property
    def num_channels(self) -> int:
        """Channels of the inputs chosen, together."""
        return sum(one.channels for one in self.inputs)

    @property
    def pixel_type(self) -> PixelType:
        """What `image` gives: 16 bits if one of the inputs chosen has them."""
        return np.uint16 if any(one.value_range for one in self.inputs) else np.uint8

    def scale_statistics(
        self, mean: Sequence[float], std: Sequence[float]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return statistics on the scale 0..1 as they are to be applied to `image` over 255."""
        return scale_statistics(self.inputs, mean, std)

    def network_options(self) -> dict[str, Any]:
        """Return how `fcn.create_model` builds a network for what is chosen."""
        return network_options(self.inputs, [len(one.class_names) for one in self.targets])

    def indices(self, split: str) -> list[int]:
        """Return the numbers of a split's images, in the dataset's order; of a trial, some of them.

        These are evenly spaced: neighbours, as of one clip, would say less.

        Raises:
            InputError: There is no such split, or it is empty.
        """
        if split in self._only:
            return list(self._only[split])
        found = [i for i, entry in enumerate(self._entries) if entry.split == split]
        if not found:
            known = ", ".join(self.splits)
            raise InputError(f"the dataset has no split {split!r}; it has {known}")
        number = min(len(found), self._limit or len(found))
        return [found[i * len(found) // number] for i in range(number)]

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return an image, (H, W, num_channels) of `pixel_type`; one input is a read-only view.

        Raises:
            InputError: Its bytes are not those that were packed. This is looked at once.
        """
        parts: list[Any] = [self._cut(self._inputs[one.name], index) for one in self.inputs]
        image = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
        if not self._hidden:
            return image
        labels = self._cut(self._targets[self.targets[0].name], index)
        for hidden, colour in self._hidden:
            image = np.where(hidden[labels], colour, image)
        return image

    def target(self, index: int) -> NDArray[np.uint8]:
        """Return a target, (H, W) uint8, a read-only view; or several, (T, H, W).

        Raises:
            InputError: As for `image`.
        """
        parts: list[Any] = [self._cut(self._targets[t.name], index)[..., 0] for t in self.targets]
        return parts[0] if len(parts) == 1 else np.stack(parts)

    def _cut(self, layer: "_Layer", index: int) -> Pixels:
        at = self._entries[index]
        stop = at.offset + at.height * at.width
        pixels = layer.pixels[layer.channels * at.offset : layer.channels * stop]
        if at.checksums and index not in layer.checked:
            if crc32(pixels.data) != at.checksums[layer.number]:
                where = f"{at.name} of {at.split} is not what was packed"
                raise InputError(f"{where}: {damaged(self.folder, 'its checksum is another')}")
            layer.checked.add(index)
        return pixels.reshape(at.height, at.width, layer.channels)

    def name(self, index: int) -> str:
        """Return an image's name, unique in its split."""
        return self._entries[index].name

    def groups(self, split: str) -> list[str]:
        """Return what each image of a split belongs to, such as its clip; none if not known.

        Raises:
            InputError: The file that says it is damaged.
        """
        known = read_groups(self.folder).get(split, {})
        names = [self.name(index) for index in self.indices(split)]
        return [known[name] for name in names] if all(name in known for name in names) else []

    def size(self, index: int) -> tuple[int, int]:
        """Return an image's height and width in pixels."""
        return self._entries[index].height, self._entries[index].width

    def checksum(self, index: int) -> int:
        """Return the CRC-32 of an image's bytes; of older packs, which have none, it is taken."""
        sums = self._entries[index].checksums
        return sums[0] if sums else crc32(self._cut(self._inputs[COLOUR.name], index).data)

    def image_class_counts(self, split: str, target: str | None = None) -> NDArray[np.int64]:
        """Return the pixels of each class in each image of a split, (N, C), int64.

        Args:
            split: Name of the split.
            target: Name of a target; None for the first chosen.
        """
        name = target or self.targets[0].name
        entries = [self._entries[i] for i in self.indices(split)]
        first = self.available_targets[0].name
        rows = [e.class_counts if name == first else e.more_counts[name] for e in entries]
        return np.array(rows, dtype=np.int64)

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """Return the pixels of each class in a split, (C,), int64."""
        return np.asarray(self.image_class_counts(split).sum(0), dtype=np.int64)


def open_pack(packs_dir: Path, fingerprint: str) -> Pack:
    """Open the pack of a fingerprint.

    Raises:
        InputError: It is not there, not whole, or another dataset's.
    """
    folder = packs_dir / fingerprint[:16]
    opened = Pack(folder)
    if opened.fingerprint != fingerprint:
        raise InputError(damaged(folder, f"it holds dataset {opened.fingerprint[:16]}"))
    return opened


def find_damage(folder: Path) -> Iterator[tuple[Path, str]]:
    """Read a pack again and yield each file that is not what was written, and why.

    Packs of earlier versions have no digests: of these only the sizes are checked.
    """
    try:
        Pack(folder)
        digests = read_index(folder).digests
    except InputError as error:
        yield folder, str(error)
        return
    for name, digest in digests.items():
        if file_digest(folder / name) != digest:
            yield folder / name, damaged(folder, "its content is not what was packed")


def as_reported(whole: Pack, targets: Sequence[str]) -> Pack:
    """Return a pack that gives the image and the target by which runs are compared.

    Args:
        whole: The pack.
        targets: `data.targets` of the runs.
    """
    return whole.choose((COLOUR.name,), targets[:1]) if targets else whole


def pack(dataset: Dataset, packs_dir: Path, progress: Progress | None = None) -> Pack:
    """Check a dataset and write its pack, unless it is there already; reads and writes disk.

    Args:
        dataset: What to pack.
        packs_dir: Where packs are.
        progress: Called with the number of images read, and of all.

    Raises:
        InputError: Images cannot be used, of each kind three are named; or they changed
            while they were read.
    """
    fingerprint = dataset.fingerprint()
    folder = packs_dir / fingerprint[:16]
    if not folder.exists():
        with scratch_beside(folder) as scratch:
            write_pack(dataset, fingerprint, scratch, progress)
            now = dataset.fingerprint()
            if now != fingerprint:
                raise InputError(
                    f"files of dataset {dataset.name!r} changed while they were read (fingerprint "
                    f"{fingerprint[:16]} before, {now[:16]} after), so nothing was kept; give the "
                    "command again when nothing writes there"
                )
            publish(scratch, folder)
    keep_in_use(folder)  # until the runs that name it are written
    keep_groups(folder, dataset)
    return open_pack(packs_dir, fingerprint)


def _map(path: Path, num_values: int, kind: PixelType) -> Pixels:
    num_bytes = num_values * np.dtype(kind).itemsize
    if not path.is_file() or path.stat().st_size != num_bytes or num_bytes == 0:
        raise InputError(damaged(path.parent, f"{path.name} is missing or cut"))
    return np.asarray(np.memmap(path, dtype=kind, mode="r"))
