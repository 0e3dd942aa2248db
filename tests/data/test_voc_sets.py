"""VOC, SBD and PASCAL-Context as published: palettes, void outlines, ragged sizes, lists."""

import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from small_datasets import voc_palette, write_sbd, write_voc2012

from bench.data.check import check
from bench.data.registry import open_dataset
from bench.data.sets.published_lists import read_published
from bench.spec import DataSpec
from fcn.errors import InputError


def raw(dataset, key):
    return np.asarray(Image.open(dataset.root / dataset.files[key][1]))


@pytest.mark.parametrize("year", ["2011", "2012"])
class TestVoc:
    def test_images_and_masks_are_those_of_another_library(self, year, make_dataset):
        from torchvision.datasets import VOCSegmentation

        dataset = make_dataset(f"voc{year}")
        root = dataset.root.parents[2 if year == "2011" else 1]
        for split in ("train", "val"):
            theirs = VOCSegmentation(root, year, split)
            assert len(theirs) == len(dataset.splits[split])
            for name, (image, mask) in zip(dataset.splits[split], theirs, strict=True):
                ours = dataset.read(split, name)
                assert np.array_equal(ours[0], np.asarray(image))
                assert np.array_equal(ours[1], np.asarray(mask))  # void is 255 in both

    def test_classes_and_colours_are_those_of_other_sources(self, year, make_dataset):
        from torchvision.models.segmentation import FCN_ResNet50_Weights

        dataset = make_dataset(f"voc{year}")
        named = FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]
        assert dataset.class_names == ("background", *named[1:])
        assert list(dataset.palette) == voc_palette(21)
        assert dataset.palette[15] == (192, 128, 128)  # a person

    def test_void_outlines_are_not_counted_and_sizes_differ(self, year, make_dataset):
        dataset = make_dataset(f"voc{year}")
        report = check(dataset)
        assert len({(one.height, one.width) for one in report.images}) > 2
        assert all(one.num_ignored > 0 for one in report.images)
        assert report.absent_classes("train")

    def test_seg11valid_is_what_of_val_sbd_does_not_train_on(self, year, make_dataset):
        dataset = make_dataset(f"voc{year}")
        assert dataset.splits["seg11valid"] == ("2007_000033", "2007_000042")
        assert len(read_published("seg11valid")) == 736

    def test_a_value_of_no_class_is_named(self, year, make_dataset):
        dataset = make_dataset(f"voc{year}")
        key = ("train", "2007_000032")
        values = raw(dataset, key).copy()
        values[0, :3] = 21
        Image.fromarray(values).save(dataset.root / dataset.files[key][1])
        with pytest.raises(InputError, match=r"2007_000032.png holds the values 21 \(3 pixels\)"):
            dataset.read(*key)

    def test_a_damaged_photograph_and_a_missing_mask_are_named(self, year, make_dataset):
        dataset = make_dataset(f"voc{year}")
        photo = dataset.root / "JPEGImages" / "2007_000039.jpg"
        photo.write_bytes(photo.read_bytes()[:200])
        (dataset.root / "SegmentationClass" / "2008_000002.png").unlink()
        problems = "\n".join(check(dataset).problems)
        assert "2007_000039.jpg" in problems
        assert "2008_000002.png is missing" in problems

    def test_what_to_fetch_is_said(self, year, tmp_path):
        for folder in (None, tmp_path):
            with pytest.raises(InputError, match=rf"--data .*unpack VOCtrainval.*{year}.tar"):
                open_dataset(DataSpec(dataset=f"voc{year}"), folder)


