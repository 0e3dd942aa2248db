"""What an image file is, by its content; what would be read otherwise than written is refused.

In: a path. Out: an image that Pillow has decoded. Pillow starts programs for some formats, opens
lazily, warns of huge images instead of refusing them, keeps the high byte of deep colours, drops
bands and pages, and stretches grey values of few bits. All of this would pass silently.
"""

import errno
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from fcn.errors import InputError

MAX_PIXELS = 64 * 2**20
"""Largest image, checked before decoding: 192 MiB decoded. Pillow only warns below 179 M."""

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM", "WEBP", "JPEG2000", "AVIF")
"""What a file may be, whatever its name. Pillow decodes these by itself; for others, such as EPS,
it starts another program with the file."""
EXACT_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM")
"""Those that keep each value as it was: the others compress with loss, or hold colours alone."""
SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".tif", ".tiff", ".bmp", ".dib"),
    *(".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".webp", ".avif", ".avifs"),
    *(".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
}
"""Endings of the names of such files, in lower case."""

GREYS_BY_PALETTE = ("GIF", "BMP")
"""Those that keep greys as indices into a palette, which writers cut to the greys that occur."""

IMAGE_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"}
EXACT_TIFF = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000}
"""Compressions of TIFF without loss: none, CCITT, LZW, deflate, PackBits, LZMA, Zstandard."""
STRETCHED = {2: 85, 4: 17}
"""Factor by which Pillow stretches grey values of few bits in PNG and TIFF."""

UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow's decoders raise on damaged files."""

REDUCED, WHITE_IS_ZERO, SIGNED = 1, 0, 2
SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, EXTRA, FORMAT = 254, 258, 259, 262, 338, 339
"""Tags of TIFF."""
ORIENTATION = 0x0112
"""Tag of EXIF."""


def is_file(path: Path) -> bool:
    """Say whether a path leads to a file; what may not be looked at is one: its reader is told."""
    return type_of(path) == stat.S_IFREG


