"""`classes.yaml`: values and colours become the right classes; what it leaves open is refused."""

import numpy as np
import pytest
from PIL import Image
from small_datasets import open_folder, write_folder

from bench.data.check import check
from bench.data.class_map import ClassMap
from bench.data.packs.pack import pack
from fcn.errors import InputError

SIZE = (12, 16)
COLOURS = {0: (0, 0, 0), 1: (200, 10, 10), 2: (10, 200, 10), 9: (255, 255, 255)}


def draw(seed, values):
    """A mask in which each value holds a block of its own, so that JPEG leaves most of it alone."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.permutation(np.resize(values, 4)).reshape(2, 2), np.ones((6, 8), int))


def write(root, masks, text, *, images="images/{stem}.png", name="masks/{stem}.png"):
    """Write a folder: an image and a mask, as `save` makes it, for each stem; all in train."""
    for k, (stem, save) in enumerate(masks.items()):
        image = np.random.default_rng(k).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        for pattern, keep in ((images, Image.fromarray(image).save), (name, save)):
            path = root / pattern.replace("{stem}", stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            keep(path)
    (root / "classes.yaml").write_text(text)
    (root / "splits.yaml").write_text(f"train: {list(masks)}")
    return root


def read(root, stem="a"):
    return open_folder(root).read("train", stem)[1]


class TestValues:
    def test_many_to_one_several_to_void_and_0_to_void(self, tmp_path):
        values = draw(0, [0, 7, 8, 33])
        text = "classes: {land: [7, 8], sky: {values: 33}}\nvoid: [0, 255]"
        write(tmp_path, {"a": Image.fromarray(values.astype(np.uint8)).save}, text)
        wanted = {0: 255, 7: 0, 8: 0, 33: 1}
        assert read(tmp_path).tolist() == [[wanted[v] for v in row] for row in values.tolist()]

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_0_and_255_are_two_classes(self, tmp_path, dtype):
        values = draw(1, [0, 255])
        save = Image.fromarray(values.astype(dtype)).save
        write(tmp_path, {"a": save}, "classes: {street: 255, rest: 0}")
        assert (read(tmp_path) == (values == 0)).all()

    def test_sixteen_bits_are_read_whole(self, tmp_path):
        values = draw(2, [3, 256 + 3, 40_000, 65_535])
        text = "classes: {a: 3, b: 259, c: 40000}\nvoid: [65535]"
        write(tmp_path, {"a": Image.fromarray(values.astype(np.uint16)).save}, text)
        wanted = {3: 0, 259: 1, 40_000: 2, 65_535: 255}
        assert read(tmp_path).tolist() == [[wanted[v] for v in row] for row in values.tolist()]

    def test_grey_saved_as_rgb_holds_values(self, tmp_path):
        grey = Image.fromarray(draw(3, [0, 1]).astype(np.uint8))
        text = "classes: {a: 0, b: 1}"
        write(tmp_path, {"a": grey.save, "b": grey.convert("RGB").save}, text)
        assert np.array_equal(read(tmp_path, "a"), read(tmp_path, "b"))

    def test_alpha_holds_the_mask_also_in_the_image_itself(self, tmp_path):
        values = draw(4, [0, 255])
        rgba = np.dstack([*[np.full(SIZE, 90)] * 3, values]).astype(np.uint8)
        text = "images: cut/{stem}.png\nmasks: cut/{stem}.png\nchannel: alpha\n"
        text += "classes: {background: 0, thing: 255}"
        write(tmp_path, {"a": Image.fromarray(rgba).save}, text, images="cut/{stem}.png")
        Image.fromarray(rgba).save(tmp_path / "cut" / "a.png")
        image, mask = open_folder(tmp_path).read("train", "a")
        assert (mask == (values == 255)).all()
        assert (image == 90).all()

    def test_unlisted_values_are_named_or_void(self, tmp_path):
        values = draw(5, [0, 1, 99])
        save = Image.fromarray(values.astype(np.uint8)).save
        write(tmp_path, {"a": save}, "classes: {a: 0, b: 1}")
        count = int((values == 99).sum())
        with pytest.raises(InputError, match=rf"a\.png holds the values 99 \({count} pixels\), of"):
            read(tmp_path)
        write(tmp_path, {"a": save}, "classes: {a: 0, b: 1}\nothers: void")
        assert ((read(tmp_path) == 255) == (values == 99)).all()


class TestColours:
    TEXT = (
        "classes:\n  rest: {colours: ['#000000']}\n  red: {colours: [[200, 10, 10]]}\n"
        "  green: {colours: [[10, 200, 10]], shown: [1, 2, 3]}\nvoid: [[255, 255, 255]]"
    )

    @pytest.fixture
    def painted(self):
        values = draw(6, [0, 1, 2, 9])
        rgb = np.array([[COLOURS[v] for v in row] for row in values.tolist()], dtype=np.uint8)
        return np.where(values == 9, 255, values), Image.fromarray(rgb)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
    def test_colours_are_classes_in_any_mode(self, tmp_path, painted, mode):
        wanted, image = painted
        write(
            tmp_path,
            {"a": (image.quantize() if mode == "P" else image.convert(mode)).save},
            self.TEXT,
        )
        assert np.array_equal(read(tmp_path), wanted)
        dataset = open_folder(tmp_path)
        assert dataset.palette == ((0, 0, 0), (200, 10, 10), (1, 2, 3))

    def test_a_transparent_pixel_has_a_name(self, tmp_path, painted):
        wanted, image = painted
        rgba = image.convert("RGBA")
        rgba.putalpha(Image.fromarray(np.where(wanted == 255, 0, 255).astype(np.uint8)))
        text = self.TEXT.replace("[[255, 255, 255]]", "[transparent]")
        write(tmp_path, {"a": rgba.save}, text)
        assert np.array_equal(read(tmp_path), wanted)

    def test_a_jpeg_is_refused_until_it_is_to_be_snapped(self, tmp_path, painted):
        _, image = painted
        save = lambda path: image.save(path, quality=70)  # noqa: E731
        write(
            tmp_path,
            {"a": save},
            f"masks: masks/{{stem}}.jpg\n{self.TEXT}",
            name="masks/{stem}.jpg",
        )
        assert "is a JPEG, which changes masks" in check(open_folder(tmp_path)).problems[0]
        text = f"masks: masks/{{stem}}.jpg\nsnap: lossy\n{self.TEXT}"
        write(tmp_path, {"a": save}, text, name="masks/{stem}.jpg")
        report = check(open_folder(tmp_path))
        stored = np.asarray(Image.open(tmp_path / "masks" / "a.jpg").convert("RGB"), dtype=int)
        palette = np.array(list(COLOURS.values()))
        distance = ((stored[..., None, :] - palette) ** 2).sum(-1)
        nearest = np.array([0, 1, 2, 255])[distance.argmin(-1)]
        assert np.array_equal(read(tmp_path), nearest)
        moved = int((distance.min(-1) > 0).sum())
        assert report.images[0].num_moved == moved > 0
        share = 100 * moved / stored[..., 0].size
        assert any(f"{share:.3g} % of the pixels" in text for text in report.remarks())

    def test_a_lossless_mask_is_not_snapped_unless_all_are(self, tmp_path, painted):
        _, image = painted
        off = Image.fromarray(np.asarray(image) // 2)
        write(tmp_path, {"a": off.save}, f"snap: lossy\n{self.TEXT}")
        with pytest.raises(InputError, match=r"holds the colours \[\d"):
            read(tmp_path)
        write(tmp_path, {"a": off.save}, f"snap: all\n{self.TEXT}")
        assert set(np.unique(read(tmp_path))) <= {0, 1, 2, 255}

    def test_the_map_is_part_of_the_fingerprint_and_display_is_not(self, tmp_path, painted):
        write(tmp_path, {"a": painted[1].save}, self.TEXT)
        before = open_folder(tmp_path).fingerprint()
        write(tmp_path, {"a": painted[1].save}, self.TEXT.replace("[1, 2, 3]", "[3, 2, 1]"))
        assert open_folder(tmp_path).fingerprint() == before
        swapped = self.TEXT.replace("[200, 10, 10]", "[10, 200, 11]")
        write(tmp_path, {"a": painted[1].save}, swapped)
        assert open_folder(tmp_path).fingerprint() != before


class TestPatterns:
    @pytest.mark.parametrize(
        ("images", "masks"),
        [
            ("images/{stem}.png", "masks/{stem}.png"),
            ("all/{stem}.png", "all/{stem}_mask.png"),
            ("left images/{stem}.left.png", "gt/{stem}.gt.labelIds.png"),
            ("x/{stem}/image.png", "x/{stem}/mask.png"),
        ],
    )
    @pytest.mark.parametrize("stem", ["a", "süd/größe.1", "a b", "c.d.e"])
    def test_any_place_is_found_and_none_moves_the_fingerprint(self, tmp_path, images, masks, stem):
        save = Image.fromarray(draw(7, [0, 1]).astype(np.uint8)).save
        text = f"images: '{images}'\nmasks: '{masks}'\nclasses: {{a: 0, b: 1}}"
        root = write(tmp_path / "one", {stem: save}, text, images=images, name=masks)
        moved = tmp_path / "two" / "deeper"
        moved.mkdir(parents=True)
        (moved / "splits.yaml").write_bytes((root / "splits.yaml").read_bytes())
        text = f"images: '../../one/{images}'\nmasks: '../../one/{masks}'\nclasses: {{a: 0, b: 1}}"
        (moved / "classes.yaml").write_text(text)
        assert open_folder(root).splits["train"] == (stem,)
        assert check(open_folder(root)).problems == ()
        assert open_folder(moved).fingerprint() == open_folder(root).fingerprint()

    def test_hidden_files_masks_and_any_case_of_an_ending(self, tmp_path):
        save = Image.fromarray(draw(8, [0, 1]).astype(np.uint8)).save
        text = "images: all/{stem}.*\nmasks: all/{stem}_mask.png\nclasses: {a: 0, b: 1}"
        write(tmp_path, {"a": save}, text, images="all/{stem}.png", name="all/{stem}_mask.png")
        (tmp_path / "all" / "a.png").rename(tmp_path / "all" / "a.PNG")
        (tmp_path / "all" / "a_mask.png").rename(tmp_path / "all" / "a_mask.Png")
        for junk in (".DS_Store", "Thumbs.db", "._a.png", "._a_mask.png", "notes.txt"):
            (tmp_path / "all" / junk).write_bytes(b"x")
        dataset = open_folder(tmp_path)
        assert [path.name for path in dataset.files["train", "a"]] == ["a.PNG", "a_mask.Png"]

    def test_pairs_of_unlike_names_are_listed(self, tmp_path):
        save = Image.fromarray(draw(9, [0, 1]).astype(np.uint8)).save
        text = "pairs: pairs.csv\nclasses: {a: 0, b: 1}"
        write(tmp_path, {"a": save}, text, images="one, two/{stem}1.png", name="m/{stem}2.png")
        (tmp_path / "pairs.csv").write_text('name,image,mask\na,"one, two/a1.png",m/a2.png\n')
        assert check(open_folder(tmp_path)).problems == ()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("images: nowhere", "no folder in .* and no pattern"),
            ("images: '*.png'", "write {stem} once"),
            ("images: nowhere/{stem}.png", "nowhere is no folder"),
            ("masks: masks/{stem}_gt.png", "no file is of that kind below"),
            ("pairs: nowhere.csv", r"nowhere\.csv cannot be read"),
            ("pairs: splits.yaml", "must open with the line name,image,mask"),
        ],
    )
    def test_what_means_no_file_is_refused(self, tmp_path, text, message):
        save = Image.fromarray(draw(9, [0, 1]).astype(np.uint8)).save
        write(tmp_path, {"a": save}, f"{text}\nclasses: {{a: 0, b: 1}}")
        with pytest.raises(InputError, match=message):
            open_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clases: {a: 0, b: 1}", "did you mean 'classes'"),
        ("classes: {a: 0}", "at least 2"),
        ("classes: {a: 0, b: 0}", "0 is both 'a' and 'b'"),
        ("classes: {a: 0, b: 1}\nvoid: [1]", "1 is both 'b' and 'void'"),
        ("classes: {a: 0, b: {shown: [1, 2, 3]}}", r"classes\.b: give it"),
        ("classes: {a: 0, b: {colours: [[1, 2, 3]]}}", "give all classes the one or the other"),
        ("classes: {a: 0, b: 1}\nvoid: [[1, 2, 3]]", "is none of the values"),
        ("classes: {a: 0, b: 70000}", "less than 65536"),
        ("classes: {a: {colours: [[1, 2, 3]]}, b: {colours: [white]}}", "classes.b.colours"),
        ("classes: {a: 0, b: 1}\nexif: maybe", "'apply' or 'ignore'"),
    ],
)
def test_a_classes_file_that_cannot_be_understood_is_refused(tmp_path, text, message):
    save = Image.fromarray(draw(9, [0, 1]).astype(np.uint8)).save
    write(tmp_path, {"a": save}, text)
    with pytest.raises(InputError, match=message):
        open_folder(tmp_path)


def test_two_files_of_classes_are_one_too_many(tmp_path):
    root = write_folder(tmp_path)
    (root / "classes.yaml").write_text("classes: {a: 0, b: 1}")
    with pytest.raises(InputError, match="keep one of them"):
        open_folder(root)


@pytest.mark.parametrize(("exif", "turned"), [("apply", True), ("ignore", False)])
def test_an_orientation_is_applied_to_both_or_to_neither(tmp_path, exif, turned):
    mask = Image.fromarray(draw(10, [0, 1, 2, 3]).astype(np.uint8))
    tag = Image.Exif()
    tag[0x0112] = 6
    text = f"exif: {exif}\nclasses: {{a: 0, b: 1, c: 2, d: 3}}"
    write(tmp_path, {"a": lambda path: mask.save(path, exif=tag)}, text)
    image = Image.open(tmp_path / "images" / "a.png").copy()
    image.save(tmp_path / "images" / "a.png", exif=tag)
    pixels, labels = open_folder(tmp_path).read("train", "a")
    # Orientation 6: the first row stored is the right edge of what was seen.
    right = [np.rot90(np.asarray(one), -1) if turned else np.asarray(one) for one in (image, mask)]
    assert np.array_equal(pixels, right[0])
    assert np.array_equal(labels, right[1])


def test_images_in_two_splits_are_said_or_an_error(tmp_path):
    save = Image.fromarray(draw(11, [0, 1]).astype(np.uint8)).save
    text = "classes: {a: 0, b: 1}\n"
    write(tmp_path, {"a": save, "b": save, "c": save}, text)
    (tmp_path / "splits.yaml").write_text("train: [a, b]\nval: [b, c]")
    report = check(open_folder(tmp_path))
    assert report.problems == ()
    assert any("train and val (1)" in remark for remark in report.remarks())
    (tmp_path / "classes.yaml").write_text(text + "duplicates: refuse")
    with pytest.raises(InputError, match="splits 'train' and 'val' have 1 image in common: 'b'"):
        pack(open_folder(tmp_path), tmp_path / "packs")


def test_nearest_is_the_nearest_of_all_listed():
    rng = np.random.default_rng(0)
    listed = rng.choice(1 << 24, 20, replace=False)
    mapping = ClassMap("colours", tuple((int(key),) for key in listed[:15]), tuple(listed[15:]))
    keys = rng.integers(0, 1 << 24, (20, 30)).astype(np.int32)

    def distance(a, b):
        return sum(((a >> shift & 255) - (b >> shift & 255)) ** 2 for shift in (0, 8, 16))

    found = mapping.nearest(keys)
    for key, near in zip(keys.ravel().tolist(), found.ravel().tolist(), strict=True):
        assert distance(key, near) == min(distance(key, int(other)) for other in listed)


def test_a_thousand_masks_of_colours_are_one_message(tmp_path):
    """The commonest kind of all: RGB masks where class indices are wanted."""
    root = write_folder(tmp_path / "my photographs")
    for stem in ("a", "b", "c", "d"):
        Image.open(root / "masks" / f"{stem}.png").convert("RGB").save(
            root / "masks" / f"{stem}.png"
        )
    names = [f"photo number {n}" for n in "abcdefghijklmnopqrstuvwxyz"]
    for name in names:
        for kind in ("images", "masks"):
            (root / kind / f"{name}.png").write_bytes((root / kind / "a.png").read_bytes())
    (root / "train.txt").write_text("\n".join(names))
    with pytest.raises(InputError) as refused:
        check(open_folder(root)).raise_problems()
    lines = str(refused.value).splitlines()
    assert len(lines) == 2
    assert "fcn-bench init" in lines[1]
    assert lines[1].endswith(
        "(the same in 27 more: photo number b.png, photo number c.png, and 25 more)"
    )
