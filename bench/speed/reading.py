"""Reading: how many images a minute are checked, packed and taken in, beside decoding alone."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.check import check
from bench.data.intake.intake import Wishes, taken_in
from bench.data.packs.pack import pack
from bench.data.registry import open_dataset
from bench.spec import DataSpec
from bench.speed.image_files import JPEG_QUALITY
from bench.speed.section import Section
from bench.speed.timing import Side, Spread, interleave, speed_ratio

SIZE = (375, 500)
"""Height and width: those of VOC's photographs."""
NUM_IMAGES = 300
NUM_CLASSES = 21
LIMIT = "decoding alone"
NOTE = (
    "Drawn photographs of 500x375 pixels (JPEG) with their masks (PNG), in the system's cache, "
    "over all cores; median and quartiles of passes that take turns. images a minute is by the "
    "clock; core ms, of all processes together, hardly depends on what else the machine does. "
    "decoding alone: both files of each image decoded by Pillow, nothing kept: the limit. data "
    "check: what `fcn-bench data check` does. packing: what `data prepare` does, the pack's files "
    "and checksums included. init: what `fcn-bench init` does, which looks at every file, counts "
    "what the masks hold, then checks all of it, and draws a page: three times the decoding."
)


def reading_section(scratch: Path, rounds: int, num_images: int = NUM_IMAGES) -> Section:
    """Time passes over images in files.

    Args:
        scratch: Folder to write into.
        rounds: Passes of each kind.
        num_images: Images of each pass.
    """
    folder = scratch / "images-and-masks"
    pairs = list(_write(folder, num_images))
    with taken_in(scratch / "mine", _wishes(folder)):
        pass
    dataset = open_dataset(DataSpec(dataset="folder"), scratch / "mine")
    number = count()

    def prepare() -> None:
        packs = scratch / f"packs-{next(number)}"
        pack(dataset, packs)
        shutil.rmtree(packs)

    def take_in() -> None:
        new = scratch / f"new-{next(number)}"
        with taken_in(new, _wishes(folder)):
            pass
        shutil.rmtree(new)

    work: dict[str, Callable[[], object]] = {
        LIMIT: lambda: _decode_all(pairs),
        "data check": lambda: check(dataset),
        "packing": prepare,
        "init": take_in,
    }
    core_seconds: dict[str, list[float]] = {name: [] for name in work}

    def timed(name: str) -> Callable[[], object]:
        def step() -> None:
            before = _core_seconds()
            work[name]()
            core_seconds[name].append(_core_seconds() - before)

        return step

    sides = {name: Side(timed(name), warm_up=0) for name in work}
    seconds = interleave(sides, rounds=rounds, steps=dict.fromkeys(sides, 1))
    records = []
    for name, values in seconds.items():
        record: dict[str, Any] = {"what": name, "images": num_images}
        record["images a minute"] = Spread.of([60 * num_images / value for value in values])
        record["core ms an image"] = Spread.of(core_seconds[name]).scaled(1000 / num_images)
        ratio = None if name == LIMIT else speed_ratio(core_seconds, name, LIMIT)
        records.append(record | {"decoding's share": ratio})
    return Section("reading", "Reading images", NOTE, records)


def _core_seconds() -> float:
    """Return the time that cores have spent on this process and those that it has started."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _wishes(folder: Path) -> Wishes:
    return Wishes(str(folder / "images"), str(folder / "masks"), groups="none")


def _write(folder: Path, number: int) -> Iterator[tuple[Path, Path]]:
    """Write images that compress about as photographs do, with masks of blocks."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for k in range(number):
        rng = np.random.default_rng(k)
        image, mask = folder / "images" / f"{k:05}.jpg", folder / "masks" / f"{k:05}.png"
        Image.fromarray(_photograph(rng)).save(image, quality=JPEG_QUALITY)
        blocks = rng.integers(0, NUM_CLASSES, (6, 8), np.uint8)
        Image.fromarray(blocks).resize(SIZE[::-1], Image.Resampling.NEAREST).save(mask)
        yield image, mask


def _photograph(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw smooth areas under a little noise, (H, W, 3)."""
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    smooth = np.asarray(coarse.resize(SIZE[::-1], Image.Resampling.BICUBIC), dtype=np.int16)
    noise = rng.integers(-6, 7, smooth.shape, dtype=np.int16)
    drawn: NDArray[np.uint8] = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    return drawn


def _decode_all(pairs: list[tuple[Path, Path]]) -> None:
    """Decode files over all cores, by the standard library's pool."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    if cores < 2:
        for pair in pairs:
            _decode(pair)
        return
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        pool.map(_decode, pairs, chunksize=max(1, len(pairs) // (8 * cores)))


def _decode(pair: tuple[Path, Path]) -> None:
    for path in pair:
        with Image.open(path) as image:
            image.load()
