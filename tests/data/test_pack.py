"""Packing: what goes in comes out, and whatever cannot be used is named."""

import json
import shutil
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from small_datasets import open_folder

from bench.data.files import MAX_PIXELS, read_image, read_mask
from bench.data.packs.pack import check, open_pack, pack
from bench.data.registry import DATASETS, open_dataset
from bench.spec import DataSpec
from fcn.errors import InputError


@pytest.mark.parametrize("name", list(DATASETS))
def test_pack_gives_what_reading_gives(name, make_dataset, tmp_path):
    dataset = make_dataset(name)
    packed = pack(dataset, tmp_path / "packs")
    seen = 0
    for split, names in dataset.splits.items():
        assert [packed.name(i) for i in packed.indices(split)] == list(names)
        total = np.zeros(256, dtype=int)
        for i, name in zip(packed.indices(split), names, strict=True):
            image, target = dataset.read(split, name)
            assert np.array_equal(packed.image(i), image)
            assert np.array_equal(packed.target(i), target)
            assert packed.size(i) == target.shape
            total += np.bincount(target.ravel(), minlength=256)
            seen += 1
        assert packed.class_counts(split).tolist() == total[: packed.num_classes].tolist()
        assert packed.image_class_counts(split).shape == (len(names), packed.num_classes)
    assert len(packed) == seen
    assert packed.class_names == dataset.class_names
    assert packed.palette == dataset.palette
    assert packed.ignore_index == dataset.ignore_index
    assert packed.fingerprint == dataset.fingerprint()
    assert packed.folder.name == packed.fingerprint[:16]


def test_a_pack_cannot_be_written_through(folder, tmp_path):
    packed = pack(open_folder(folder), tmp_path / "packs")
    with pytest.raises(ValueError, match="read-only"):
        packed.image(0)[0, 0, 0] = 1


def test_packing_twice_or_at_once_leaves_one_pack(folder, tmp_path):
    dataset = open_folder(folder)
    with ThreadPoolExecutor(4) as pool:
        packs = list(pool.map(lambda _: pack(dataset, tmp_path / "packs"), range(4)))
    assert len({p.folder for p in packs}) == 1
    assert [p.name for p in (tmp_path / "packs").iterdir()] == [packs[0].folder.name]


@pytest.mark.parametrize("names", ["depth depth", "depth Depth"])
def test_layers_that_would_be_one_file_are_refused_before_anything_is_read(
    folder, tmp_path, names, monkeypatch
):
    """The second where capitals do not count: on disks of macOS and Windows."""
    for name in names.split():
        shutil.copytree(folder / "masks", folder / name, dirs_exist_ok=True)
    dataset = open_dataset(DataSpec(dataset="folder", options={"inputs": names}), folder)
    monkeypatch.setattr("bench.data.packs.packing.check", pytest.fail)
    with pytest.raises(InputError, match=f"{' and '.join(names.split())}, which would be one"):
        pack(dataset, tmp_path / "packs")
    assert list((tmp_path / "packs").iterdir()) == []


def test_unknown_split_names_the_known(folder, tmp_path):
    packed = pack(open_folder(folder), tmp_path / "packs")
    with pytest.raises(InputError, match="no split 'tset'; it has train, val, test"):
        packed.indices("tset")


def test_absent_or_damaged_pack_says_what_to_do(folder, tmp_path):
    with pytest.raises(InputError, match="is not decoded in this store"):
        open_pack(tmp_path, "0" * 64)
    packed = pack(open_folder(folder), tmp_path / "packs")
    content = (packed.folder / "images.bin").read_bytes()
    (packed.folder / "images.bin").write_bytes(content[:-1])
    with pytest.raises(InputError, match="delete it"):
        open_pack(tmp_path / "packs", packed.fingerprint)


def test_a_pack_of_an_earlier_version_is_read_without_checksums(folder, tmp_path):
    packed = pack(open_folder(folder), tmp_path / "packs")
    path = packed.folder / "index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    content = (packed.folder / "images.bin").read_bytes()
    first = index["pictures"][0]
    assert first["checksums"][0] == zlib.crc32(content[: 3 * first["height"] * first["width"]])
    for image in index["pictures"]:
        del image["checksums"]
    del index["own_sha256"]
    path.write_text(json.dumps(index), encoding="utf-8")
    (packed.folder / "images.bin").write_bytes(bytes([content[0] ^ 1]) + content[1:])
    again = open_pack(tmp_path / "packs", packed.fingerprint)
    assert again.image(0)[0, 0, 0] == content[0] ^ 1  # read, as it was in that version


def save_mask(pixels, mode=None):
    return lambda path: Image.fromarray(np.asarray(pixels), mode=mode).save(path)


def flip_size(path):
    Image.fromarray(np.zeros((24, 20), dtype=np.uint8)).save(path)


def png_claiming(path, width, height):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


