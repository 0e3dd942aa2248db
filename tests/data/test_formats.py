"""Images and masks are read as they were written, or refused with the way out."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features
from small_datasets import open_folder, write_folder

from bench.data.check import check
from bench.data.files import read_image, read_input, read_mask
from bench.data.formats import exif_orientation, opened, sample_bits
from bench.data.layers import Input
from fcn.errors import InputError

RNG = np.random.default_rng(0)
MASK = RNG.integers(0, 4, (6, 9)).astype(np.uint8)
IMAGE = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)
DEPTH = Input("depth", 1, log_range=(256.0, 65535.0))
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""What the values of the EXIF tag mean, as its standard says where row 0 and column 0 are."""


def tagged(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def pack_bits(values, bits):
    rows = []
    for row in values.reshape(len(values), -1):
        text = "".join(f"{int(value):0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return b"".join(rows)


def write_tiff(path, pixels, *, bits=8, photometric=1, compression=1, pages=((),), more=()):
    """Write a TIFF tag by tag: Pillow writes few of the kinds that there are."""
    height, width, bands = (*pixels.shape, 1)[:3]
    data = pixels.astype("<u2").tobytes() if bits == 16 else pack_bits(pixels, bits)
    data = zlib.compress(data) if compression == 8 else data
    content = b"II*\0" + struct.pack("<I", 0) + data
    depths = len(content)
    content += struct.pack(f"<{bands}H", *[bits] * bands) + b"\0" * (bands % 2)
    place = 4
    for page in pages:
        tags = [
            (256, 3, 1, width), (257, 3, 1, height),
            (258, 3, bands, bits if bands == 1 else bits * 0x10001 if bands == 2 else depths),
            (259, 3, 1, compression), (262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, bands),
            (278, 3, 1, height), (279, 4, 1, len(data)), *more, *page,
        ]  # fmt: skip
        content = content[:place] + struct.pack("<I", len(content)) + content[place + 4 :]
        content += struct.pack("<H", len(tags))
        content += b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
        place = len(content)
        content += struct.pack("<I", 0)
    path.write_bytes(content)


def write_png(path, pixels, bits, colour_type):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = pixels.shape[:2]
    rows = (b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    )  # fmt: skip


def write_bmp(path, pixels, bits, greys):
    height, width = pixels.shape
    padding = -width * bits % 32
    rows = np.pad(pixels[::-1], [(0, 0), (0, padding // bits)])
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in greys)
    data = pack_bits(rows, bits)
    start = 54 + len(palette)
    head = struct.pack("<IHHI", start + len(data), 0, 0, start)
    info = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(data), 0, 0, len(greys), 0
    )
    path.write_bytes(b"BM" + head + info + palette + data)


def write_pnm(path, kind, maxval, pixels):
    height, width = pixels.shape[:2]
    raster = pixels.astype(">u2" if maxval > 255 else np.uint8).tobytes()
    path.write_bytes(b"%s\n# made by hand\n%d %d\n%d\n" % (kind, width, height, maxval) + raster)


def save(pixels, **how):
    return lambda path: Image.fromarray(pixels).save(path, **how)


def save_palette(path):
    mask = Image.fromarray(MASK)
    mask.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 7, 7, 7])
    mask.save(path)


def save_greys(greys, **how):
    """Pillow cuts the palette of a GIF to the greys that occur."""
    values = np.array(greys, dtype=np.uint8)[MASK % len(greys)]
    return lambda path: Image.fromarray(values).save(path, **how)


def save_frames(kind):
    frames = [Image.fromarray(IMAGE), Image.fromarray(255 - IMAGE)]
    return lambda path: frames[0].save(path, kind, save_all=True, append_images=frames[1:])


READ_MASKS = {
    "PNG": ("a.png", save(MASK)),
    "PNG behind another name": ("a.jpg", save(MASK, format="PNG")),
    "palette PNG": ("a.png", save_palette),
    "palette GIF": ("a.gif", save_palette),
    "palette BMP": ("a.bmp", save_palette),
    "palette TIFF": ("a.tif", save_palette),
    "GIF of greys": ("a.gif", save(MASK)),
    "BMP of 4 bits": ("a.bmp", lambda p: write_bmp(p, MASK, 4, [9] * 16)),
    "BMP of 8 bits": ("a.bmp", lambda p: write_bmp(p, MASK, 8, range(256))),
    "PGM": ("a.pgm", lambda p: write_pnm(p, b"P5", 255, MASK)),
    **{
        f"TIFF by {name}": ("a.tif", save(MASK, compression=name))
        for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma")
    },
    **{
        f"TIFF of {bits} bits by {compression}": (
            "a.tif",
            lambda p, bits=bits, compression=compression: write_tiff(
                p, MASK, bits=bits, compression=compression
            ),
        )
        for bits in (2, 4, 8)
        for compression in (1, 8)
    },
}


@pytest.mark.parametrize(("name", "write"), READ_MASKS.values(), ids=READ_MASKS)
def test_masks_are_read_as_they_were_written(tmp_path, name, write):
    write(tmp_path / name)
    assert np.array_equal(read_mask(tmp_path / name), MASK)


@pytest.mark.parametrize("greys", [[0, 255], [255, 255]])
def test_black_and_white_by_0_and_1_are_classes_0_and_1(tmp_path, greys):
    """As binary masks are kept in GIF, one that is all foreground among them."""
    indices = Image.fromarray((np.array(greys, dtype=np.uint8) // 255)[MASK % 2])
    indices.putpalette([0, 0, 0, 255, 255, 255])
    indices.save(tmp_path / "a.gif", optimize=False)
    assert np.array_equal(read_mask(tmp_path / "a.gif"), np.asarray(indices))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_tiffs_of_one_bit_are_read_and_inverted_ones_refused(tmp_path, bits):
    path = tmp_path / "a.tif"
    write_tiff(path, MASK % 2, bits=bits)
    assert np.array_equal(read_mask(path), MASK % 2)
    write_tiff(path, MASK % 2, bits=bits, photometric=0)
    with pytest.raises(InputError, match=r"a\.tif is a TIFF in which white is 0.*save .* as PNG"):
        read_mask(path)


BAD_MASKS = {
    "JPEG": ("a.jpg", save(MASK), "is a JPEG, which changes"),
    "JPEG behind another name": ("a.png", save(MASK, format="JPEG"), "is a JPEG"),
    "MPO": ("a.mpo", save(MASK, format="MPO"), "is a JPEG"),
    "JPEG 2000": ("a.jp2", save(MASK), "JPEG2000, which changes"),
    "bare JPEG 2000": ("a.j2k", save(MASK), "JPEG2000, which changes"),
    "WebP": ("a.webp", save(MASK), "WEBP, which changes"),
    "JPEG in TIFF": ("a.tif", save(MASK, compression="jpeg"), "compressed with loss"),
    "PGM to 3": ("a.pgm", lambda p: write_pnm(p, b"P5", 3, MASK), "greatest value 3"),
    "PBM": ("a.pbm", lambda p: Image.fromarray(MASK > 1).save(p), "greatest value 1"),
    "PFM": ("a.pfm", lambda p: p.write_bytes(b"Pf\n9 6\n-1.0\n" + bytes(4 * 54)), "broken numbers"),
    "signed": ("a.tif", lambda p: write_tiff(p, MASK, more=[(339, 3, 1, 2)]), "signed"),
    "pages": ("a.tif", lambda p: write_tiff(p, MASK, pages=((), ())), "holds 2 images"),
    "bands": (
        "a.tif",
        lambda p: write_tiff(p, np.dstack([MASK, MASK]), more=[(338, 3, 1, 0)]),
        r"(bands beside its colours \(1\)|cannot be decoded: .*two bands)",  # before Pillow 13
    ),
    "BMP with a palette of 2": (
        "a.bmp",
        lambda p: write_bmp(p, MASK % 2, 8, [0, 255]),
        "8 bits with a short palette",
    ),
    "GIF of 0 and 2": ("a.gif", save_greys([0, 2]), "grey 2 by its index 1"),
    "GIF of 0, 1 and 255": ("a.gif", save_greys([0, 1, 255]), "grey 255 by its index 2"),
    "GIF all ignored": ("a.gif", save_greys([255]), "grey 255 by its index 0"),
    "BMP of 0, 1, 2, 255": (
        "a.bmp",
        lambda p: write_bmp(p, MASK, 4, [0, 1, 2, 255]),
        "grey 255 by its index 3",
    ),
    "colours": ("a.png", save(IMAGE), "holds colours"),
    "16 bits": ("a.png", save(MASK.astype(np.uint16)), "more than 8 bits"),
}


@pytest.mark.parametrize(("name", "write", "message"), BAD_MASKS.values(), ids=BAD_MASKS)
def test_masks_that_would_be_changed_are_refused(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}.*{message}.*save"):
        read_mask(tmp_path / name)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_masks_are_refused_and_deep_avifs_known(tmp_path):
    path = tmp_path / "a.avif"
    save(MASK)(path)
    with pytest.raises(InputError, match="AVIF, which changes"):
        read_mask(path)
    with Image.open(path) as image:
        assert sample_bits(image, path) == 8
        content = bytearray(path.read_bytes())
        content[content.index(b"av1C") + 6] |= 0x40  # its flag for 10 bits
        path.write_bytes(content)
        assert sample_bits(image, path) > 8


DEEP = RNG.integers(0, 4096, (6, 9, 3))
BAD_IMAGES = {
    "16-bit RGB PNG": ("a.png", lambda p: write_png(p, DEEP, 16, 2), "16 bits"),
    "16-bit grey PNG": ("a.png", lambda p: write_png(p, DEEP[..., 0], 16, 0), "16 bits"),
    "16-bit LA PNG": ("a.png", lambda p: write_png(p, DEEP[..., :2], 16, 4), "16 bits"),
    "16-bit RGBA PNG": ("a.png", lambda p: write_png(p, DEEP[..., [0, 1, 2, 0]], 16, 6), "16 bits"),
    "16-bit RGB TIFF": ("a.tif", lambda p: write_tiff(p, DEEP, bits=16, photometric=2), "16 bits"),
    "16-bit PPM": ("a.ppm", lambda p: write_pnm(p, b"P6", 65535, DEEP), "16 bits"),
    "12-bit PPM": ("a.ppm", lambda p: write_pnm(p, b"P6", 4095, DEEP), "12 bits"),
    "16-bit JPEG 2000": ("a.jp2", save(DEEP[..., 0].astype(np.uint16)), "16 bits"),
    "float TIFF": ("a.tif", save(DEEP[..., 0].astype(np.float32)), "32 bits"),
    "infrared TIFF": (
        "a.tif",
        lambda p: write_tiff(p, np.dstack([IMAGE, MASK]), photometric=2, more=[(338, 3, 1, 0)]),
        "bands beside its colours",
    ),
    "TIFF of 5 bands": (
        "a.tif",
        lambda p: write_tiff(
            p, np.dstack([IMAGE, MASK, MASK]), photometric=2, more=[(338, 3, 2, 0)]
        ),
        "bands beside its colours",
    ),
    "signed TIFF": ("a.tif", lambda p: write_tiff(p, MASK, more=[(339, 3, 1, 2)]), "signed"),
    "TIFF of 2 bands": (
        "a.tif",
        lambda p: write_tiff(p, IMAGE[..., :2]),
        "of a kind of one that is not read, such as a TIFF",
    ),
    "preview": ("a.tif", lambda p: write_tiff(p, MASK, pages=[[(254, 4, 1, 1)]]), "preview"),
    **{
        f"frames of {kind}": (f"a.{kind.lower()}", save_frames(kind), "holds 2 images")
        for kind in ("TIFF", "PNG", "GIF", "WEBP")
    },
    "HEIC": ("a.heic", lambda p: p.write_bytes(b"\0\0\0\x18ftypheic" + bytes(50)), "HEIC"),
}


@pytest.mark.parametrize(("name", "write", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_images_of_which_a_part_would_be_read_are_refused(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}.*{message}.*save"):
        read_image(tmp_path / name)


def test_what_is_no_loss_is_read(tmp_path):
    """A GeoTIFF's overviews, a phone's previews, opaque alpha, grey of few bits."""
    tiff, mpo, pnm = tmp_path / "a.tif", tmp_path / "a.jpg", tmp_path / "a.ppm"
    write_tiff(tiff, IMAGE, photometric=2, pages=[(), [(254, 4, 1, 1)]])
    assert np.array_equal(read_image(tiff), IMAGE)
    opaque = np.dstack([IMAGE, np.full_like(MASK, 255)])
    write_tiff(tiff, opaque, photometric=2, more=[(338, 3, 1, 2)])
    assert np.array_equal(read_image(tiff), IMAGE)
    frames = [Image.new("RGB", (9, 6), colour) for colour in ("white", "black")]
    frames[0].save(mpo, "MPO", save_all=True, append_images=frames[1:])
    assert read_image(mpo).min() > 250
    write_pnm(pnm, b"P6", 255, IMAGE)
    assert np.array_equal(read_image(pnm), IMAGE)
    write_tiff(tiff, MASK, bits=2)
    assert np.array_equal(read_image(tiff)[..., 0], MASK * 85)  # white is white


def test_no_program_is_started_for_what_calls_itself_png(tmp_path, monkeypatch):
    def start(*_, **__):
        raise AssertionError("Pillow starts Ghostscript")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", start)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 6\n%%EndComments\nshowpage\n%%EOF\n"
    )
    for read in (read_image, read_mask, lambda p: read_input(p, DEPTH)):
        with pytest.raises(InputError, match=r"a\.png is a document, not an image"):
            read(path)


@pytest.mark.parametrize("orientation", UPRIGHT)
class TestOrientation:
    def test_every_layer_stands_as_its_own_tag_says(self, tmp_path, orientation):
        exif, upright = tagged(orientation), UPRIGHT[orientation]
        path = tmp_path / "a.png"
        save(MASK, exif=exif)(path)
        assert np.array_equal(read_mask(path), upright(MASK))
        assert exif_orientation(path) == orientation
        save(IMAGE, exif=exif)(path)
        assert np.array_equal(read_image(path), upright(IMAGE))
        assert np.array_equal(read_input(path, Input("hha", 3)), upright(IMAGE))
        deep = MASK.astype(np.uint16) + 300
        save(deep, exif=exif)(path)
        turned = read_input(path, DEPTH)[..., 0]
        save(upright(deep))(path)
        assert np.array_equal(turned, read_input(path, DEPTH)[..., 0])
        assert exif_orientation(path) == 1

    @pytest.mark.parametrize("compression", [1, 8])
    def test_tiffs_are_turned_once(self, tmp_path, orientation, compression):
        """Pillow garbles those without compression that lie on their side, if it opens them."""
        path = tmp_path / "a.tif"
        write_tiff(path, MASK, compression=compression, more=[(274, 3, 1, orientation)])
        assert np.array_equal(read_mask(path), UPRIGHT[orientation](MASK))
        assert np.array_equal(read_image(path)[..., 1], UPRIGHT[orientation](MASK))


class TestTurnedFolders:
    @pytest.fixture
    def turned(self, folder):
        """The image of a stands upright by its tag alone."""
        path = folder / "images" / "a.png"
        pixels = np.array(Image.open(path))
        Image.fromarray(pixels.swapaxes(0, 1)[::-1].copy()).save(path, exif=tagged(6))
        assert np.array_equal(read_image(path), pixels)
        return folder

    def test_an_upright_mask_without_a_tag_fits(self, turned):
        assert check(open_folder(turned)).problems == ()

    def test_a_mask_as_the_sensor_saw_it_is_not_to_be_resized(self, turned):
        path = turned / "masks" / "a.png"
        raw = np.array(Image.open(path)).T[::-1].copy()
        Image.fromarray(raw).save(path)
        (problem,) = check(open_folder(turned)).problems
        assert "a.png" in problem
        assert "EXIF" in problem
        assert "by nearest neighbour" not in problem
        Image.fromarray(raw).save(path, exif=tagged(6))
        assert check(open_folder(turned)).problems == ()

    def test_a_further_input_as_the_sensor_saw_it_is_told_too(self, turned):
        for path in (turned / "images").iterdir():
            save(np.array(Image.open(path))[..., 0])(_below(turned, "grey") / path.name)
        (problem,) = check(open_folder(turned, inputs="grey")).problems
        assert "EXIF" in problem

    def test_masks_that_are_read_otherwise_now_have_another_fingerprint(self, folder):
        before = open_folder(folder).fingerprint()
        path = folder / "masks" / "a.png"
        content = path.read_bytes()
        save(np.array(Image.open(path)), exif=tagged(3))(path)
        marked = path.read_bytes()
        dataset = open_folder(folder)
        rows = {row[1]: row for row in dataset.content()}
        assert rows["a"][-1] == [3]
        assert len(rows["b"]) == len(rows["a"]) - 1
        path.write_bytes(content)
        assert open_folder(folder).fingerprint() == before
        assert content != marked


def _below(root, name):
    (root / name).mkdir(exist_ok=True)
    return root / name


def test_depth_is_read_exactly_or_refused(tmp_path):
    path = tmp_path / "a.pgm"
    values = MASK.astype(np.uint16) * 1000 + 300
    write_pnm(path, b"P5", 65535, values)
    exact = read_input(path, DEPTH)
    save(values)(tmp_path / "a.png")
    assert np.array_equal(exact, read_input(tmp_path / "a.png", DEPTH))
    write_pnm(path, b"P5", 4095, values)
    with pytest.raises(InputError, match=r"greatest value 4095.*save depth as PNG"):
        read_input(path, DEPTH)
    save(values)(tmp_path / "a.jp2")
    with pytest.raises(InputError, match="JPEG2000, which changes depth"):
        read_input(tmp_path / "a.jp2", DEPTH)


def test_a_grey_palette_means_its_greys(tmp_path):
    """Programs that make PNGs small order palettes as they like."""
    path = tmp_path / "a.png"
    greys = np.array([200, 7, 90, 30], dtype=np.uint8)
    grey = Image.fromarray(MASK)
    grey.putpalette(np.repeat(greys, 3).tobytes())
    grey.save(path)
    assert np.array_equal(read_input(path, Input("infrared", 1))[..., 0], greys[MASK])
    save_palette(path)
    with pytest.raises(InputError, match=r"a\.png has a palette of colours"):
        read_input(path, Input("infrared", 1))


def test_fingerprints_of_what_was_read_right_stay(tmp_path):
    """Those of the version before files were looked at, of files that are the same everywhere."""
    for i, stem in enumerate(("day/a", "b", "c.d")):
        pixels = (np.arange(144).reshape(6, 8, 3) * (i + 1) % 251).astype(np.uint8)
        layers = {"images": pixels, "masks": pixels[..., 0] % 3, "side": pixels[..., 0] % 2}
        for kind, layer in {**layers, "grey": pixels[..., 1]}.items():
            path = tmp_path / kind / f"{stem}.{'ppm' if kind == 'images' else 'pgm'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            head = b"P6" if kind == "images" else b"P5"
            path.write_bytes(head + b" 8 6 255\n" + layer.tobytes())
    (tmp_path / "classes.txt").write_text("sea\nland\nsky\n")
    (tmp_path / "classes-side.txt").write_text("l\nr\n")
    (tmp_path / "train.txt").write_text("day/a\nb\n")
    (tmp_path / "test.txt").write_text("c.d\n")
    assert open_folder(tmp_path).fingerprint()[:16] == "3dc66015099dc004"
    rich = open_folder(tmp_path, inputs="grey", targets="side")
    assert rich.fingerprint()[:16] == "7caeedca2d4c30ce"
    assert check(rich).problems == ()


def test_a_caller_without_lists_is_not_told_of_lists(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(InputError, match=r"gone\.png is missing$"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(InputError, match="images is a folder"):
        read_image(tmp_path / "images")
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png is missing; restore it, or take it off the list"):
        open_folder(tmp_path).read("train", "a")


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        (b"\n<!DOCTYPE html><title>404</title>", "is a page of a web site"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC photograph"),
        (b"\xff\x0a\xfa\x1f", "is a JPEG XL"),
        (b"8BPS\0\1", "is a Photoshop file"),
        (b"PK\x03\x04", "is an archive: unpack it"),
        (b"\x93NUMPY\1", "is a file of arrays"),
        (b"\xff\xd8\xff\xe0\0\0", "cannot be decoded"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(tmp_path, head, said):
    path = tmp_path / "a.jpg"
    path.write_bytes(head)
    with pytest.raises(InputError, match=said) as refused, opened(path):
        pass
    assert str(refused.value).startswith(f"{path} ")
    assert len(str(refused.value).splitlines()) == 1
