"""Names, folders and lists as people have them: right pairs and splits, or the way out."""

import json
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from intake_samples import NAMES, draw, grey, photograph, save, take, write
from PIL import Image

from bench.data.intake import intake
from bench.data.intake.intake import Wishes
from bench.data.intake.named import WAYS_OUT, find_named
from bench.data.intake.pairing import pair
from fcn.errors import InputError


def mask(k):
    return grey(draw(k, [0, 1, 2]))


def pairs_of(root, images="images", masks="masks"):
    found = pair(find_named(str(root / images), "--i"), find_named(str(root / masks), "--m"))
    return {(p.image.relative_to(root).as_posix(), p.mask.relative_to(root).as_posix())
            for p in found.pairs}  # fmt: skip


def split_of(report):
    return {p.name: p.split for p in report.images}


class TestNames:
    @pytest.mark.parametrize(
        ("image", "mask_"),
        [
            ("images/IMG_{}.JPG", "masks/img_{}_mask.png"),
            ("images/{}.jpg", "masks/{}.jpg.png"),
            ("images/{}_sat.jpg", "masks/{}_Mask.PNG"),
            ("images/{}_training.tif", "masks/{}_manual1.gif"),
        ],
    )
    def test_capitals_and_double_endings(self, tmp_path, image, mask_):
        for k, name in enumerate(NAMES):
            save(tmp_path / image.format(name.upper()), photograph(k))
            cased = name if "IMG" in image else name.upper()
            save(tmp_path / mask_.format(cased), mask(k))
        found = pairs_of(tmp_path)
        assert {(i.casefold(), m.casefold()) for i, m in found} == {
            (image.format(n).casefold(), mask_.format(n).casefold()) for n in NAMES
        }

    def test_zeros_before_numbers(self, tmp_path):
        for k in range(1, 13):
            save(tmp_path / f"images/{k}.jpg", photograph(k))
            save(tmp_path / f"masks/{k:03}.png", mask(k))
        wanted = {(f"images/{k}.jpg", f"masks/{k:03}.png") for k in range(1, 13)}
        assert pairs_of(tmp_path) == wanted
        report, described, said = take(tmp_path, tmp_path)
        assert described["pairs"] == "pairs.csv"
        assert {p.name for p in report.images} == {str(k) for k in range(1, 13)}
        assert any("names differ in capitals, or in zeros" in line for line in said)

    def test_what_differs_in_capitals_alone_is_two_images(self, tmp_path):
        for name in ("a", "A", "b", "c"):
            save(tmp_path / f"images/{name}.jpg", photograph(1))
            save(tmp_path / f"masks/{name}_mask.png", mask(1))
        if len(list((tmp_path / "images").iterdir())) < 4:
            pytest.skip("this disk takes them for one")
        assert len(pairs_of(tmp_path)) == 4

    def test_words_before_numbers_tell_images_from_masks(self, tmp_path):
        for k in range(5):
            save(tmp_path / f"all/image_{k}.png", photograph(k))
            save(tmp_path / f"all/label_{k}.png", mask(k))
        wanted = {(f"all/image_{k}.png", f"all/label_{k}.png") for k in range(5)}
        assert pairs_of(tmp_path, "all", "all") == wanted

    @pytest.mark.parametrize(("images", "masks"), [("d", "d/masks"), ("d/x", "d")])
    def test_one_folder_in_the_other(self, tmp_path, images, masks):
        inner = {"images": "d/x/{}.jpg", "masks": "d/masks/{}.png"}
        if images == "d":
            inner["images"] = "d/{}.jpg"
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)}, inner["images"], inner["masks"])
        found = pair(
            find_named(str(tmp_path / images), "--i"), find_named(str(tmp_path / masks), "--m")
        )
        assert len(found.pairs) == len(NAMES)
        assert (found.lone_images, found.lone_masks) == ((), ())

    def test_a_name_that_is_not_utf8_is_passed_over_and_said(self, tmp_path):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)})
        odd = os.fsdecode(b"Stra\xdfe")
        (tmp_path / "images" / "a.jpg").rename(tmp_path / "images" / f"{odd}.jpg")
        (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / f"{odd}.png")
        table = tmp_path / f"{odd}.txt"
        table.write_text("sky\nroad\ncar\n")
        report, _, said = take(tmp_path, tmp_path, classes=table)
        assert {p.name for p in report.images} == set(NAMES) - {"a"}
        for kind, ending in (("images", "jpg"), ("masks", "png")):
            start = f"passed over in {tmp_path / kind}: 1 file, {odd}.{ending}, whose names"
            assert any(line.startswith(start) for line in said)
        with pytest.raises(InputError, match=r"but 1 file, .*\.jpg, whose names are not UTF-8"):
            find_named(str(tmp_path / "images" / f"{odd[:3]}*"), "--images")

    @pytest.mark.parametrize(
        ("place", "root", "said"),
        [
            ("mine", b"d\xff", r"--images: the folder \.\./d\\udcff/images"),
            (b"mine\xff", "d", r"the folder mine\\udcff"),
        ],
    )
    def test_a_folder_that_cannot_be_named_is_refused_before_images_are_read(
        self, tmp_path, monkeypatch, place, root, said
    ):
        root = tmp_path / os.fsdecode(root)
        write(root, {n: mask(k) for k, n in enumerate(NAMES)})
        monkeypatch.setattr(intake, "find_usable", pytest.fail)
        given = Wishes(str(root / "images"), str(root / "masks"))
        taking = intake.taken_in(tmp_path / os.fsdecode(place), given)
        with pytest.raises(InputError, match=rf"^{said} is not UTF-8, .*; rename it"), taking:
            pass

    def test_a_class_that_cannot_be_named_is_refused(self, tmp_path):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)})
        (tmp_path / "masks" / os.fsdecode(b"ro\xe2d")).mkdir()
        with pytest.raises(InputError, match=r"class ro\\udce2d is not UTF-8, .*; rename it"):
            take(tmp_path, tmp_path, source="folders")

    @pytest.mark.parametrize("images", ["images", "images/*"])
    def test_what_may_not_be_looked_at_is_named_and_hides_nothing(
        self, tmp_path, monkeypatch, images
    ):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)})
        closed = tmp_path / "images" / "b.jpg"
        look, may = Path.stat, os.access

        def refuse(path, **options):  # as of a link into a folder of somebody
            if path == closed:
                raise PermissionError(13, "Permission denied", str(path))
            return look(path, **options)

        monkeypatch.setattr(Path, "stat", refuse)
        monkeypatch.setattr(os, "access", lambda path, how: path != closed and may(path, how))
        report, _, said = take(tmp_path, tmp_path, images)
        assert {p.name for p in report.images} == set(NAMES) - {"b"}
        assert any(f"{closed} may not be read by this user" in line for line in said)

    def test_masks_of_equal_right_are_not_chosen_from(self, tmp_path):
        for k, name in enumerate(NAMES):
            save(tmp_path / f"images/{name}.jpg", photograph(k))
            for kind in ("road", "car"):
                save(tmp_path / f"masks/{name}_{kind}.png", mask(k))
        with pytest.raises(InputError, match=r"has several masks, a_car.png and a_road.png") as why:
            pairs_of(tmp_path)
        glob = str(why.value).split("--masks '")[1].split("'")[0]
        assert glob in {str(tmp_path / f"masks/*_{kind}.png") for kind in ("road", "car")}
        assert len(pair(find_named(str(tmp_path / "images"), "--i"), find_named(glob, "--m")).pairs)

    def test_names_without_anything_in_common_are_paired_by_a_list(self, tmp_path):
        lines = ["photo,annotation"]
        for k, name in enumerate(NAMES):
            save(tmp_path / f"images/{name}.jpg", photograph(k))
            save(tmp_path / f"masks/x{9 - k}.png", mask(k))
            lines.append(f"images/{name}.jpg,masks/x{9 - k}.png")
        (tmp_path / "all.csv").write_text("\r\n".join(lines))
        report, described, said = take(tmp_path, tmp_path)
        assert described["pairs"] == "pairs.csv"
        for name, number in zip(NAMES, range(9, 4, -1), strict=True):
            text = (tmp_path / "mine" / "pairs.csv").read_text()
            assert f"{name},../images/{name}.jpg,../masks/x{number}.png" in text
        assert any("pairs are from all.csv" in line for line in said)
        assert len(report.images) == 5

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ("images/{}.png", "a.jpg and a.png below .*--images"),
            ("masks/instance/{}.png", "instance/a.png and semantic/a.png below .*--masks"),
        ],
    )
    def test_several_files_of_one_name_are_said(self, tmp_path, more, message):
        for k, name in enumerate(NAMES):
            save(tmp_path / f"images/{name}.jpg", photograph(k))
            save(tmp_path / f"masks/semantic/{name}.png", mask(k))
            save(tmp_path / more.format(name), mask(k))
        with pytest.raises(InputError, match=message):
            pairs_of(tmp_path)

    def test_pages_of_one_file_are_said(self, tmp_path):
        first, *rest = [photograph(k).convert("L") for k in range(3)]
        for name in ("volume", "labels"):
            save(tmp_path / f"{name}.tif", first, save_all=True, append_images=rest)
        with pytest.raises(InputError, match=r"holds 3 images .*save each as a file of its own"):
            take(tmp_path, tmp_path, "volume.tif", "labels.tif")

    @pytest.mark.parametrize("ending", [".npy", ".json", ".zip", ".mp4", ".heic", ".nii"])
    def test_what_is_no_image_has_a_way_out(self, tmp_path, ending):
        for name in "ab":
            (tmp_path / f"{name}{ending}").write_bytes(b"x")
        with pytest.raises(InputError) as refused:
            find_named(str(tmp_path), "--masks")
        assert str(refused.value).endswith(f"its 2 {ending} files are {WAYS_OUT[ending]}")

    def test_what_is_no_image_among_images_is_said(self, tmp_path):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)})
        (tmp_path / "images/IMG_1.HEIC").write_bytes(b"x")
        (tmp_path / "masks/gone.png").symlink_to(tmp_path / "nowhere")
        _, _, said = take(tmp_path, tmp_path)
        way = WAYS_OUT[".heic"]
        assert f"passed over in {tmp_path / 'images'}: 1 file, IMG_1.HEIC, {way}" in said
        assert any("masks: 1 link, gone.png, leading nowhere" in line for line in said)

    def test_links_that_lead_nowhere_are_not_no_files_at_all(self, tmp_path):
        for name in "ab":
            (tmp_path / f"{name}.jpg").symlink_to(tmp_path / "annex" / name)
        with pytest.raises(
            InputError, match=r"but 2 links, such as a\.jpg, leading nowhere: fetch"
        ):
            find_named(str(tmp_path), "--images")

    def test_one_pair_is_too_few(self, tmp_path):
        write(tmp_path, {"a": mask(0)})
        with pytest.raises(InputError, match=r"there is 1 pair .*a question needs 2"):
            take(tmp_path, tmp_path)


