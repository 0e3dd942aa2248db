"""Lists as people have them are read, or named for what they are; nothing else is seen."""

import unicodedata

import numpy as np
import pytest
from PIL import Image
from small_datasets import open_folder, write_layer

from bench.data.check import check
from bench.data.files import read_image, read_lines
from fcn.errors import InputError


@pytest.fixture
def expected(folder):
    return open_folder(folder).fingerprint()


@pytest.mark.parametrize(
    "line",
    ["{}.png", "{}.PNG", "{}.jpg", "images/{}.png", "images/{}", "./{}", "images\\{}.png"],
)
def test_an_entry_with_more_than_the_stem_means_the_stem(folder, expected, line):
    for split in ("train", "val", "test"):
        stems = (folder / f"{split}.txt").read_text().split()
        (folder / f"{split}.txt").write_text("\r\n".join(map(line.format, stems)))
    assert open_folder(folder).fingerprint() == expected


def test_a_stem_that_looks_like_more_is_taken_as_it_stands(folder):
    for kind in ("images", "masks"):
        (folder / kind / "a.png").rename(folder / kind / "a.png.png")
    (folder / "train.txt").write_text("a.png\nb.png\n")
    dataset = open_folder(folder)
    assert dataset.splits["train"] == ("a.png", "b")
    assert check(dataset).problems == ()


def test_folders_may_be_written_with_backslashes(folder):
    for kind in ("images", "masks"):
        (folder / kind / "day").mkdir()
        (folder / kind / "a.png").rename(folder / kind / "day" / "a.png")
    (folder / "train.txt").write_text("day\\a.png\nb\n")
    dataset = open_folder(folder)
    assert dataset.splits["train"] == ("day/a", "b")
    assert check(dataset).problems == ()


@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize("image", ["NFC", "NFD"])
@pytest.mark.parametrize("mask", ["NFC", "NFD"])
def test_composed_and_decomposed_names_are_one(folder, listed, image, mask):
    for kind, form in (("images", image), ("masks", mask)):
        name = unicodedata.normalize(form, "café.png")
        (folder / kind / "a.png").rename(folder / kind / name)
    stem = unicodedata.normalize(listed, "café")
    (folder / "train.txt").write_text(f"{stem}\nb\n", encoding="utf-8")
    dataset = open_folder(folder)
    assert dataset.splits["train"] == (stem, "b")
    assert check(dataset).problems == ()


@pytest.mark.parametrize(
    "line",
    [
        "images/a.png masks/a.png",
        "a.png\tb.png",
        "a,b",
        '"my images/a.png","gt/a.png"',
        "left images/a.left.png\tgt/a.gt.png",
        "a  -1",
    ],
)
def test_pairs_are_named_for_what_they_are(folder, line):
    (folder / "train.txt").write_text(f"{line}\n{line}\nb\n")
    with pytest.raises(InputError, match=r"train\.txt has the line .*1 lines like it.*as its stem"):
        open_folder(folder)


def test_names_may_hold_spaces_and_commas(folder):
    for kind in ("images", "masks"):
        (folder / kind / "a.png").rename(folder / kind / "b, the 2nd.v1.png")
    (folder / "train.txt").write_text("b, the 2nd.v1\nb\n")
    assert check(open_folder(folder)).problems == ()


@pytest.mark.parametrize("line", ["../a", "/a", "x/../../a", "..\\a", "C:\\data\\a.png", "\\a"])
def test_no_entry_leads_out_of_the_folder(folder, line):
    (folder / "train.txt").write_text(line)
    with pytest.raises(InputError, match=r"train\.txt lists .*without \.\."):
        open_folder(folder)


