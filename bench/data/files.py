"""Images and masks in files: read unchanged or refused, and datasets made of files.

Every layer stands upright as its own EXIF orientation says; one without the tag counts as upright.
What a file is, its content says (`bench.data.formats`).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from bench.data.bands import read_bands
from bench.data.dataset import Dataset
from bench.data.fetching.published import find_served
from bench.data.formats import MAX_PIXELS as MAX_PIXELS
from bench.data.formats import (
    SUFFIXES,
    exif_orientation,
    is_file,
    opened,
    require_exact,
    require_image,
    stretch_of,
)
from bench.data.layers import Input, Target
from bench.data.problems import join_problems
from bench.store.atomic import file_digest
from fcn.errors import InputError


@dataclass(frozen=True)
class FileDataset(Dataset):
    """A dataset of image and label files below one folder."""

    root: Path
    """Folder that holds everything; no part of the fingerprint."""
    files: dict[tuple[str, str], tuple[Path, Path]]
    """Image and label file, relative to `root`, by (split, name)."""

    more_files: dict[str, dict[tuple[str, str], Path]] = field(default_factory=dict, kw_only=True)
    """By name of a further input or mask: its file, relative to `root`, by (split, name)."""
    upright: bool = field(default=True, kw_only=True)
    """Turn image and first mask as their EXIF orientations say; else both are taken as stored."""

    def read(self, split: str, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the image (H, W, 3) and target (H, W) of an image; reads disk."""
        image, mask = (self._find(path) for path in self.files[split, name])
        return self.read_colours(image), self.read_labels(mask, self.target_name)

    def read_colours(self, path: Path) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) of a file."""
        return read_image(path, upright=self.upright)

    def read_input(self, split: str, name: str, wanted: Input) -> NDArray[np.uint8]:
        """Return a further input (H, W, channels) of an image; reads disk."""
        return read_input(self._find(self.more_files[wanted.name][split, name]), wanted)

    def read_target(self, split: str, name: str, wanted: Target) -> NDArray[np.uint8]:
        """Return a further mask (H, W) of an image; reads disk."""
        path = self._find(self.more_files[wanted.name][split, name])
        return self.read_labels(path, wanted.name)

    def read_labels(self, path: Path, target: str) -> NDArray[np.uint8]:
        """Return the mask (H, W) of a file; formats other than images come in here."""
        return read_mask(path)

    def describe(self, split: str, name: str) -> str:
        """Name an image by its image and label file."""
        image, mask = self.files[split, name]
        return f"{self.root / image} with {self.root / mask} (split {split!r})"

    def is_turned(self, split: str, name: str) -> bool:
        """Return whether the EXIF orientation of one of its files swaps height and width."""
        key = (split, name)
        paths = [*self.files[key], *(files[key] for files in self.more_files.values())]
        images = [self.root / path for path in paths if path.suffix.lower() in SUFFIXES]
        return self.upright and any(exif_orientation(p) >= 5 for p in images if is_file(p))

    def content(self) -> list[object]:
        """Return the digest of every file by its path below the folder; reads disk."""
        layers = {
            (split, name): [*pair, *(files[split, name] for files in self.more_files.values())]
            for (split, name), pair in self.files.items()
        }
        paths = sorted({path for row in layers.values() for path in row})
        missing = [self._missing(path) for path in paths if not is_file(self.root / path)]
        if missing:
            raise InputError(join_problems(missing))
        digests = {path: file_digest(self.root / path) for path in paths}
        return [
            [
                *key,
                *(self.label(path) for path in row),
                *(digests[path] for path in row),
                *self._turned(key),
            ]
            for key, row in sorted(layers.items())
        ]

    def label(self, path: Path) -> str:
        """Return what stands for a file's place in the fingerprint."""
        return path.as_posix()

    def _turned(self, key: tuple[str, str]) -> list[object]:
        """Return the orientations of masks and grey inputs, if any has one.

        Earlier versions turned images and TIFFs alone: what is read otherwise now has another
        fingerprint.
        """
        own = [one for one in self.more_inputs if one.name in self.more_files]
        grey = [one.name for one in own if one.channels == 1]
        names = [*grey, *(target.name for target in self.more_targets)]
        paths = [self.files[key][1], *(self.more_files[name][key] for name in names)]
        suffixes = SUFFIXES - {".tif", ".tiff"}
        images = [self.root / path for path in paths if path.suffix.lower() in suffixes]
        found = [exif_orientation(path) for path in images]
        return [found] if any(orientation > 1 for orientation in found) else []

    def _find(self, path: Path) -> Path:
        """Return the place of a file; InputError if it is not there."""
        if not is_file(self.root / path):
            raise InputError(self._missing(path))
        return self.root / path

    def _missing(self, path: Path) -> str:
        return f"{self.root / path} is missing; restore it, or take it off the list of its split"