class TestLists:
    LISTS = {
        "a column of a table": (
            "meta.csv",
            "\ufeffimage_id,Split\r\na,train\r\nb,train\r\nc,Valid\r\nd,test\r\n",
        ),
        "JSON": (
            "split.json",
            json.dumps({"train": ["a.jpg", "b.jpg"], "val": ["c"], "test": "d"}),
        ),
        "our own": ("splits.yaml", "train: [a, b]\nval: [c]\ntest: [d]"),
    }

    @pytest.mark.parametrize(("name", "text"), LISTS.values(), ids=LISTS)
    def test_one_file_says_all_splits(self, tmp_path, name, text):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)})
        (tmp_path / name).write_text(text, encoding="utf-8")
        report, _, said = take(tmp_path, tmp_path)
        wanted = {"a": "train", "b": "train", "c": "val", "d": "test"}
        assert split_of(report).items() <= wanted.items()
        assert any(name in line and "splits (2 train, 1 val" in line for line in said)

    @pytest.mark.parametrize("entry", ["{}.jpg", "images\\{}.JPG", "/IMAGES/{}.jpg masks/{}.png"])
    def test_endings_capitals_and_backslashes_of_entries(self, tmp_path, entry):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)}, image="images/{}.JPG")
        for split, names in (("train", "abc"), ("val", "de")):
            lines = [entry.format(n, n) for n in names]
            (tmp_path / f"{split}.txt").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
        report, _, _ = take(tmp_path, tmp_path)
        assert split_of(report) == dict(zip("abcde", ["train"] * 3 + ["val"] * 2, strict=True))

    def test_trainval_is_train_where_there_is_no_other_and_an_image_may_be_in_two(self, tmp_path):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)})
        (tmp_path / "trainval.txt").write_text("a\nb\nc\n")
        (tmp_path / "test.txt").write_text("c\nd\n")
        report, _, said = take(tmp_path, tmp_path)
        assert [(p.split, p.name) for p in report.images] == [
            *(("train", n) for n in "abc"),
            *(("test", n) for n in "cd"),
        ]
        assert any("1 image is in none and stays out" in line for line in said)
        assert any("have images in common" in line for line in said)

    def test_a_list_that_is_not_used_is_said(self, tmp_path):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)})
        (tmp_path / "train.txt").write_bytes("a\r\nb\r\n".encode("utf-16"))
        (tmp_path / "val.txt").write_text("x\ny\nz\n")
        (tmp_path / "classes.txt").write_bytes("Straße\nHimmel\nAuto".encode("latin-1"))
        _, _, said = take(tmp_path, tmp_path)
        for text in ("train.txt is not used: ", "val.txt is not used: 0 of its 3 entries, such as",
                     "classes.txt is not used: "):  # fmt: skip
            assert any(line.startswith(text) for line in said)
        assert sum("is not UTF-8 text; save it as UTF-8" in line for line in said) == 2

    def test_entries_that_are_no_images_are_counted(self, tmp_path):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)})
        (tmp_path / "train.txt").write_text("a\nb\nc\nx\ny\n")
        (tmp_path / "val.txt").write_text("d\nz\n")
        _, _, said = take(tmp_path, tmp_path)
        assert "2 of 5 entries of train.txt, such as 'x', are no images with a mask" in said
        assert "1 of 2 entries of val.txt, 'z', is no image with a mask" in said

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("train.txt", "train.txt is not used: it is the only list, and none says which"),
            ("val.txt", "val.txt is not used: it is the only list, and none says which to train"),
        ],
    )
    def test_one_list_alone_makes_no_splits(self, tmp_path, name, text):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)})
        (tmp_path / name).write_text("a\nb\n")
        _, _, said = take(tmp_path, tmp_path)
        assert any(line.startswith(text) for line in said)
        assert any(line.startswith("no split was found") for line in said)

    @pytest.mark.parametrize(
        "entry",
        ["/home/them/data/images/{}.jpg", r"C:\Users\them\images\{}.jpg", "/x/masks/{}.png"],
    )
    def test_a_list_of_another_machine_is_read_by_its_last_folders(self, tmp_path, entry):
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)})
        for split, names in (("train", "abc"), ("val", "de")):
            text = "\n".join(entry.format(name) for name in names)
            (tmp_path / f"{split}.txt").write_text(text)
        report, _, _ = take(tmp_path, tmp_path)
        assert split_of(report) == dict(zip("abcde", ["train"] * 3 + ["val"] * 2, strict=True))

    def test_another_folder_is_not_taken_for_ours(self, tmp_path):
        """ADE20K and others have the same numbers in `training` and in `validation`."""
        write(tmp_path, {n: mask(k) for k, n in enumerate(NAMES)}, image="training/{}.jpg")
        for split, folder in (("train", "training"), ("val", "validation")):
            text = "\n".join(f"/data/{folder}/{name}.jpg" for name in NAMES)
            (tmp_path / f"{split}.txt").write_text(text)
        _, _, said = take(tmp_path, tmp_path, images="training")
        assert any(line.startswith("val.txt is not used: 0 of its") for line in said)

    @pytest.mark.parametrize(("images", "masks"), [("{}", "{}annot"), ("{}_images", "{}_labels")])
    @pytest.mark.parametrize("apart", [True, False])
    def test_folders_of_splits_beside_those_of_their_masks(self, tmp_path, images, masks, apart):
        for number, split in enumerate(("train", "val")):
            for k in range(3):
                name = f"{split}{k}" if apart else f"{k}"
                save(tmp_path / images.format(split) / f"{name}.jpg", photograph(9 * number + k))
                save(tmp_path / masks.format(split) / f"{name}_L.png", mask(k))
        ours, theirs = images.format("*"), masks.format("*")
        report, _, said = take(tmp_path, tmp_path, "." if "_" not in ours else ours, theirs)
        assert sorted(split_of(report).values()) == ["train"] * 3 + ["val"] * 3
        assert any("folders called train, val or test" in line for line in said)

    def test_copies_lie_in_one_split(self, tmp_path):
        names = [f"n{k}" for k in range(12)]
        write(tmp_path, {n: mask(k) for k, n in enumerate(names)})
        for copy, of in (("copy1", "n3"), ("copy2", "n3"), ("copy3", "n7")):
            for kind, ending in (("images", "jpg"), ("masks", "png")):
                shutil.copy(
                    tmp_path / kind / f"{of}.{ending}", tmp_path / kind / f"{copy}.{ending}"
                )
        for seed in range(3):
            out = tmp_path / str(seed)
            out.mkdir()
            report, _, said = take(tmp_path, out, split_seed=seed)
            found = split_of(report)
            assert found["n3"] == found["copy1"] == found["copy2"]
            assert found["n7"] == found["copy3"]
            assert any(line.startswith("3 images are copies of others") for line in said)
            assert not any("in common" in line for line in said)