LABEL_200 = np.full((20, 24), 200, dtype=np.uint8)
BAD = {
    "missing image": ("images", lambda p: p.unlink(), "is missing; restore it"),
    "missing mask": ("masks", lambda p: p.unlink(), "is missing; restore it"),
    "half a file": ("images", half, "cannot be decoded"),
    "no image": ("images", lambda p: p.write_text("hello"), "cannot be decoded"),
    "empty file": ("masks", lambda p: p.write_bytes(b""), "is empty, as downloads"),
    "another size": ("masks", flip_size, "24x20 and its mask 20x24 pixels"),
    "label out of range": ("masks", save_mask(LABEL_200), r"holds 200 \(480 pixels\).*0\.\.2"),
    "16-bit mask": ("masks", save_mask(LABEL_200.astype(np.uint16)), "more than 8 bits"),
    "RGB mask": ("masks", save_mask(np.zeros((20, 24, 3), np.uint8)), "holds colours"),
    "16-bit image": ("images", save_mask(LABEL_200.astype(np.uint16)), "8-bit RGB or grey"),
    "transparent": ("images", save_mask(np.zeros((20, 24, 4), np.uint8)), "transparent"),
    "large": ("images", lambda p: png_claiming(p, 12000, 12000), f"{MAX_PIXELS} are allowed"),
    "huge": ("images", lambda p: png_claiming(p, 20000, 20000), f"{MAX_PIXELS} are allowed"),
}


@pytest.mark.parametrize(("part", "damage", "message"), BAD.values(), ids=BAD)
def test_bad_file_is_named_with_the_way_out(folder, tmp_path, part, damage, message):
    path = folder / part / "b.png"
    damage(path)
    problems = check(open_folder(folder)).problems
    assert len(problems) == 1
    assert str(path) in problems[0]
    with pytest.raises(InputError, match=message):
        check(open_folder(folder)).raise_problems()
    with pytest.raises(InputError, match=r"b\.png"):
        pack(open_folder(folder), tmp_path / "packs")
    assert not list(tmp_path.glob("packs/*"))


def test_all_problems_come_at_once(folder):
    (folder / "images" / "a.png").write_text("hello")
    (folder / "masks" / "c.png").unlink()
    (folder / "test.txt").write_text("\n")
    with pytest.raises(InputError, match="3 problems") as caught:
        check(open_folder(folder)).raise_problems()
    assert all(text in str(caught.value) for text in ("a.png", "c.png", "split 'test'"))


def test_problems_of_one_kind_are_one_line_however_many(folder):
    for number in (2, 20, 1989):
        (folder / "val.txt").write_text("\n".join(f"gone{k}" for k in range(number)))
        with pytest.raises(InputError, match=f"{number:,} problems") as caught:
            check(open_folder(folder)).raise_problems()
        _, line = str(caught.value).splitlines()
        assert line.count("is missing") == 1
        more = {2: "1 more: gone1.png)", 20: "19 more: gone1.png, gone2.png, and 17 more)"}
        more[1989] = "1,988 more: gone1.png, gone2.png, and 1,986 more)"
        assert line.endswith(f"(the same in {more[number]}")
    (folder / "masks" / "a.png").write_text("hello")
    with pytest.raises(InputError, match="1,990 problems") as caught:
        check(open_folder(folder)).raise_problems()
    assert [("cannot be decoded" in line) for line in str(caught.value).splitlines()] == [0, 1, 0]


def test_a_stem_listed_twice_is_refused(folder):
    (folder / "train.txt").write_text("a\nb\na\n")
    with pytest.raises(InputError, match=r"a\.png .* is listed 2 times"):
        check(open_folder(folder)).raise_problems()


def test_identical_images_within_a_split_are_counted(folder):
    Image.open(folder / "images" / "a.png").save(folder / "images" / "b.png")
    report = check(open_folder(folder))
    assert report.problems == ()
    row = next(row for row in report.rows() if row["number"] == "identical images")
    assert row["train"] == 1


@pytest.mark.parametrize(("depth", "per_byte"), [(2, 4), (4, 2)])
def test_few_bit_grey_labels_are_not_stretched(tmp_path, depth, per_byte):
    path = tmp_path / "m.png"
    Image.fromarray(np.array([[0, 1, 2, 3]], dtype=np.uint8)).save(path)
    bits = "".join(f"{value:0{depth}b}" for value in range(4))
    row = b"\0" + int(bits, 2).to_bytes(4 // per_byte, "big")

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(row))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))
    assert read_mask(path).tolist() == [[0, 1, 2, 3]]


def test_palette_masks_give_indices_and_images_stand_upright(tmp_path):
    mask = Image.fromarray(np.array([[0, 2]], dtype=np.uint8))
    mask.putpalette([9, 9, 9, 8, 8, 8, 7, 7, 7])
    mask.save(tmp_path / "p.png")
    assert read_mask(tmp_path / "p.png").tolist() == [[0, 2]]
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (30, 20)).save(tmp_path / "phone.jpg", exif=exif)
    assert read_image(tmp_path / "phone.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "CMYK"])
def test_images_of_any_8_bit_mode_are_read(tmp_path, mode):
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.new("RGB", (5, 4), "white").convert(mode).save(path)
    assert (read_image(path) == np.full((4, 5, 3), 255)).all()
