"""What the masks of a folder hold: sizes, kinds, values and colours with their pixels.

In: pairs. Out: facts of each pair, and what is wrong with those that cannot be used.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.bands import read_bands
from bench.data.class_map import Kind
from bench.data.formats import EXACT_FORMATS, exif_orientation, opened, require_image
from bench.data.intake.pairing import Pair
from bench.data.raw_masks import DEEP_MODES, Channel, read_raw_mask
from fcn.errors import InputError

Size = tuple[int, int]
"""Width and height in pixels, as files have them."""


@dataclass(frozen=True)
class Look:
    """How an image file looks from outside, and a little of what it holds."""

    size: Size
    """As stored."""
    orientation: int
    """Of its EXIF tag, 1 to 8."""
    mode: str
    """Pillow's name of its kind."""
    exact: bool
    """Its format keeps what was written."""
    is_grey: bool = False
    """Its colours are greys."""
    varied_alpha: bool = False
    """Some pixels are transparent, others are not."""
    varied_colour: bool = True
    """It shows more than one colour."""
    palette: tuple[int, ...] = ()
    """Of a palette: red, green, blue of each index."""
    bands: int = 0
    """Of an image of more than 8 bits, or of other bands than colours; 0 for others."""

    @property
    def upright(self) -> Size:
        """Size once it is turned as its orientation says."""
        return self.size[::-1] if self.orientation >= 5 else self.size


@dataclass(frozen=True)
class PairFacts:
    """An image and its mask, from outside."""

    pair: Pair
    image: Look
    mask: Look


def look_at(pair: Pair) -> PairFacts:
    """Look at both files of a pair; reads disk.

    Raises:
        InputError: One cannot be decoded.
    """
    return PairFacts(pair, _look(pair.image, is_mask=False), _look(pair.mask, is_mask=True))


def count_keys(
    path: Path, kind: Kind, channel: Channel, *, upright: bool, lossy: bool
) -> Counter[int]:
    """Count the pixels of each value or colour of a mask; reads disk.

    Raises:
        InputError: It cannot be read as that.
    """
    keys, _ = read_raw_mask(path, kind, channel=channel, upright=upright, lossy=lossy)
    distinct, counts = np.unique(keys, return_counts=True)
    return Counter(dict(zip(distinct.tolist(), counts.tolist(), strict=True)))


def _look(path: Path, *, is_mask: bool) -> Look:
    orientation = exif_orientation(path)
    if not is_mask and _is_deep(path):
        bands = read_bands(path, upright=False)
        return Look(bands.shape[1::-1], orientation, "bands", True, bands=bands.shape[2])
    with opened(path) as image:
        exact = image.format in EXACT_FORMATS
        look = Look(image.size, orientation, image.mode, exact)
        return _look_inside(image, look) if is_mask else look


def _is_deep(path: Path) -> bool:
    """Say whether an image has more than 8 bits, or bands that RGB would lack."""
    try:
        with opened(path) as image:
            require_image(image, path)
    except InputError:
        return path.suffix.lower() in (".tif", ".tiff") or _is_grey_of_16_bits(path)
    return False


def _is_grey_of_16_bits(path: Path) -> bool:
    with opened(path) as image:
        return image.mode in DEEP_MODES


def _look_inside(image: Image.Image, look: Look) -> Look:
    palette = tuple(image.getpalette("RGB") or ()) if image.mode == "P" else ()
    if image.mode not in ("P", "PA", "LA", "RGB", "RGBA"):
        return Look(look.size, look.orientation, look.mode, look.exact, is_grey=True)
    pixels = np.asarray(image.convert("RGBA"))
    alpha, colours = pixels[..., 3], pixels[..., :3]
    return Look(
        look.size,
        look.orientation,
        look.mode,
        look.exact,
        is_grey=bool((np.ptp(colours.astype(np.int16), axis=-1) == 0).all()),
        varied_alpha=bool(alpha.min() != alpha.max()),
        varied_colour=bool((colours != colours[0, 0]).any()),
        palette=palette,
    )
