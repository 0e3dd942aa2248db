"""Masks as they were written: the values or colours of a file, before anything says what they mean.

In: a file of any mode that keeps what was written. Out: a key for each pixel, as
`bench.data.class_map` numbers them. JPEGs, which do not keep it, are read on request alone.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from bench.data.class_map import NUM_KEYS, TRANSPARENT, Keys, Kind
from bench.data.formats import EXACT_FORMATS, opened, require_exact, sample_bits, stretch_of
from fcn.errors import InputError

Channel = Literal["colour", "alpha"]
"""Where a file holds the mask: in what it shows, or in how transparent it is."""

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read_raw_mask(
    path: Path,
    kind: Kind,
    *,
    channel: Channel = "colour",
    upright: bool = True,
    lossy: bool = False,
) -> tuple[Keys, bool]:
    """Read what a mask's file holds.

    Args:
        path: The file.
        kind: What is wanted of it: a palette has both values, its indices, and colours.
        channel: Where it holds the mask.
        upright: Turn it as its EXIF orientation says.
        lossy: Read JPEGs and the like too, whose values are near what was written.

    Returns:
        Keys (H, W), and whether the file's format keeps them as they were written.

    Raises:
        InputError: It is missing, damaged or too large, one of several in its file, of a format
            that changes values, or has no such keys.
    """
    with opened(path) as mask:
        exact = mask.format in EXACT_FORMATS
        if exact or not lossy:
            require_exact(mask, path, "masks")
        _require_depth(mask, path)
        factor = stretch_of(mask, path)
        turned = ImageOps.exif_transpose(mask) if upright else mask
        if channel == "alpha":
            return _alpha(turned, path), exact
        keys = _values(turned, path, factor) if kind == "values" else _colours(turned, path)
        return keys, exact


def _require_depth(mask: Image.Image, path: Path) -> None:
    """Refuse numbers of more bits than Pillow keeps."""
    bits = sample_bits(mask, path)
    if bits > 8 and mask.mode not in DEEP_MODES:
        raise InputError(
            f"{path} has {bits} bits per channel (mode {mask.mode}), of which 8 would be read; "
            "save the mask with a class index for each pixel, of 8 or 16 bits"
        )


def _values(mask: Image.Image, path: Path, factor: int) -> Keys:
    if mask.mode in ("1", "L", "P"):
        return np.asarray(mask, dtype=np.int32) // factor
    if mask.mode in DEEP_MODES:
        values = np.asarray(mask).astype(np.int64)
        if values.min() < 0 or values.max() >= NUM_KEYS["values"]:
            raise InputError(
                f"{path} holds values from {values.min()} to {values.max()}; those of a mask lie "
                f"in 0..{NUM_KEYS['values'] - 1}: save it with class indices"
            )
        return values.astype(np.int32)
    if mask.mode in ("LA", "PA", "RGB", "RGBA"):
        pixels = np.asarray(mask.convert("RGBA"), dtype=np.int32)
        # A grey mask that was saved as RGB holds its values three times.
        if (pixels[..., :3] == pixels[..., :1]).all() and (pixels[..., 3] == 255).all():
            return pixels[..., 0]
        raise InputError(
            f"{path} holds colours (mode {mask.mode}) or transparent pixels, and values of classes "
            "are wanted; give each class its `colours` in classes.yaml, or save the mask as an "
            "8-bit grey or palette PNG whose pixels are class indices"
        )
    raise InputError(f"{path} has Pillow's mode {mask.mode}; save the mask as a PNG")


def _colours(mask: Image.Image, path: Path) -> Keys:
    if mask.mode in DEEP_MODES or mask.mode == "F":
        raise InputError(
            f"{path} holds numbers (mode {mask.mode}), and colours of classes are wanted; give "
            "each class its `values` in classes.yaml"
        )
    pixels = np.asarray(mask.convert("RGBA"), dtype=np.int32)
    keys = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    alpha = pixels[..., 3]
    # One degree throughout is an overlay, whose colours are as they were drawn.
    degrees = np.unique(alpha[alpha > 0])
    if len(degrees) > 1:
        partly = int(((alpha > 0) & (alpha < 255)).sum())
        raise InputError(
            f"{path} has {partly} pixels that are transparent in {len(degrees)} degrees, as smooth "
            "edges are, whose colours are of no class; save the mask without transparency"
        )
    return np.where(alpha == 0, np.int32(TRANSPARENT), keys)


def _alpha(mask: Image.Image, path: Path) -> Keys:
    if "A" not in mask.getbands() and "transparency" not in mask.info:
        raise InputError(
            f"{path} has no transparency (mode {mask.mode}), and classes.yaml says `channel: alpha`"
        )
    return np.asarray(mask.convert("RGBA"), dtype=np.int32)[..., 3]