def test_two_dots_in_a_name_are_no_way_up(folder):
    for kind in ("images", "masks"):
        (folder / kind / "a.png").rename(folder / kind / "a..b.png")
    (folder / "train.txt").write_text("a..b\n")
    assert check(open_folder(folder)).problems == ()


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_no_listed_stem_in_a_folder_is_one_paragraph(folder, kind):
    for path in list((folder / kind).iterdir()):
        path.rename(path.with_stem(f"{path.stem}_x"))
    with pytest.raises(InputError, match=rf"{kind} has no file of a listed stem: 'a' .*a_x\.png"):
        open_folder(folder)


def test_only_listed_files_count(folder, expected):
    for name in ("a.json", "a.tfw", "a.xcf", "Thumbs.db", "notes", "._a.png", "a.png.aux.xml"):
        for kind in ("images", "masks"):
            (folder / kind / name).write_bytes(b"x")
    for suffix in (".jpg", ".png", ".bmp"):
        Image.new("RGB", (4, 4)).save(folder / "images" / f"old{suffix}")
    dataset = open_folder(folder)
    assert dataset.fingerprint() == expected
    assert check(dataset).problems == ()


def test_images_behind_links_to_folders_are_found(folder, tmp_path_factory):
    """Links back up and round in a ring end nothing."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for kind in ("images", "masks"):
        (elsewhere / kind).mkdir()
        Image.open(folder / kind / "a.png").save(elsewhere / kind / "a.bmp")
        (folder / kind / "day").symlink_to(elsewhere / kind)
        (folder / kind / "up").symlink_to(folder)
        (elsewhere / kind / "ring").symlink_to(folder / kind)
        (folder / kind / "nowhere").symlink_to("nothing")
    (folder / "train.txt").write_text("day/a\nb\n")
    dataset = open_folder(folder)
    assert [path.as_posix() for path in dataset.files["train", "day/a"]] == [
        "images/day/a.bmp",
        "masks/day/a.bmp",
    ]
    assert check(dataset).problems == ()


def test_two_images_of_a_listed_stem_are_named(folder):
    Image.new("RGB", (4, 4)).save(folder / "masks" / "b.BMP")
    with pytest.raises(InputError, match=r"b\.BMP and .*b\.png have one stem; rename or remove"):
        open_folder(folder)


def test_the_first_listed_file_says_what_a_further_input_is(folder):
    for path in (folder / "images").iterdir():
        size = read_image(path).shape[:2]
        write_layer(folder / "depth" / path.name, np.full(size, 900, dtype=np.uint16))
    write_layer(folder / "depth" / "Legend.png", np.zeros((4, 4, 3), dtype=np.uint8))
    (folder / "depth" / "A.db").write_bytes(b"x")
    dataset = open_folder(folder, inputs="depth")
    assert dataset.more_inputs[0].channels == 1
    assert check(dataset).problems == ()


@pytest.mark.parametrize(("blue", "channels"), [(0, 3), (9, 1)])
def test_a_further_input_with_a_palette_is_what_it_shows(folder, blue, channels):
    for path in (folder / "images").iterdir():
        layer = Image.fromarray(np.zeros(read_image(path).shape[:2], dtype=np.uint8))
        layer.putpalette([9, 9, blue])
        (folder / "more").mkdir(exist_ok=True)
        layer.save(folder / "more" / path.name)
    dataset = open_folder(folder, inputs="more")
    assert dataset.more_inputs[0].channels == channels
    layer = dataset.read_input("train", "a", dataset.more_inputs[0])
    assert layer[0, 0].tolist() == [9, 9, blue][-channels:]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_list_in_utf_16_is_named_for_what_it_is(folder, encoding):
    for name in ("train.txt", "classes.txt"):
        text = (folder / name).read_text()
        (folder / name).write_text(text, encoding=encoding)
        with pytest.raises(InputError, match=rf"{name} is not UTF-8 text; save it as UTF-8"):
            open_folder(folder)
        (folder / name).write_text(text)


def test_a_class_may_hold_any_mark_but_the_end_of_a_line(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeffa\u2028b\r\n\r\nc\x0cd\ne".encode())
    assert read_lines(path) == ["a\u2028b", "c\x0cd", "e"]
