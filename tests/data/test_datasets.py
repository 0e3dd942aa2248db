"""Every registered dataset keeps the contract; what is particular to each follows."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_datasets import open_folder, write_camvid

from bench.data.check import check
from bench.data.registry import DATASETS, list_datasets, open_dataset
from bench.spec import DataSpec
from fcn.errors import InputError


@pytest.mark.parametrize("name", list(DATASETS))
class TestContract:
    def test_images_fit_their_labels(self, name, make_dataset):
        dataset = make_dataset(name)
        allowed = {*range(len(dataset.class_names)), dataset.ignore_index}
        for split, names in dataset.splits.items():
            assert names
            for name in names:
                image, target = dataset.read(split, name)
                assert image.dtype == target.dtype == np.uint8
                assert image.shape == (*target.shape, 3)
                assert set(np.unique(target)) <= allowed
                assert name in dataset.describe(split, name)

    def test_nothing_is_wrong(self, name, make_dataset):
        report = check(make_dataset(name))
        assert report.problems == ()
        assert len({frozenset(row) for row in report.rows()}) == 1

    def test_fingerprint_does_not_depend_on_the_place(self, name, make_dataset):
        first, second = make_dataset(name), make_dataset(name)
        assert first.fingerprint() == second.fingerprint()
        assert len(first.fingerprint()) == 64

    def test_unknown_option_is_refused(self, name, make_dataset):
        with pytest.raises(InputError, match=r"data\.options\.sized of dataset"):
            open_dataset(DataSpec(dataset=name, options={"sized": 3}), None)


@pytest.mark.parametrize("name", ["camvid", "folder"])
class TestFileContract:
    def test_one_byte_of_any_file_changes_the_fingerprint(self, name, make_dataset):
        dataset = make_dataset(name)
        before = dataset.fingerprint()
        for path in {p for pair in dataset.files.values() for p in pair}:
            file = dataset.root / path
            content = file.read_bytes()
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            assert dataset.fingerprint() != before
            file.write_bytes(content)
            os.utime(file, (0, 0))
            assert dataset.fingerprint() == before

    def test_missing_file_is_named(self, name, make_dataset):
        dataset = make_dataset(name)
        file = dataset.root / dataset.files["val", "c"][1]
        file.unlink()
        with pytest.raises(InputError, match=f"{file} is missing"):
            dataset.fingerprint()
        assert str(file) in check(dataset).problems[0]

    def test_no_folder_names_the_flag(self, name, make_dataset, tmp_path):
        for data_dir in (None, tmp_path / "nowhere"):
            with pytest.raises(InputError, match="--data"):
                open_dataset(DataSpec(dataset=name), data_dir)


def test_unknown_dataset_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'shapes'"):
        open_dataset(DataSpec(dataset="shape"), None)
    assert {"camvid", "folder", "shapes"} <= set(list_datasets())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_trian": 3}, "did you mean 'num_train'"),
        ({"size": "big"}, "must be int, not 'big'"),
        ({"size": True}, "must be int, not True"),
        ({"size": 3}, r"must lie in 16\.\.1024, not 3"),
        ({"num_val": 0}, "num_val"),
        ({"seed": -1}, "seed"),
    ],
)
def test_shapes_refuses_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        open_dataset(DataSpec(options=options), None)


def test_shapes_image_depends_on_seed_split_and_index_alone():
    few = open_dataset(DataSpec(options={"num_train": 2}), None)
    many = open_dataset(DataSpec(options={"num_train": 9}), None)
    other = open_dataset(DataSpec(options={"num_train": 2, "seed": 1}), None)
    name = few.splits["train"][1]
    assert np.array_equal(few.read("train", name)[0], many.read("train", name)[0])
    assert not np.array_equal(few.read("train", name)[0], other.read("train", name)[0])
    assert not np.array_equal(few.read("train", name)[0], few.read("val", few.splits["val"][1])[0])
    assert few.fingerprint() != many.fingerprint() != other.fingerprint()


def test_shapes_shows_every_class_and_ignored_pixels():
    report = check(open_dataset(DataSpec(options={"num_train": 32}), None))
    assert all(report.absent_classes(split) == () for split in report.splits)
    assert (report.class_frequencies("train") > 0.015).all()
    assert any(one.num_ignored for one in report.images)


class TestCamvid:
    def test_parent_folder_and_all_listings_mean_the_same(self, tmp_path):
        root = write_camvid(tmp_path / "CamVid")
        by_stem = open_dataset(DataSpec(dataset="camvid"), tmp_path)
        for split in ("train", "val", "test"):
            stems = (root / f"{split}.txt").read_text().split()
            pairs = [
                f"/SegNet/CamVid/{split}/{s}.png /SegNet/CamVid/{split}annot/{s}.png" for s in stems
            ]
            (root / f"{split}.txt").write_text("\n".join(pairs))
        by_pair = open_dataset(DataSpec(dataset="camvid"), root)
        for split in ("train", "val", "test"):
            (root / f"{split}.txt").unlink()
        by_listing = open_dataset(DataSpec(dataset="camvid"), root)
        assert by_stem.fingerprint() == by_pair.fingerprint() == by_listing.fingerprint()

    def test_jpegs_are_found_where_the_list_says_png(self, tmp_path):
        root = write_camvid(tmp_path)
        (root / "val.txt").write_text("/SegNet/CamVid/val/c.png /SegNet/CamVid/valannot/c.png")
        Image.open(root / "val" / "c.png").save(root / "val" / "c.jpg")
        (root / "val" / "c.png").unlink()
        dataset = open_dataset(DataSpec(dataset="camvid"), root)
        assert dataset.files["val", "c"][0] == Path("val/c.jpg")
        assert check(dataset).problems == ()

    def test_a_sequence_of_train_becomes_a_split_of_its_own(self, tmp_path):
        root = write_camvid(tmp_path)
        for stem, name in {"a": "01TP_1", "b": "0006R0_2"}.items():
            for folder in ("train", "trainannot"):
                (root / folder / f"{stem}.png").rename(root / folder / f"{name}.png")
        (root / "train.txt").write_text("01TP_1\n0006R0_2\n")
        whole = open_dataset(DataSpec(dataset="camvid"), root)
        options = {"held_out": "0006R0"}
        dataset = open_dataset(DataSpec(dataset="camvid", options=options), root)
        assert dataset.splits["train"] == ("01TP_1",)
        assert dataset.splits["held_out"] == ("0006R0_2",)
        ours, theirs = dataset.read("held_out", "0006R0_2"), whole.read("train", "0006R0_2")
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert dataset.fingerprint() != whole.fingerprint()
        assert check(dataset).problems == ()
        with pytest.raises(InputError, match="train has the sequences 0006R0, 01TP"):
            open_dataset(DataSpec(dataset="camvid", options={"held_out": "0016E5"}), root)

    @pytest.mark.parametrize("line", ["a b c", "../../x.png ../y.png", "x/y/z"])
    def test_odd_line_is_quoted(self, tmp_path, line):
        root = write_camvid(tmp_path)
        (root / "val.txt").write_text(line)
        with pytest.raises(InputError, match=r"val\.txt has the line"):
            open_dataset(DataSpec(dataset="camvid"), root)


class TestFolder:
    def test_yaml_and_lists_mean_the_same(self, folder):
        by_lists = open_folder(folder).fingerprint()
        for split in ("train", "val", "test"):
            (folder / f"{split}.txt").unlink()
        (folder / "splits.yaml").write_text("train: [a, b]\nval:\n- c\ntest: [d]\n")
        assert open_folder(folder).fingerprint() == by_lists

    def test_yaml_stems_stay_as_written(self, folder):
        for split in ("train", "val", "test"):
            (folder / f"{split}.txt").unlink()
        for kind in ("images", "masks"):
            (folder / kind / "a.png").rename(folder / kind / "007.png")
        (folder / "splits.yaml").write_text("train: [007, no, 1e3, 12:30:45]\n")
        assert open_folder(folder).splits == {"train": ("007", "no", "1e3", "12:30:45")}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("train: a", "line 1 is otherwise"),
            ("[a, b]", "such as  train"),
            ("train: [a]\ntrain: [b]", "line 2 gives the split 'train' a second time"),
            ("train: [a", "not valid YAML"),
            ("train: [[a]]", "is no stem"),
            ("[" * 3000, "not valid YAML"),
            ("train: [../../etc/passwd]", r"without \.\."),
        ],
    )
    def test_bad_yaml_is_refused(self, folder, text, message):
        for split in ("train", "val", "test"):
            (folder / f"{split}.txt").unlink()
        (folder / "splits.yaml").write_text(text)
        with pytest.raises(InputError, match=message):
            open_folder(folder)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda f: (f / "classes.txt").unlink(), r"classes\.txt is missing; write the name"),
            (lambda f: (f / "classes.txt").write_text("one"), r"classes\.txt has 1 lines"),
            (lambda f: (f / "classes.txt").write_text("a\na"), "1 of them different"),
            (lambda f: (f / "classes.txt").write_bytes(b"\xff\n"), "save it as UTF-8"),
            (lambda f: (f / "splits.yaml").write_text("train: [a]"), "keep one of them"),
            (lambda f: shutil.rmtree(f / "masks"), "masks is no folder"),
            (lambda f: (f / "images" / "a.jpg").write_bytes(b"x"), "have one stem"),
            (lambda f: [(f / f"{s}.txt").unlink() for s in ("train", "val", "test")], "splits"),
        ],
    )
    def test_bad_layout_is_refused(self, folder, damage, message):
        damage(folder)
        with pytest.raises(InputError, match=message):
            open_folder(folder)

    @pytest.mark.parametrize("ignore_index", [1, -1, 256])
    def test_impossible_ignore_index_is_refused(self, folder, ignore_index):
        with pytest.raises(InputError, match=r"ignore_index .* must lie in 3\.\.255"):
            open_folder(folder, ignore_index=ignore_index)


@pytest.mark.data
def test_real_camvid_has_the_known_class_frequencies():
    dataset = open_dataset(DataSpec(dataset="camvid"), Path(os.environ["FCN_BENCH_CAMVID"]))
    report = check(dataset)
    assert report.problems == ()
    assert [len(names) for names in dataset.splits.values()] == [367, 101, 233]
    known = {  # percent of labelled pixels, counted from the published masks
        "train": [17.54, 24.22, 1.02, 32.96, 4.67, 10.12, 1.22, 1.17, 6.11, 0.67, 0.30],
        "val": [9.34, 26.41, 0.57, 29.46, 8.87, 16.62, 0.91, 3.13, 1.78, 0.66, 2.26],
        "test": [17.75, 25.59, 1.22, 26.84, 9.64, 11.70, 1.05, 1.23, 4.13, 0.66, 0.20],
    }
    for split, percent in known.items():
        # One unit of the second decimal: Building of train is 24.215, recorded as 24.22.
        np.testing.assert_allclose(100 * report.class_frequencies(split), percent, atol=0.01)


@pytest.mark.data
@pytest.mark.parametrize(("sequence", "num"), [("0001TP", 62), ("0006R0", 101), ("0016E5", 204)])
def test_real_camvids_sequences_have_the_known_lengths(sequence, num):
    spec = DataSpec(dataset="camvid", options={"held_out": sequence})
    splits = open_dataset(spec, Path(os.environ["FCN_BENCH_CAMVID"])).splits
    assert len(splits["held_out"]) == num
    assert len(splits["train"]) == 367 - num
