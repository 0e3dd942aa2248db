"""What scores are to be read with is said; splits are refused where their use makes them wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small_datasets import open_folder, write_layer

from bench.data.check import check
from bench.data.overlap import shared_images
from bench.data.packs.pack import Pack, pack
from bench.data.remarks import plan_remarks, remarks
from bench.grid.preflight import check_images
from bench.plan import Plan, PlannedRun, Run
from bench.spec import RunSpec, override, parse
from fcn.errors import InputError


def write_splits(root, **splits):
    for name in ("train", "val", "test"):
        (root / f"{name}.txt").unlink(missing_ok=True)
    lines = (f"{split}: [{', '.join(stems.split())}]" for split, stems in splits.items())
    (root / "splits.yaml").write_text("\n".join(lines))


def write_mask(root, stem, values):
    """Fill a mask of the folder's size with the values given, in turn."""
    path = root / "masks" / f"{stem}.png"
    with Image.open(path) as mask:
        width, height = mask.size
    write_layer(path, np.resize(np.array(values, dtype=np.uint8), (height, width)))


def copy_image(root, source, target):
    content = (root / "images" / f"{source}.png").read_bytes()
    (root / "images" / f"{target}.png").write_bytes(content)
    mask = (root / "masks" / f"{source}.png").read_bytes()
    (root / "masks" / f"{target}.png").write_bytes(mask)


@pytest.fixture
def packed(folder, tmp_path):
    """Pack the folder as it is now."""
    return lambda **options: pack(open_folder(folder, **options), tmp_path / "packs")


def plan_of(whole, *variants, **common):
    """Plan one run of a tiny network for each dictionary of differences."""
    base = {
        "model": {"backbone": "test_resnet", "skip": "fcn32s"},
        "data": {"dataset": "folder"},
        "train": {"steps": 1, "batch_size": 1, "crop": [32, 32]},
    }
    runs = []
    for number, differences in enumerate(variants or ({},)):
        own = {k: v for k, v in {**common, **differences}.items() if k != "parent"}
        spec = parse(RunSpec, override(base, own), where="test")
        parent = runs[differences["parent"]].run.id if "parent" in differences else None
        runs.append(PlannedRun(f"v{number}", Run(spec, whole.fingerprint, parent)))
    return Plan("q", "", "", tuple(runs))


def try_splits(whole, *variants, **common):
    check_images(plan_of(whole, *variants, **common), {whole.fingerprint: whole})


FOLDS = {
    "folds": {"train0": "a b", "val0": "c", "train1": "b c", "val1": "a"},
    "half of train": {"train": "a b", "train_half": "a", "test": "d"},
    "trainval": {"train": "a b", "val": "c", "trainval": "a b c", "test": "d"},
    "val is test": {"train": "a b", "val": "c d", "test": "c d"},
}
USES = {
    "folds": [("train0", "val0"), ("train1", "val1")],
    "half of train": [("train", "test"), ("train_half", "test")],
    "trainval": [("train", "val"), ("trainval", "test")],
    "val is test": [("train", "test"), ("train", "val")],
}
LEAKS = {
    "folds": [("train0", "val1", "a"), ("train1", "train0", "b")],
    "half of train": [("train", "train_half", "a"), ("train", "train", "a, b")],
    "trainval": [("trainval", "val", "c"), ("trainval", "train", "a, b")],
    "val is test": [("val", "test", "c, d")],
}


@pytest.mark.parametrize("kind", FOLDS)
class TestOverlappingSplits:
    def test_they_are_a_remark_of_the_data_alone(self, folder, packed, kind):
        write_splits(folder, **FOLDS[kind])
        report = check(open_folder(folder))
        assert report.problems == ()
        (remark,) = (r for r in report.remarks() if "in common" in r)
        assert remark in remarks(packed())
        sets = {split: set(stems.split()) for split, stems in FOLDS[kind].items()}
        for first in sets:
            for second in list(sets)[list(sets).index(first) + 1 :]:
                number = len(sets[first] & sets[second])
                assert (f"{first} and {second} ({number})" in remark) == (number > 0)

    def test_uses_that_keep_images_apart_are_right(self, folder, packed, kind):
        write_splits(folder, **FOLDS[kind])
        variants = [{"train.split": t, "evaluate.split": e} for t, e in USES[kind]]
        try_splits(packed(), *variants)

    def test_a_judge_that_is_trained_on_is_refused_by_name(self, folder, packed, kind):
        write_splits(folder, **FOLDS[kind])
        for trained, judge, names in LEAKS[kind]:
            message = rf"evaluate\.split '{judge}' has images of split '{trained}'.*: {names};"
            with pytest.raises(InputError, match=f"q, variant v0: {message}"):
                try_splits(packed(), {"train.split": trained, "evaluate.split": judge})
            if judge != trained:
                watch = {"evaluate.eval_split": judge, "evaluate.eval_every": 1}
                other = next(s for s in FOLDS[kind] if s.startswith(("test", "val")))
                with pytest.raises(InputError, match=r"has images of split"):
                    try_splits(packed(), {"train.split": trained, "evaluate.split": other, **watch})