def type_of(path: Path) -> int:
    """Return the type of what a path leads to, as `stat` has them; 0 of nothing."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        return 0 if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) else stat.S_IFREG


def require_readable(path: Path) -> None:
    """Refuse what is no file, or none of this user's; reads disk.

    Raises:
        InputError: It is missing, a folder, or may not be read.
    """
    kind = type_of(path)
    if kind != stat.S_IFREG:
        is_what = "is a folder; name the images in it" if kind == stat.S_IFDIR else "is missing"
        raise InputError(f"{path} {is_what}")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read by this user: have it opened, or take it away")


@contextmanager
def opened(path: Path, raw_mode: str = "") -> Iterator[Image.Image]:
    """Decode a file of one image, and turn Pillow's errors into ours; reads disk.

    Args:
        path: The file.
        raw_mode: Pillow's name of how the bytes of its pixels are to be understood; none for how
            they are.

    Raises:
        InputError: It is missing, damaged, too large, of another format, or holds several images.
    """
    require_readable(path)
    try:
        with path.open("rb") as file, _identified(file) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InputError(_too_large(path, f"{width}x{height} pixels"))
            _require_one(image, path)
            _require_plain_palette(image, path)
            if raw_mode:
                _set_raw_mode(image, raw_mode)
            image.load()
            yield image
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(_too_large(path, "far more pixels")) from None
    except UnidentifiedImageError:
        if kind := _other_kind(path):
            raise InputError(f"{path} {kind}") from None
        raise InputError(
            f"{path} cannot be decoded: it is damaged, none of the formats that are read "
            f"({', '.join(FORMATS)}), or of a kind of one that is not read, such as a TIFF of two "
            "bands; replace it, or save it as PNG"
        ) from None
    except UNDECODABLE as error:
        reason = str(error).replace(str(path), "it")
        raise InputError(
            f"{path} cannot be decoded ({reason}); it is damaged or no image: replace it"
        ) from None


_AS_PNG = "save it as PNG or JPEG"
_OTHERS = (
    (
        rb"version https://git-lfs",
        "stands for a file that Git LFS keeps: `git lfs pull` fetches it",
    ),
    (rb"\s*(<!doctype html|<html)", "is a page of a web site, not an image: download it again"),
    (rb"....ftyp(hei|hev|mif1|msf1)", f"is a HEIC photograph, which is not read: {_AS_PNG}"),
    (rb"\xff\x0a|....JXL ", f"is a JPEG XL, which is not read: {_AS_PNG}"),
    (rb"8BPS", f"is a Photoshop file, which is not read: {_AS_PNG}"),
    (rb"\s*(<\?xml|<svg)", f"is a drawing or other XML, not pixels: {_AS_PNG}"),
    (rb"%PDF|%!PS", f"is a document, not an image: {_AS_PNG}"),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "is an archive: unpack it"),
    (rb"\x93NUMPY|\x89HDF|MATLAB 5", f"is a file of arrays, not an image: {_AS_PNG}"),
    (rb"\Z", "is empty, as downloads and copies are that broke off: replace it"),
)
"""How files begin that are often found among images, and what to do about each."""


def _other_kind(path: Path) -> str:
    """Say what a file is that is no image, or none that is read; nothing where that is unknown."""
    head = _head(path, 64)
    return next((t for p, t in _OTHERS if re.match(p, head, re.DOTALL | re.IGNORECASE)), "")


def require_image(image: Image.Image, path: Path) -> None:
    """Refuse an image of which 8-bit RGB would not be all.

    Raises:
        InputError: It has more than 8 bits a channel, or bands beyond colours and alpha.
    """
    bits = sample_bits(image, path)
    if bits > 8:
        raise InputError(
            f"{path} has {bits} bits per channel, of which 8 would be kept; save it as an 8-bit "
            "RGB or grey image, or have all bits kept as `bands`: `fcn-bench init` writes a "
            "classes.yaml that says so"
        )
    if SIGNED in _tag(image, FORMAT):
        raise InputError(
            f"{path} holds signed numbers, of which those below 0 would be read as the brightest; "
            "save it as an 8-bit RGB or grey image"
        )
    extra = _tag(image, EXTRA)
    if len(extra) > 1 or 0 in extra:
        raise InputError(
            f"{path} has bands beside its colours ({len(extra)}) that would be dropped; save it as "
            "an 8-bit RGB or grey image, the further bands as files of their own"
        )
    if image.mode not in IMAGE_MODES:
        raise InputError(f"{path} has Pillow's mode {image.mode}; save it as an 8-bit RGB image")


def require_exact(image: Image.Image, path: Path, what: str) -> None:
    """Refuse a file whose values are not decoded as they were written.

    Args:
        image: As `opened` gives it.
        path: Its file.
        what: What such files hold, put into the message.

    Raises:
        InputError: Its format loses, inverts or scales values.
    """
    reason = None
    if image.format not in EXACT_FORMATS:
        kind = "a JPEG" if image.format in ("JPEG", "MPO") else f"of format {image.format}"
        reason = f"is {kind}, which changes {what}"
    elif image.format == "TIFF":
        if not set(_tag(image, COMPRESSION)) <= EXACT_TIFF:
            reason = f"is a TIFF compressed with loss, which changes {what}"
        elif WHITE_IS_ZERO in _tag(image, PHOTOMETRIC):
            reason = f"is a TIFF in which white is 0, which inverts {what}"
        elif set(_tag(image, FORMAT)) - ({1} if image.mode == "L" else {1, 2}):
            reason = f"is a TIFF of signed or broken numbers, which are no {what}"
    elif image.format == "PPM" and image.mode == "F":
        reason = f"holds broken numbers, which are no {what}"
    elif image.format == "PPM" and (maxval := _maxval(path)) not in (255, 65535):
        reason = f"has the greatest value {maxval}, by which Pillow scales {what}"
    elif image.format in GREYS_BY_PALETTE and (shown := _renumbered(image)):
        index, grey = shown
        reason = f"shows grey {grey} by its index {index}, and either may be meant"
    if reason:
        raise InputError(f"{path} {reason}; save {what} as PNG")


def sample_bits(image: Image.Image, path: Path) -> int:
    """Return the bits of a file's deepest channel; reads its first bytes."""
    match image.format:
        case "PNG":
            return _head(path, 26)[24]
        case "TIFF":
            return max(_tag(image, BITS), default=1)
        case "PPM":
            return 32 if image.mode == "F" else _maxval(path).bit_length()
        case "JPEG2000":
            return _bits_of_codestream(path.read_bytes())
        case "AVIF":  # in the configuration of its codec, av1C: bits for 10 or 12
            flags = re.findall(rb"av1C..(.)", path.read_bytes(), re.DOTALL)
            return 12 if any(flag[0] & 0x40 for flag in flags) else 8
        case _:
            return 8


def stretch_of(image: Image.Image, path: Path) -> int:
    """Return the factor by which Pillow stretched grey values of few bits over 0..255."""
    is_grey = image.mode == "L" and image.format in ("PNG", "TIFF")
    return STRETCHED.get(sample_bits(image, path), 1) if is_grey else 1


