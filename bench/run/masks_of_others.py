"""Masks that another tool predicted: which file is of which image, and the classes in it.

In: a folder of image files, and the images of a split. Out: the mask's file of each image, and its
pixels as classes of the data set. Tools name masks after images in ways of their own; what all have
before or behind the image's name is found.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.files import read_mask
from bench.data.formats import opened
from bench.data.packs.pack import Pack
from bench.run.images import files_by_stem
from bench.text import number_of
from fcn.errors import InputError

ENDINGS = ("", "-mask", "_mask", "_pred", "_prediction")
"""What may follow an image's name in that of its mask, differing from one to the next."""


def find_masks(folder: Path, names: Sequence[str]) -> list[Path]:
    """Find the mask of each image; reads disk.

    A mask is called as its image, with one of `ENDINGS`, or with whatever all masks have before or
    behind that: `run1/a_out.png`. Folders of an image's name may be missing.

    Raises:
        InputError: Masks are missing, or there are several for an image.
    """
    found = files_by_stem(folder)
    masks = {name: _by_ending(found, name, folder) for name in names}
    if None in masks.values():
        masks = _by_affix(found, names, folder) or masks
    missing = [name for name, path in masks.items() if path is None]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"{folder} has no mask of {', '.join(missing[:3])}{more}, of "
            f"{number_of(len(names), 'image')} in all; masks are called as their images, with one "
            f"and the same text before or behind. {_say_there(folder, found)}"
        )
    return [path for path in masks.values() if path is not None]


def read_prediction(path: Path, pack: Pack, index: int) -> NDArray[np.uint8]:
    """Read a predicted mask as classes, (H, W), and see that it fits its image; reads disk.

    It holds class indices, or the data set's colours.

    Raises:
        InputError: It is of another size, or holds something else.
    """
    with opened(path) as image:
        is_colour = image.mode in ("RGB", "RGBA")
        pred = _by_colour(path, image, pack) if is_colour else None
    pred = read_mask(path) if pred is None else pred
    size = pack.size(index)
    if pred.shape != size:
        raise InputError(
            f"{path} is {pred.shape[1]}x{pred.shape[0]}, its image {size[1]}x{size[0]}; scores are "
            "taken at the label's own size: have the tool write masks of that size"
        )
    labelled = pack.target(index) != pack.ignore_index
    wrong = np.unique(pred[labelled & (pred >= pack.num_classes)])
    if len(wrong):
        raise InputError(
            f"{path} holds {', '.join(map(str, wrong[:5]))} where the label has a class; the "
            f"classes are 0 to {pack.num_classes - 1}, in the order {', '.join(pack.class_names)}"
        )
    return np.where(pred < pack.num_classes, pred, 0).astype(np.uint8)


def _by_ending(found: Mapping[str, list[Path]], name: str, folder: Path) -> Path | None:
    """Return the mask that has an image's name and one of `ENDINGS`; None where there is none."""
    files = [path for ending in ENDINGS for path in found.get(name + ending, ())]
    return _only(files, name, folder) if files else None


def _by_affix(
    found: Mapping[str, list[Path]], names: Sequence[str], folder: Path
) -> dict[str, Path | None]:
    """Return the masks by what all have before and behind their image's name; none if nothing fits.

    Raises:
        InputError: Several texts fit, or one fits several files.
    """
    short = [name.rpartition("/")[2] for name in names]
    for called in (names, short) if len(set(short)) == len(names) else (names,):
        first = called[0]
        texts = {
            (head, tail) for stem in found for head, is_in, tail in _cuts(stem, first) if is_in
        }
        fitting = [text for text in texts if all(f"{text[0]}{c}{text[1]}" in found for c in called)]
        if fitting:
            files = [path for head, tail in fitting for path in found[f"{head}{first}{tail}"]]
            _only(files, names[0], folder)
            ((head, tail),) = fitting
            stems = [f"{head}{one}{tail}" for one in called]
            return {n: _only(found[s], n, folder) for n, s in zip(names, stems, strict=True)}
    return {}


def _cuts(stem: str, name: str) -> list[tuple[str, str, str]]:
    """Return the ways in which a stem is a text, a name, and a text."""
    return [stem.partition(name), stem.rpartition(name)]


def _only(files: Sequence[Path], name: str, folder: Path) -> Path:
    if len(files) > 1:
        listed = ", ".join(str(path.relative_to(folder)) for path in sorted(files)[:3])
        raise InputError(f"{folder} has several masks of image {name}: {listed}; keep one")
    return files[0]


def _say_there(folder: Path, found: Mapping[str, list[Path]]) -> str:
    """Say what lies in a folder, for who wonders why it is not what was wanted."""
    files = [path for paths in found.values() for path in paths]
    if files:
        shown = ", ".join(str(path.relative_to(folder)) for path in files[:3])
        return f"It has {number_of(len(files), 'image file')}, such as {shown}"
    others = sorted({path.suffix for path in folder.rglob("*") if path.is_file()})
    kinds = f", but files that end in {' '.join(others[:5])}" if others else ""
    return f"It has no image files{kinds}; a mask is a PNG of class indices or colours"


def _by_colour(path: Path, image: Image.Image, pack: Pack) -> NDArray[np.uint8]:
    """Read a mask in the data set's display colours, or of indices in three equal channels."""
    colours = np.asarray(image.convert("RGB")).astype(np.int64)
    codes = colours @ np.array([65536, 256, 1])
    known = {(r << 16) + (g << 8) + b: c for c, (r, g, b) in enumerate(pack.palette)}
    found, places = np.unique(codes, return_inverse=True)
    foreign = [code for code in found.tolist() if code not in known]
    if foreign and (colours == colours[..., :1]).all():
        return colours[..., 0].astype(np.uint8)
    if foreign:
        shown = ", ".join(f"#{code:06x}" for code in foreign[:3])
        raise InputError(
            f"{path} holds colours that are no class's ({shown}); save class indices as an 8-bit "
            "grey or palette PNG, or the colours of the data set"
        )
    classes = np.array([known[code] for code in found.tolist()], dtype=np.uint8)
    return classes[places.reshape(codes.shape)]