class TestSbd:
    def test_masks_are_those_of_another_library(self, make_dataset, tmp_path):
        from torchvision.datasets import SBDataset

        dataset = make_dataset("sbd")
        moved = tmp_path / "moved"
        shutil.copytree(dataset.root / "benchmark_RELEASE" / "dataset", moved)
        for ours, theirs in {"train": "train", "sbd_val": "val"}.items():
            other = SBDataset(moved, theirs, mode="segmentation")
            for name, (image, mask) in zip(dataset.splits[ours], other, strict=True):
                colours, labels = dataset.read(ours, name)
                assert np.array_equal(colours, np.asarray(image))
                assert np.array_equal(labels, np.asarray(mask))

    def test_the_union_leaves_out_all_that_judges(self, make_dataset):
        dataset = make_dataset("sbd")
        splits = {name: set(stems) for name, stems in dataset.splits.items()}
        voc_train = {"2007_000032", "2007_000039"}
        both = splits["train"] | splits["sbd_val"] | voc_train
        assert splits["trainaug"] == both - splits["seg11valid"] - splits["val"]
        assert splits["trainaug"] == {"2008_000007", "2008_000009", *voc_train}
        assert splits["seg11valid"] & splits["train"] == set()

    def test_where_both_label_an_image_vocs_mask_is_taken_but_for_the_papers_train(
        self, make_dataset
    ):
        dataset = make_dataset("sbd")
        key = "2007_000032"
        assert 255 in dataset.read("trainaug", key)[1]
        theirs = loadmat(dataset.root / f"benchmark_RELEASE/dataset/cls/{key}.mat")
        labels = theirs["GTcls"]["Segmentation"].item()
        assert np.array_equal(dataset.read("train", key)[1], labels)

    def test_both_layouts_are_one_data_set(self, make_dataset, tmp_path):
        first = make_dataset("sbd")
        other = write_sbd(tmp_path / "other")
        (other / "benchmark_RELEASE" / "dataset").rename(other / "sbd")
        (other / "benchmark_RELEASE").rmdir()
        assert open_dataset(DataSpec(dataset="sbd"), other).fingerprint() == first.fingerprint()

    def test_without_voc_or_without_sbd_both_archives_are_named(self, tmp_path):
        both = r"benchmark\.tgz.*and, beside it, .*2012\.tar"
        root = write_voc2012(tmp_path)
        with pytest.raises(InputError, match=rf"expected img/ and cls/ there.*{both}"):
            open_dataset(DataSpec(dataset="sbd"), root)
        shutil.rmtree(root / "VOCdevkit")
        for folder in ("img", "cls"):
            (root / folder).mkdir()
        with pytest.raises(InputError, match=rf"expected JPEGImages/.*{both}"):
            open_dataset(DataSpec(dataset="sbd"), root)
        with pytest.raises(InputError, match="did you mean 'voc2012'"):
            open_dataset(DataSpec(dataset="sbd", options={"voc": "voc2010"}), root)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ({"GTcls": {"Segmentation": np.full((12, 16), 21, np.uint8)}}, "values 21"),
            ({"GTcls": {"Segmentation": np.ones((12, 16)) / 2}}, "no matrix of values"),
            ({"GTcls": {"Boundaries": [1]}}, "no structure 'GTcls' with 'Segmentation'"),
            ({"S": np.zeros((12, 16))}, "has no matrix 'GTcls'"),
            (None, "it is damaged or no MATLAB file"),
        ],
    )
    def test_a_mask_that_is_none_is_named(self, make_dataset, content, said):
        dataset = make_dataset("sbd")
        path = dataset.root / dataset.files["train", "2008_000007"][1]
        if content is None:
            path.write_bytes(path.read_bytes()[:150])
        else:
            savemat(path, content)
        with pytest.raises(InputError, match=f"2008_000007.mat.*{said}"):
            dataset.read("train", "2008_000007")


class TestPascalContext:
    @pytest.mark.parametrize("number", [59, 33])
    @pytest.mark.parametrize("background", [False, True])
    def test_zero_is_void_or_one_more_class(self, make_dataset, number, background):
        dataset = make_dataset("pascal_context", classes=number, background=background)
        assert len(dataset.class_names) == number + background
        for key in dataset.files:
            values = raw(dataset, key).astype(int)
            wanted = values if background else np.where(values == 0, 255, values - 1)
            assert np.array_equal(dataset.read(*key)[1], wanted)
            assert f"{number}_context_labels" in str(dataset.files[key][1])

    def test_the_first_twenty_classes_are_vocs(self):
        voc = read_published("voc-classes")[1:]
        for number in (59, 33):
            names = read_published(f"pascal-context-{number}")
            assert (len(names), names[:20]) == (number, voc)
        assert set(read_published("pascal-context-33")) <= set(read_published("pascal-context-59"))

    def test_a_class_beyond_the_last_is_named(self, make_dataset):
        dataset = make_dataset("pascal_context", classes=33)
        key = ("val", "2008_000007")
        wrong = dataset.root / "59_context_labels" / "2008_000007.png"
        shutil.copy(wrong, dataset.root / dataset.files[key][1])
        with pytest.raises(InputError, match=r"2008_000007.png holds the values 34 .*fetch the"):
            dataset.read(*key)

    def test_what_to_fetch_is_said_for_each_half(self, make_dataset, tmp_path):
        with pytest.raises(InputError, match=r"VOC2010|03-May-2010\.tar.*59_context_labels\.tar"):
            open_dataset(DataSpec(dataset="pascal_context"), tmp_path)
        root = make_dataset("pascal_context").root
        shutil.rmtree(root / "33_context_labels")
        with pytest.raises(InputError, match=r"33_context_labels\.tar\.gz"):
            open_dataset(DataSpec(dataset="pascal_context", options={"classes": 33}), root)
        with pytest.raises(InputError, match="59 or 33, the two that are published, not 60"):
            open_dataset(DataSpec(dataset="pascal_context", options={"classes": 60}), root)
