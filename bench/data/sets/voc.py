"""PASCAL VOC 2011 and 2012, segmentation: 20 classes of things, and background.

Layout, that of the archives and of torchvision's `VOCSegmentation`: `JPEGImages/`,
`SegmentationClass/` with palette PNGs, and `ImageSets/Segmentation/` with `train.txt` and
`val.txt`. Outlines of things, and what is hard to tell, are 255 and void. Sizes differ; the longer
side is 500. Labels of the test sets are not published. Split `seg11valid` is what of VOC 2011's
val the train split of SBD does not have.

Reference: Everingham et al., 2010, doi:10.1007/s11263-009-0275-4; host.robots.ox.ac.uk/pascal/VOC.
"""

from collections.abc import Mapping
from pathlib import Path

from bench.data.dataset import DATASETS
from bench.data.files import find_root, read_lines
from bench.data.layers import Palette
from bench.data.outlines import OUTLINES, Outline
from bench.data.sets.described import VOID, DescribedDataset, describe_values
from bench.data.sets.description import Description
from bench.data.sets.published_lists import read_published

FOLDERS = {
    "voc2011": ("TrainVal/VOCdevkit/VOC2011", "VOCdevkit/VOC2011", "VOC2011"),
    "voc2012": ("VOCdevkit/VOC2012", "VOC2012"),
}
"""Where the archives, and torchvision, put them."""
NEEDED = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")
ARCHIVES = {"voc2011": "VOCtrainval_25-May-2011.tar", "voc2012": "VOCtrainval_11-May-2012.tar"}
SIZE = (375, 500)
"""Of most images."""


@DATASETS.register("voc2011")
def load_voc2011(data_dir: Path | None) -> DescribedDataset:
    """Find VOC 2011 in `data_dir`, or in its folder `TrainVal/VOCdevkit/VOC2011`.

    Raises:
        InputError: The folder or a list is not there.
    """
    return _load("voc2011", data_dir)


@DATASETS.register("voc2012")
def load_voc2012(data_dir: Path | None) -> DescribedDataset:
    """Find VOC 2012 in `data_dir`, or in its folder `VOCdevkit/VOC2012`.

    Raises:
        InputError: The folder or a list is not there.
    """
    return _load("voc2012", data_dir)


@OUTLINES.register("voc2011")
def outline_voc2011() -> Outline:
    """1,112 and 1,111 images."""
    return _outline("voc2011", {"train": 1112, "val": 1111, "seg11valid": 736})


@OUTLINES.register("voc2012")
def outline_voc2012() -> Outline:
    """1,464 and 1,449 images."""
    return _outline("voc2012", {"train": 1464, "val": 1449, "seg11valid": 736})


def _outline(name: str, num_images: Mapping[str, int]) -> Outline:
    return Outline(num_images, len(read_published("voc-classes")), SIZE, fetch_voc(name))


def fetch_voc(name: str) -> str:
    """Say how to get a year's archive."""
    year = name.removeprefix("voc")
    return (
        f"unpack {ARCHIVES[name]} there (from host.robots.ox.ac.uk/pascal/VOC/voc{year}), or have "
        f"torchvision fetch it: torchvision.datasets.VOCSegmentation(DIR, {year!r}, download=True)"
    )


def find_voc(asker: str, name: str, data_dir: Path | None, fetch: str) -> Path:
    """Return the folder of a year.

    Raises:
        InputError: It is not there; the message speaks of dataset `asker`, and how to `fetch` it.
    """
    return find_root(asker, data_dir, FOLDERS[name], NEEDED, fetch)


def read_voc_splits(root: Path) -> dict[str, tuple[str, ...]]:
    """Return train, val and seg11valid, the last as far as it has images here; reads lists.

    Raises:
        InputError: A list cannot be read.
    """
    folder = root / "ImageSets" / "Segmentation"
    splits = {split: tuple(read_lines(folder / f"{split}.txt")) for split in ("train", "val")}
    chosen = set(read_published("seg11valid"))
    found = tuple(name for names in splits.values() for name in names if name in chosen)
    return splits | ({"seg11valid": tuple(sorted(found))} if found else {})


def voc_description() -> Description:
    """Say what VOC's masks hold."""
    names = read_published("voc-classes")
    shown = dict(zip(names, voc_colours(len(names)), strict=True))
    values = {name: [value] for value, name in enumerate(names)}
    return describe_values(values, shown=shown, void=[VOID])


def voc_colours(number: int) -> Palette:
    """Return the first of VOC's colours: bits 0, 1, 2 of a value are the highest of its channels.

    Bits 3, 4, 5 are the next, and so on: `VOClabelcolormap.m` of the development kit.
    """
    rows = []
    for value in range(number):
        channels = [0, 0, 0]
        for place in range(8):
            for channel in range(3):
                bit = value >> (3 * place + channel) & 1
                channels[channel] |= bit << (7 - place)
        rows.append((channels[0], channels[1], channels[2]))
    return tuple(rows)


def _load(name: str, data_dir: Path | None) -> DescribedDataset:
    root = find_voc(name, name, data_dir, fetch_voc(name))
    splits = read_voc_splits(root)
    files = {
        (split, stem): (
            Path("JPEGImages", f"{stem}.jpg"),
            Path("SegmentationClass", f"{stem}.png"),
        )
        for split, stems in splits.items()
        for stem in stems
    }
    return DescribedDataset.of(name, voc_description(), root, splits, files)
