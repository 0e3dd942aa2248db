"""What packing a dataset will take on the disk, told before it is done; by a few of its images."""

import shutil
from pathlib import Path

from bench.data.dataset import Dataset
from bench.durations import spell_bytes
from bench.text import number_of
from fcn.errors import InputError

NUM_LOOKED_AT = 4
"""Images, evenly spaced, that stand for all."""

LARGE_BYTES = 2**30
"""Packs below this are written without a word."""


def estimate_bytes(dataset: Dataset) -> float | None:
    """Estimate the bytes of a dataset's pack; None where none of the images looked at can be read.

    Images are decoded, and several files of one image counted with it.
    """
    keys = [(split, name) for split, names in dataset.splits.items() for name in names]
    sizes = []
    number = min(NUM_LOOKED_AT, len(keys))
    for i in range(number):
        try:
            _, target = dataset.read(*keys[i * len(keys) // number])
        except InputError:  # named with all others when the data is checked
            continue
        channels = sum(one.channels for one in dataset.inputs) + len(dataset.targets)
        sizes.append(target.size * channels)
    return len(keys) * sum(sizes) / len(sizes) if sizes else None


def packing_remark(dataset: Dataset, folder: Path) -> str | None:
    """Say what a pack that is not there yet will take; None where that is little."""
    if folder.exists():
        return None
    num_bytes = estimate_bytes(dataset)
    if num_bytes is None or num_bytes < LARGE_BYTES:
        return None
    place = next(parent for parent in folder.resolve().parents if parent.exists())
    free = shutil.disk_usage(place).free
    images = number_of(sum(map(len, dataset.splits.values())), "image")
    text = (
        f"dataset {dataset.name!r} is decoded into {folder}, once for all runs: about "
        f"{spell_bytes(num_bytes)} for {images}, of {spell_bytes(free)} that are free there"
    )
    if num_bytes < free:
        return text
    return f"{text}, which is too little; make room, or give another folder with --runs DIR"