class TestLeaks:
    def test_copies_under_another_name_are_found(self, folder, packed):
        copy_image(folder, "a", "d")
        with pytest.raises(InputError, match=r"d \(as a\); scores on them would be too good"):
            try_splits(packed())

    def test_training_may_be_watched_under_its_own_name(self, packed):
        try_splits(packed(), {"evaluate.eval_split": "train", "evaluate.eval_every": 1})

    def test_what_a_run_starts_from_counts_as_training(self, folder, packed):
        write_splits(folder, train="a", more="a b d", test="d", other="c")
        child = {"evaluate.split": "test", "parent": 0}
        parent = {"train.split": "more", "evaluate.split": "other"}
        with pytest.raises(InputError, match=r"variant v1: .*of split 'more', .*: d;"):
            try_splits(packed(), parent, child)
        try_splits(packed(), {"evaluate.split": "other"}, {**child, "parent": 0})

    def test_so_do_other_versions_of_the_data(self, folder, packed):
        whole = packed()
        write_splits(folder, train="a", held_out="b")
        part = packed()
        first = plan_of(whole).runs[0]
        child = plan_of(part, {"evaluate.split": "held_out"}).runs[0]
        child = replace(child, variant="child", run=replace(child.run, parent=first.run.id))
        packs = {one.fingerprint: one for one in (whole, part)}
        with pytest.raises(InputError, match=r"variant child: .*'held_out' .*: b;"):
            check_images(Plan("q", "", "", (first, child)), packs)

    def test_named_duplicates_are_accepted_and_said(self, folder, packed):
        copy_image(folder, "a", "d")
        whole = packed()
        for name in ("a", "d"):
            accepting = {"data.duplicates": [name]}
            try_splits(whole, accepting)
            (said,) = plan_remarks(plan_of(whole, accepting), {whole.fingerprint: whole})
            assert "data.duplicates allows: 'd'" in said
        with pytest.raises(InputError, match=r"d \(as a\)"):
            try_splits(whole, {"data.duplicates": ["b"]})

    def test_empty_tiles_are_no_copies(self, folder, packed):
        for stem in ("a", "d"):
            write_layer(folder / "images" / f"{stem}.png", np.zeros((20, 24, 3), dtype=np.uint8))
        try_splits(packed())
        assert any("train and test (1)" in remark for remark in remarks(packed()))

    def test_packs_without_checksums_are_compared_too(self, folder, packed):
        copy_image(folder, "a", "d")
        path = packed().folder / "index.json"
        index = json.loads(path.read_text(encoding="utf-8"))
        del index["own_sha256"]
        for image in index["pictures"]:
            del image["checksums"]
        path.write_text(json.dumps(index), encoding="utf-8")
        with pytest.raises(InputError, match=r"d \(as a\)"):
            try_splits(Pack(path.parent))

    def test_equal_checksums_alone_make_no_copy(self, packed, monkeypatch):
        monkeypatch.setattr(Pack, "checksum", lambda self, index: 7)
        whole = packed()
        assert list(shared_images((whole, "train"), (whole, "test"))) == []

    def test_many_are_counted(self, folder, packed):
        names = [f"n{k}" for k in range(12)]
        for k, name in enumerate(names):
            copy_image(folder, "a", name)
            pixels = np.full((20, 24, 3), k, dtype=np.uint8)
            pixels[0, 0] = 99
            write_layer(folder / "images" / f"{name}.png", pixels)
        write_splits(folder, train=" ".join(names), test=" ".join(["d", *names]))
        with pytest.raises(InputError, match=r"n0, .*, n7 and others, 12 in all"):
            try_splits(packed())


