"""What the masks of a folder hold: sizes, kinds, values and colours with their pixels.

In: pairs. Out: facts of each pair, and what is wrong with those that cannot be used.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.bands import may_be_deep, read_bands
from bench.data.class_map import Kind, count_keys
from bench.data.formats import EXACT_FORMATS, exif_orientation, opened, require_image
from bench.data.intake.pairing import Pair
from bench.data.raw_masks import Channel, read_raw_mask
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
    painted: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Of a palette: the colour of each index that occurs."""
    bands: int = 0
    """Of an image of more than 8 bits, or of other bands than colours; 0 for others."""
    digest: str = ""
    """SHA-256 of an image's pixels: those that are one image lie in one split."""
    num_clear: int = 0
    """Pixels of an image that are not opaque."""

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
    return PairFacts(pair, _look_at_image(pair.image), _look_at_mask(pair.mask))


def count_mask(
    path: Path, kind: Kind, channel: Channel, *, upright: bool, lossy: bool
) -> Counter[int]:
    """Count the pixels of each value or colour of a mask; reads disk.

    Raises:
        InputError: It cannot be read as that.
    """
    keys, _ = read_raw_mask(path, kind, channel=channel, upright=upright, lossy=lossy)
    return count_keys(keys)


def _look_at_image(path: Path) -> Look:
    orientation = exif_orientation(path)
    try:
        with opened(path) as image:
            require_image(image, path)
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            clear = np.asarray(image.convert("RGBA"))[..., 3] < 255 if has_alpha else np.zeros(1)
            pixels = np.asarray(image.convert("RGB"))
            size, mode, exact = image.size, image.mode, image.format in EXACT_FORMATS
    except InputError:
        if not may_be_deep(path):
            raise
        bands = read_bands(path, upright=False)
        size, mode = (bands.shape[1], bands.shape[0]), "bands"
        number, digest = bands.shape[2], _digest(bands, orientation)
        return Look(size, orientation, mode, True, bands=number, digest=digest)
    return Look(
        size,
        orientation,
        mode,
        exact,
        digest=_digest(pixels, orientation),
        num_clear=int(clear.sum()),
    )


def _digest(pixels: NDArray[Any], orientation: int) -> str:
    return sha256(repr((pixels.shape, orientation)).encode() + pixels.tobytes()).hexdigest()


def _look_at_mask(path: Path) -> Look:
    orientation = exif_orientation(path)
    with opened(path) as image:
        exact = image.format in EXACT_FORMATS
        return _look_inside(image, Look(image.size, orientation, image.mode, exact))


def _look_inside(image: Image.Image, look: Look) -> Look:
    if image.mode not in ("P", "PA", "LA", "RGB", "RGBA"):
        return replace(look, is_grey=True)
    palette = tuple(image.getpalette("RGB") or ()) if image.mode == "P" else ()
    used = tuple(sorted(key for _, key in image.getcolors(256) or [] if isinstance(key, int)))
    pixels = np.asarray(image.convert("RGBA"))
    alpha, colours = pixels[..., 3], pixels[..., :3]
    return replace(
        look,
        is_grey=bool((np.ptp(colours.astype(np.int16), axis=-1) == 0).all()),
        varied_alpha=bool(alpha.min() != alpha.max()),
        varied_colour=bool((colours != colours[0, 0]).any()),
        palette=palette,
        painted={key: palette[3 * key : 3 * key + 3] for key in used} if palette else {},
    )
