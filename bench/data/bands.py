"""Images of 16 bits a channel, or of any number of bands: read whole, never cut to 8 bits.

In: a file. Out: (H, W, bands) uint16. Grey images of 16 bits are Pillow's, and so are colours of 16
bits in a PNG, of which it gives 8 bits at a time; TIFFs of several bands, which Pillow would cut or
refuse, are read by tifffile (extra `fcn-bench[tiff]`).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from bench.data.formats import (
    MAX_PIXELS,
    exif_orientation,
    opened,
    require_exact,
    require_readable,
    sample_bits,
)
from bench.data.raw_masks import DEEP_MODES
from fcn.errors import InputError

Bands = NDArray[np.uint16]
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF, BigTIFF included."""
MAX_BANDS = 512


def read_bands(path: Path, *, upright: bool = True) -> Bands:
    """Read all bands of an image, (H, W, bands).

    Args:
        path: The file.
        upright: Turn it as its EXIF orientation says; TIFFs and PNGs of several bands have none.

    Raises:
        InputError: It is missing, damaged or too large, or holds other numbers than 0..65535.
    """
    if _is_tiff(path) and not _is_grey(path):
        return _read_tiff(path)
    with opened(path) as image:
        is_deep_png = image.format == "PNG" and sample_bits(image, path) == 16
        if image.mode in DEEP_MODES or image.mode == "L":
            require_exact(image, path, "images")
            turned = ImageOps.exif_transpose(image) if upright else image
            return _to_uint16(np.asarray(turned), path)[..., None]
        if not is_deep_png:
            raise InputError(
                f"{path} has mode {image.mode}, of which 8 bits a channel would be read; save it "
                "as a PNG or TIFF of 16 bits, all bands in one page"
            )
        if upright and exif_orientation(path) > 1:
            raise InputError(
                f"{path} is a PNG of 16 bits a channel that an EXIF orientation turns; save it "
                "upright, or write `exif: ignore` in classes.yaml"
            )
    return _read_png(path)


def render(bands: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Return an image to look at, (H, W, 3): the first three bands, or the first as grey.

    Args:
        bands: (H, W, bands).
        low: Value that is black.
        high: Value that is white.
    """
    chosen = bands[..., :3] if bands.shape[-1] >= 3 else bands[..., :1].repeat(3, axis=-1)
    scaled = 255 * (chosen.astype(np.float64) - low) / (high - low)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def may_be_deep(path: Path) -> bool:
    """Say whether a file is of a kind that `read_bands` may read, and others not; reads disk."""
    try:
        if _is_tiff(path):
            return True
        with opened(path) as image:
            return image.mode in DEEP_MODES or sample_bits(image, path) == 16
    except InputError:
        return False


def _is_tiff(path: Path) -> bool:
    require_readable(path)
    with path.open("rb") as file:
        return file.read(4) in TIFF_HEADS


def _is_grey(path: Path) -> bool:
    """Say whether Pillow reads a TIFF whole: one band of at most 16 bits."""
    try:
        with opened(path) as image:
            return image.mode == "L" or image.mode in DEEP_MODES
    except InputError:
        return False


def _read_png(path: Path) -> Bands:
    """Read a PNG of colours of 16 bits; transparency that hides nothing is left out."""
    with opened(path) as image:
        mode, upper = image.mode, np.asarray(image).astype(np.uint16)
        if mode not in ("RGB", "RGBA") or "transparency" in image.info:
            raise InputError(
                f"{path} is a PNG of 16 bits a channel with transparency; save it without"
            )
    # Of each two bytes Pillow keeps the first; told that the second is the upper one, the other.
    with opened(path, raw_mode=f"{mode};16L") as image:
        values = upper << 8 | np.asarray(image)
    if mode == "RGBA":
        if values[..., 3].min() < 65535:
            raise InputError(f"{path} has transparent pixels; save it without transparency")
        values = values[..., :3]
    return np.ascontiguousarray(values)


def _read_tiff(path: Path) -> Bands:
    """Read a TIFF of several bands, which may lie one behind the other."""
    try:
        import tifffile
    except ImportError:
        raise InputError(
            f"{path} is a TIFF of several bands or of more than 8 bits, which tifffile reads; "
            "install it with `pip install 'fcn-bench[tiff]'`"
        ) from None
    try:
        with tifffile.TiffFile(path) as file:
            page = file.series[0]
            axes, shape = page.axes, page.shape
            if np.prod(shape, dtype=float) > MAX_BANDS * MAX_PIXELS:
                raise InputError(f"{path} has {shape} values; cut it into tiles")
            values = page.asarray()
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, OSError) as error:
        raise InputError(
            f"{path} cannot be decoded ({str(error)[:200]}); save it as a TIFF without "
            "compression, or with deflate"
        ) from None
    if values.ndim == 2:
        return _to_uint16(values, path)[..., None]
    if values.ndim != 3:
        raise InputError(f"{path} has axes {axes} of {shape}; rows, columns and bands are wanted")
    # Pages in a row may be bands, or rows of an image that was written without saying what is what.
    told = [k for k, axis in enumerate(axes) if axis in "SC"]
    return _to_uint16(np.moveaxis(values, told[0] if told else int(np.argmin(shape)), -1), path)


def _to_uint16(values: NDArray[Any], path: Path) -> Bands:
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() > 65535:
        raise InputError(
            f"{path} holds {values.dtype} from {values.min()} to {values.max()}; whole numbers "
            "from 0 to 65535 are read: scale it, and save it as 16 bits"
        )
    return np.ascontiguousarray(values, dtype=np.uint16)