class TestLabels:
    def test_masks_of_0_and_255_are_refused_everywhere(self, folder, packed):
        (folder / "classes.txt").write_text("ground\nzebra\n")
        for stem in "abcd":
            write_mask(folder, stem, [0, 0, 0, 255])
        message = r"class 'zebra', and 25 % of all pixels are 255.* are these masks 0/255\?"
        with pytest.raises(InputError, match=message):
            check(open_folder(folder)).raise_problems()
        with pytest.raises(InputError, match=message):
            packed()

    def test_a_pack_of_such_masks_is_refused_by_a_plan(self, folder, packed):
        """One of an earlier version, which packed them."""
        path = packed().folder / "index.json"
        index = json.loads(path.read_text(encoding="utf-8"))
        del index["own_sha256"]
        for image in index["pictures"]:
            image["class_counts"] = [360 * image["height"] * image["width"] // 480, 0, 0]
        path.write_text(json.dumps(index), encoding="utf-8")
        whole = Pack(path.parent)
        with pytest.raises(InputError, match=r"'land', 'sky', and 25 % .*are these masks 0/255\?"):
            try_splits(whole)
        (said,) = plan_remarks(plan_of(whole), {whole.fingerprint: whole})
        assert "are these masks 0/255?" in said

    def test_one_class_without_anything_ignored_is_a_remark(self, folder):
        for stem in "abcd":
            write_mask(folder, stem, [0])
        report = check(open_folder(folder))
        assert report.problems == ()
        assert "no split has a pixel of class 'land', 'sky'" in report.remarks()
        assert any("'train' has one class alone, 'sea'" in said for said in report.remarks())

    def test_a_split_of_0_and_255_among_others_is_asked_about(self, folder):
        write_mask(folder, "d", [0, 0, 0, 255])
        assert check(open_folder(folder)).remarks() == [
            "split 'test' has no pixel of class 'land', 'sky'",
            "split 'test' has one class alone, 'sea': to answer it is always right; 25 % of its "
            "pixels are 255, which is ignored: are its masks 0/255?",
        ]

    def test_an_absent_class_beside_many_ignored_pixels_is_asked_about(self, folder):
        for stem in "abcd":
            write_mask(folder, stem, [0, 1, 255, 1])
        (said,) = check(open_folder(folder)).remarks()
        assert said.startswith("no split has a pixel of class 'sky', while 25 % of all pixels")
        assert said.endswith("are these that class?")

    def test_classes_that_train_or_judge_lack_are_named(self, folder, packed):
        write_mask(folder, "a", [0, 1])
        write_mask(folder, "b", [0, 1])
        write_mask(folder, "d", [1, 2])
        lacking = "split 'train' has no pixel of class 'sky'"
        judged = "split 'test' has no pixel of class 'sea'"
        assert check(open_folder(folder)).remarks() == [lacking, judged]
        whole = packed()
        assert remarks(whole) == [lacking, judged]
        said = plan_remarks(plan_of(whole), {whole.fingerprint: whole})
        assert said == [
            f"{lacking}, which cannot be learned from it",
            f"{judged}, which is not judged by it",
        ]
        only_val = plan_of(whole, {"train.split": "val", "evaluate.split": "test"})
        assert plan_remarks(only_val, {whole.fingerprint: whole}) == said[1:]
        assert plan_remarks(only_val, {}) == []

    @pytest.mark.parametrize("split", ["train", "test", "val"])
    def test_a_split_without_labels_is_refused_where_it_is_used(self, folder, packed, split):
        for stem in {"train": "ab", "test": "d", "val": "c"}[split]:
            write_mask(folder, stem, [255])
        report = check(open_folder(folder))
        assert report.problems == ()
        assert any(f"split '{split}' has no labelled pixel" in r for r in report.remarks())
        watching = {"evaluate.eval_every": 1}
        with pytest.raises(InputError, match=f"split '{split}' has no labelled pixel: all are 255"):
            try_splits(packed(), watching)
        if split == "val":
            try_splits(packed())

    def test_images_without_labels_and_mostly_ignored_splits_are_counted(self, folder):
        write_mask(folder, "a", [255])
        write_mask(folder, "d", [0, 1, 2] + 5 * [255])
        assert check(open_folder(folder)).remarks() == [
            "1 of 2 images of split 'train' have no labelled pixel",
            "50.3 % of the pixels of split 'train' are 255, which is ignored",
            "62.5 % of the pixels of split 'test' are 255, which is ignored",
        ]

    def test_further_targets_are_looked_at_where_they_are_asked_for(self, folder, packed):
        (folder / "classes-side.txt").write_text("left\nright\n")
        for path in (folder / "masks").iterdir():
            with Image.open(path) as mask:
                size = mask.size[::-1]
            side = np.zeros(size, dtype=np.uint8)
            side[:, 9:] = path.stem in "ab"
            write_layer(folder / "side" / path.name, side)
        whole = packed(targets="side")
        assert check(open_folder(folder, targets="side")).remarks() == [
            f"target 'side': split {split!r} {what}"
            for split in ("val", "test")
            for what in (
                "has no pixel of class 'right'",
                "has one class alone, 'left': to answer it is always right",
            )
        ]
        packs = {whole.fingerprint: whole}
        assert plan_remarks(plan_of(whole), packs) == []
        both = plan_of(whole, {"data.targets": ["semantic", "side"]})
        assert len(plan_remarks(both, packs)) == 2

    def test_many_classes_are_counted(self, folder):
        names = [f"c{k}" for k in range(30)]
        (folder / "classes.txt").write_text("\n".join(names))
        (said,) = check(open_folder(folder)).remarks()
        assert said.endswith("'c8', 'c9', 'c10' and 19 more")