def read_image(path: Path, *, upright: bool = True, drop_alpha: bool = False) -> NDArray[np.uint8]:
    """Read an image of any 8-bit format, (H, W, 3) uint8.

    Args:
        path: The file.
        upright: Turn it as its EXIF tag says.
        drop_alpha: Take the colours of transparent pixels as they are stored; else such an image
            is refused.

    Raises:
        InputError: It is missing, damaged, too large, of more than 8 bits or further bands, one of
            several in its file, or transparent.
    """
    with opened(path) as image:
        require_image(image, path)
        turned = ImageOps.exif_transpose(image) if upright else image
        if "A" in turned.getbands() or "transparency" in turned.info:
            rgba = np.asarray(turned.convert("RGBA"))
            if rgba[..., 3].min() < 255 and not drop_alpha:
                raise InputError(f"{path} has transparent pixels; save it without transparency")
            return rgba[..., :3].copy()
        return np.array(turned.convert("RGB"), dtype=np.uint8)


def read_input(path: Path, wanted: Input) -> NDArray[np.uint8]:
    """Read a file of an input, (H, W, channels) uint8; uint16 for an input with a `value_range`.

    Other files of 16 bits, such as depth, become 8 by the logarithm of their values.

    Raises:
        InputError: It is missing or damaged, or not what the input is.
    """
    if wanted.value_range:
        return np.asarray(require_bands(read_bands(path), wanted, path))
    if wanted.channels == 3:
        return read_image(path)
    if wanted.channels != 1:
        raise InputError(f"input {wanted.name!r} has {wanted.channels} channels; files have 1 or 3")
    with opened(path) as image:
        deep = image.mode == "I" or image.mode.startswith("I;16")
        if deep == (wanted.log_range is None) or not (deep or image.mode in ("L", "P")):
            bits = "8" if wanted.log_range is None else "16"
            raise InputError(
                f"{path} has mode {image.mode}; input {wanted.name!r} is grey of {bits} bits: save "
                "it as such a PNG"
            )
        require_exact(image, path, "depth") if deep else require_image(image, path)
        upright = ImageOps.exif_transpose(image)
        values = np.array(upright if image.mode != "P" else upright.convert("RGB"))
    if values.ndim == 3:
        if not _is_grey(values):
            raise InputError(
                f"{path} has a palette of colours, not of greys; save it as a grey PNG"
            )
        values = values[..., 0]  # what a palette shows: its indices are in no order
    if wanted.log_range is None:
        return values.astype(np.uint8)[..., None]
    return encode_log(values, wanted.log_range, path)[..., None]


def require_bands(bands: NDArray[np.uint16], wanted: Input, path: Path) -> Any:
    """Return bands that are as many as an input has.

    Raises:
        InputError: They are not.
    """
    if bands.shape[2] != wanted.channels:
        raise InputError(
            f"{path} has {bands.shape[2]} bands, and input {wanted.name!r} {wanted.channels}; give "
            "all images the same bands"
        )
    return bands


def image_mode(path: Path) -> str:
    """Return Pillow's name of an image's kind: L, RGB, I;16; a palette is what it shows, L or RGB.

    Raises:
        InputError: It cannot be read.
    """
    with opened(path) as image:
        if image.mode != "P":
            return str(image.mode)
        return "L" if _is_grey(np.asarray(image.convert("RGB"))) else "RGB"