def test_composed_and_decomposed_names_are_one(tmp_path):
    for k, name in enumerate(("größe", "übung", "élan", "ñandú")):
        save(tmp_path / f"images/{unicodedata.normalize('NFD', name)}.jpg", photograph(k))
        save(tmp_path / f"masks/{unicodedata.normalize('NFC', name)}_mask.png", mask(k))
    (tmp_path / "train.txt").write_text("größe\nübung\n", encoding="utf-8")
    (tmp_path / "val.txt").write_text(unicodedata.normalize("NFD", "élan\nñandú\n"), "utf-8")
    report, _, _ = take(tmp_path, tmp_path)
    assert split_of(report) == {"größe": "train", "übung": "train", "élan": "val", "ñandú": "val"}


def test_hundreds_of_names_are_paired_at_once(tmp_path):
    """As many as a stranger may have: ways to pair are few, however many files there are."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    for folder in (images, masks):
        folder.mkdir()
    for k in range(500):
        (images / f"scene_{k:05}_rgb.jpg").touch()
        (masks / f"scene_{k:05}_labelIds.png").touch()
    found = pair(find_named(str(images), "--i"), find_named(str(masks), "--m"))
    assert len(found.pairs) == 500
    assert found.patterns is not None


def test_names_that_mean_something_elsewhere_are_names(tmp_path):
    """What is taken in is read as it was written, whatever its name."""
    for k, name in enumerate(
        ["a#1", "b{2}", "c[3]", "d%20", "no", "007", "2020-01-01", "1e3", "~"]
    ):
        save(tmp_path / f"images/{name}.png", photograph(k))
        save(tmp_path / f"masks/{name}.png", mask(k))
    report, _, _ = take(tmp_path, tmp_path)
    assert len(report.images) == 9
    known = np.asarray(Image.open(tmp_path / "masks" / "007.png"))
    (facts,) = [p for p in report.images if p.name == "007"]
    assert facts.class_counts == tuple(np.bincount(known.ravel(), minlength=3).tolist())