def exif_orientation(path: Path) -> int:
    """Return the EXIF orientation of an image file, 1 to 8; 1 where it has none; reads disk."""
    try:
        with path.open("rb") as file, _identified(file) as image:
            if image.format == "PNG" and not re.search(rb"eXIf|exif|xmp", path.read_bytes()):
                return 1  # Pillow would decode the image to look behind its pixels
            return int(image.getexif().get(ORIENTATION, 1))
    except UNDECODABLE:  # it is named when it is read
        return 1


def _identified(file: BinaryIO) -> Image.Image:
    """Read the header of one of `FORMATS`.

    An open file, not its path: Pillow maps files into memory that it opens itself, and then takes
    the rows of a TIFF that lies on its side (orientation 5 to 8) for those of the upright image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images: ours is stricter; of codecs not here
        return Image.open(file, formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this Pillow knows."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _set_raw_mode(image: Any, raw_mode: str) -> None:
    """Have a file that is not decoded yet decoded by another reading of its bytes."""
    tiles = [(*tile[:3], raw_mode) for tile in image.tile]
    named = type(image.tile[0])
    image.tile = [named(*tile) for tile in tiles] if hasattr(named, "_fields") else tiles


def _require_one(image: Image.Image, path: Path) -> None:
    """Refuse pages and frames: the first would stand for all.

    The first image of an MPO is the photograph, as every viewer shows it; what follows are
    previews and second views. Pages of a TIFF that repeat the first at reduced size may stay.
    """
    num_images = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    if image.format == "TIFF":
        reduced = []
        for page in range(num_images):
            image.seek(page)
            reduced.append(bool(sum(_tag(image, SUBFILE)) & REDUCED))
        image.seek(0)
        if reduced[0]:
            raise InputError(f"{path} opens with a preview of reduced size; save it as PNG")
        num_images -= sum(reduced)
    if num_images > 1:
        raise InputError(
            f"{path} holds {num_images} images (pages or frames), of which one would be read; save "
            "each as a file of its own"
        )


def _require_plain_palette(image: Image.Image, path: Path) -> None:
    """Refuse BMPs with few greys in their palette: Pillow goes by its length for their bits."""
    if image.format == "BMP" and image.mode in ("1", "L"):
        head = _head(path, 30)
        (bits,) = struct.unpack_from("<H", head, 24 if head[14] == 12 else 28)
        if bits != {"1": 1, "L": 8}[image.mode]:
            raise InputError(
                f"{path} is a BMP of {bits} bits with a short palette of greys; save it as PNG"
            )


def _renumbered(image: Image.Image) -> tuple[int, int] | None:
    """Return an index whose grey is another, where a palette seems cut to the greys that occur.

    A mask of 0 and 2 is saved as indices 0 and 1 of a palette of the greys 0 and 2, in their order.
    Black and white by 0 and 1 are the exception: so binary masks are kept.
    """
    palette = image.getpalette("RGB") or []
    greys = palette[::3]
    if greys != palette[1::3] or greys != palette[2::3]:
        return None
    indices = sorted(index for _, index in image.getcolors() or [] if isinstance(index, int))
    shown = {index: greys[index] for index in indices if index < len(greys)}
    is_cut = list(shown.values()) == sorted(set(shown.values()))
    if not is_cut or shown.items() <= {0: 0, 1: 255}.items():
        return None
    return next(((index, grey) for index, grey in shown.items() if index != grey), None)


def _tag(image: Image.Image, number: int) -> tuple[int, ...]:
    """Return the values of a tag of TIFF; none for other formats and where it is not set."""
    value = getattr(image, "tag_v2", {}).get(number, ())
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _maxval(path: Path) -> int:
    """Return the value that is white in a file of the PPM family; 1 for bitmaps."""
    words = re.sub(rb"#[^\r\n]*", b"", _head(path, 2**16)).split(maxsplit=4)
    return 1 if words[0] in (b"P1", b"P4") else int(words[3])


def _bits_of_codestream(content: bytes) -> int:
    """Return the bits of the deepest component of a JPEG 2000: its SIZ segment has each."""
    start = content.index(b"\xff\x4f\xff\x51") + 4
    (count,) = struct.unpack_from(">H", content, start + 36)
    return max((bits & 0x7F) + 1 for bits in content[start + 38 : start + 38 + 3 * count : 3])


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _too_large(path: Path, given: str) -> str:
    return f"{path} has {given}; {MAX_PIXELS} are allowed: cut it into tiles or make it smaller"