def _is_grey(colours: NDArray[np.uint8]) -> bool:
    return bool((colours == colours[..., :1]).all())


def encode_log(
    values: NDArray[np.integer], log_range: tuple[float, float], path: Path
) -> NDArray[np.uint8]:
    """Turn positive values into 0..255 by their logarithm; those beyond the range are its ends.

    Raises:
        InputError: A value is 0: a hole, whose depth is not known.
    """
    if values.min() <= 0:
        raise InputError(
            f"{path} has {int((values <= 0).sum())} pixels of 0, where nothing was measured; fill "
            "such holes, as the published depth maps have them filled"
        )
    low, high = np.log(log_range)
    scaled = 255 * (np.log(values.astype(np.float64)) - low) / (high - low)
    return np.asarray(np.clip(np.rint(scaled), 0, 255), dtype=np.uint8)


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read a mask of class indices, grey or palette, upright as its EXIF tag says; (H, W) uint8.

    Raises:
        InputError: It is missing, damaged or too large, one of several in its file, holds something
            else than indices, or is of a format that would not give them as they were written.
    """
    with opened(path) as mask:
        require_exact(mask, path, "masks")
        if mask.mode not in ("1", "L", "P"):
            kind = "colours" if len(mask.getbands()) > 1 else "more than 8 bits per pixel"
            raise InputError(
                f"{path} holds {kind} (mode {mask.mode}), not class indices; `fcn-bench init NAME "
                "--images DIR --masks DIR` writes a classes.yaml that says which value or colour "
                "is which class; or save it as an 8-bit grey or palette PNG of class indices"
            )
        require_image(mask, path)
        indices = np.array(ImageOps.exif_transpose(mask), dtype=np.uint8)
        return indices // np.uint8(stretch_of(mask, path))


def find_root(
    name: str,
    data_dir: Path | None,
    folders: tuple[str, ...],
    needed: tuple[str, ...],
    fetch: str = "",
) -> Path:
    """Find a dataset in the folder given, or in one of its usual folders there.

    Args:
        name: The dataset.
        data_dir: Folder given by the user, if any.
        folders: Names of its usual folders.
        needed: Folders that it has.
        fetch: How to get it.

    Raises:
        InputError: It is in none of them.
    """
    if served := find_served(folders):
        command = f"`fcn-bench data fetch {served} --data {data_dir or 'DIR'}`"
        fetch = f"{fetch}; or {command} brings it" if fetch else f"{command} brings it"
    holds, how = " and ".join(f"{part}/" for part in needed), fetch and f": {fetch}"
    if data_dir is None:
        raise InputError(
            f"dataset {name!r} needs its folder: give --data DIR, which holds {holds}{how}"
        )
    places = [data_dir, *(data_dir / folder for folder in folders)]
    for place in places:
        if all((place / part).is_dir() for part in needed):
            return place
    raise InputError(
        f"dataset {name!r} is not in {data_dir}: expected {holds} there, or in {places[1]}; give "
        f"the folder that holds them with --data DIR{how}"
    )


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and below, sorted, through links to folders too; reads disk.

    Passed over are folders that cannot be listed, or that a link leads back up to.
    """
    return list(_walk(folder, frozenset()))


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        return
    paths: list[Path] = []
    with suppress(PermissionError, FileNotFoundError):
        paths = sorted(folder.iterdir())
    for path in paths:
        if is_file(path):
            yield path
        elif path.is_dir():
            yield from _walk(path, above | {here})


def read_lines(path: Path) -> list[str]:
    """Read a text file's lines, without those that are blank.

    Raises:
        InputError: It is missing or not UTF-8 text.
    """
    try:
        # Windows editors write a BOM; `splitlines` would cut at marks that names may hold.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if any("\0" in line for line in lines):  # as UTF-16 has after each letter
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8")
    return [line.strip() for line in lines if line.strip()]
