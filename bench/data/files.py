"""Pictures and labels in files: reading with every surprise refused, and datasets made of files.

Pillow opens lazily, warns about huge pictures instead of refusing them, and stretches 2- and 4-bit
grey values over 0..255. All three would pass silently; here they cannot.
"""

import hashlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench.data.dataset import Dataset
from bench.data.layers import Input, LabelMap
from fcn.errors import InputError

MAX_PIXELS = 64 * 2**20
"""Largest picture, checked before decoding: 192 MiB decoded. Pillow only warns below 179 M."""

MAX_LISTED = 20
"""Problems named in one message."""

STRETCHED = {(2, 0): 85, (4, 0): 17}
"""Factor by which Pillow stretches grey values, by a PNG's bit depth and colour type."""

UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow's decoders raise on damaged files."""


@dataclass(frozen=True)
class FileDataset(Dataset):
    """A dataset of image and label files below one folder."""

    root: Path
    """Folder that holds everything; no part of the fingerprint."""
    files: dict[tuple[str, str], tuple[Path, Path]]
    """Image and label file, relative to `root`, by (split, name)."""

    more_files: dict[str, dict[tuple[str, str], Path]] = field(default_factory=dict, kw_only=True)
    """By name of a further input or label map: its file, relative to `root`, by (split, name)."""

    def read(self, split: str, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the image (H, W, 3) and target (H, W) of a picture; reads disk."""
        image, mask = self.files[split, name]
        return read_image(self.root / image), self.read_labels(self.root / mask, self.target_name)

    def read_input(self, split: str, name: str, wanted: Input) -> NDArray[np.uint8]:
        """Return a further input (H, W, channels) of a picture; reads disk."""
        return read_input(self.root / self.more_files[wanted.name][split, name], wanted)

    def read_target(self, split: str, name: str, wanted: LabelMap) -> NDArray[np.uint8]:
        """Return a further label map (H, W) of a picture; reads disk."""
        path = self.root / self.more_files[wanted.name][split, name]
        return self.read_labels(path, wanted.name)

    def read_labels(self, path: Path, target: str) -> NDArray[np.uint8]:
        """Return the label map (H, W) of a file; formats other than pictures come in here."""
        return read_mask(path)

    def describe(self, split: str, name: str) -> str:
        """Name a picture by its image and label file."""
        image, mask = self.files[split, name]
        return f"{self.root / image} with {self.root / mask} (split {split!r})"

    def content(self) -> list[object]:
        """Return the digest of every file by its path below the folder; reads disk."""
        layers = {
            (split, name): [*pair, *(files[split, name] for files in self.more_files.values())]
            for (split, name), pair in self.files.items()
        }
        paths = sorted({path for row in layers.values() for path in row})
        missing = [str(self.root / path) for path in paths if not (self.root / path).is_file()]
        if missing:
            raise InputError(join_problems([f"{path} is missing" for path in missing]))
        rows: list[object] = []
        for key, row in sorted(layers.items()):
            digests = [_digest(self.root / path) for path in row]
            rows.append([*key, *(path.as_posix() for path in row), *digests])
        return rows


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a picture of any 8-bit format, upright as its EXIF tag says; (H, W, 3) uint8.

    Raises:
        InputError: It is missing, damaged, too large, of more than 8 bits, or transparent.
    """
    with _opened(path) as image:
        if image.mode in ("I", "F") or image.mode.startswith("I;"):
            raise InputError(
                f"{path} has more than 8 bits per channel (mode {image.mode}); "
                "save it as an 8-bit RGB or grey picture"
            )
        upright = ImageOps.exif_transpose(image)
        if "A" in upright.getbands() or "transparency" in upright.info:
            rgba = np.asarray(upright.convert("RGBA"))
            if rgba[..., 3].min() < 255:
                raise InputError(f"{path} has transparent pixels; save it without transparency")
            return rgba[..., :3].copy()
        return np.array(upright.convert("RGB"), dtype=np.uint8)


def read_input(path: Path, wanted: Input) -> NDArray[np.uint8]:
    """Read a file of an input, (H, W, channels) uint8.

    Files of 16 bits, such as depth, become 8 by the logarithm of their values.

    Raises:
        InputError: It is missing or damaged, or not what the input is.
    """
    if wanted.channels == 3:
        return read_image(path)
    if wanted.channels != 1:
        raise InputError(f"input {wanted.name!r} has {wanted.channels} channels; files have 1 or 3")
    with _opened(path) as image:
        deep = image.mode == "I" or image.mode.startswith("I;16")
        if deep == (wanted.log_range is None) or not (deep or image.mode in ("L", "P", "1")):
            bits = "8" if wanted.log_range is None else "16"
            raise InputError(
                f"{path} has mode {image.mode}; input {wanted.name!r} is grey of {bits} bits: save "
                "it as such a PNG"
            )
        values = np.array(image)
    if wanted.log_range is None:
        return values.astype(np.uint8)[..., None]
    return encode_log(values, wanted.log_range, path)[..., None]


def picture_mode(path: Path) -> str:
    """Return Pillow's name of a picture's kind: L, RGB, I;16 and so on.

    Raises:
        InputError: It cannot be read.
    """
    with _opened(path) as image:
        return str(image.mode)


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
    """Read a label map of class indices, grey or palette; (H, W) uint8.

    Raises:
        InputError: It is missing, damaged or too large, or holds something else than indices.
    """
    with _opened(path) as mask:
        if mask.format == "JPEG":
            raise InputError(f"{path} is a JPEG, which changes labels; save label maps as PNG")
        if mask.mode not in ("1", "L", "P"):
            kind = "colours" if len(mask.getbands()) > 1 else "more than 8 bits per pixel"
            raise InputError(
                f"{path} holds {kind} (mode {mask.mode}), not class indices; "
                "save it as an 8-bit grey or palette PNG whose pixels are class indices"
            )
        indices = np.array(mask, dtype=np.uint8)
        is_png = mask.format == "PNG"
    return indices // np.uint8(STRETCHED.get(_png_kind(path), 1)) if is_png else indices


def join_problems(problems: list[str]) -> str:
    """Put problems into one message, a line each, the first of them by name."""
    shown = problems[:MAX_LISTED]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    return shown[0] if len(problems) == 1 else "\n".join([f"{len(problems)} problems:", *shown])


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


def read_lines(path: Path) -> list[str]:
    """Read a text file's lines, without those that are blank.

    Raises:
        InputError: It is missing or not UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows editors write a BOM
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return [line.strip() for line in lines if line.strip()]


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture, check its size before decoding, and turn Pillow's errors into ours."""
    if not path.is_file():
        raise InputError(f"{path} is missing; restore it, or take it off the list of its split")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ours is stricter
            image = Image.open(path)
        with image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InputError(_too_large(path, f"{width}x{height} pixels"))
            image.load()
            yield image
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(_too_large(path, "far more pixels")) from None
    except UNDECODABLE as error:
        reason = str(error).replace(str(path), "it")
        raise InputError(
            f"{path} cannot be decoded ({reason}); it is damaged or no picture: replace it"
        ) from None


def _too_large(path: Path, given: str) -> str:
    return f"{path} has {given}; {MAX_PIXELS} are allowed: cut it into tiles or make it smaller"


def _png_kind(path: Path) -> tuple[int, int]:
    """Return the bit depth and colour type that a PNG's header gives."""
    with path.open("rb") as file:
        header = file.read(26)
    return header[24], header[25]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
