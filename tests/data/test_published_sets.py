"""Published sets in the layout of their archives: classes and void by the ids of their files."""

import numpy as np
import pytest
from PIL import Image

from bench.data.registry import open_dataset
from bench.data.sets.cityscapes import CLASSES
from bench.spec import DataSpec
from fcn.errors import InputError

NAMES = ["ade20k", "cityscapes", "coco_stuff", "pets"]


def raw(dataset, key):
    return np.asarray(Image.open(dataset.root / dataset.files[key][1]))


@pytest.mark.parametrize("name", NAMES)
def test_no_folder_says_what_to_fetch(name, tmp_path):
    for folder in (None, tmp_path):
        with pytest.raises(InputError, match=r"--data .*unpack"):
            open_dataset(DataSpec(dataset=name), folder)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_found_in_its_usual_folder_too(name, make_dataset):
    dataset = make_dataset(name)
    usual = {"ade20k": "ADEChallengeData2016", "pets": "oxford-iiit-pet"}.get(name, name)
    dataset.root.rename(dataset.root.parent / usual)
    again = open_dataset(DataSpec(dataset=name), dataset.root.parent)
    assert again.fingerprint()
    assert again.splits == dataset.splits


class TestCityscapes:
    def test_ids_and_colours_are_those_of_another_library(self):
        from torchvision.datasets import Cityscapes

        kept = sorted(
            (c for c in Cityscapes.classes if 0 <= c.train_id < 255), key=lambda c: c.train_id
        )
        assert {c.name: (c.id, c.color) for c in kept} == CLASSES
        assert [c.name for c in kept] == list(CLASSES)

    def test_nineteen_ids_are_classes_and_the_rest_is_void(self, make_dataset):
        from torchvision.datasets import Cityscapes

        train_id = {c.id: c.train_id if 0 <= c.train_id < 255 else 255 for c in Cityscapes.classes}
        dataset = make_dataset("cityscapes")
        for key in dataset.files:
            wanted = np.vectorize(train_id.get)(raw(dataset, key))
            assert np.array_equal(dataset.read(*key)[1], wanted)

    def test_splits_are_the_official_ones_with_labels_and_cities_are_groups(self, make_dataset):
        dataset = make_dataset("cityscapes")
        assert list(dataset.splits) == ["train", "val"]
        assert len(dataset.splits["train"]) == 4
        assert set(dataset.groups.values()) == {"aachen", "bremen", "lindau"}


class TestAde20k:
    def test_zero_is_void_and_classes_count_from_one(self, make_dataset):
        dataset = make_dataset("ade20k")
        for key in dataset.files:
            values = raw(dataset, key).astype(int)
            assert np.array_equal(dataset.read(*key)[1], np.where(values == 0, 255, values - 1))

    def test_names_are_those_of_its_own_table(self, make_dataset):
        dataset = make_dataset("ade20k")
        assert len(dataset.class_names) == 150
        assert dataset.class_names[:4] == (
            "wall",
            "building",
            "screen, silver screen",
            "screen, CRT screen",
        )
        (dataset.root / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n")
        with pytest.raises(InputError, match="names 1 classes, not 150"):
            open_dataset(DataSpec(dataset="ade20k"), dataset.root)


class TestPets:
    def test_the_border_is_void_or_a_class(self, make_dataset):
        for border in (False, True):
            dataset = make_dataset("pets", border=border)
            table = np.array([9, 1, 0, 2 if border else 255])
            for key in dataset.files:
                assert np.array_equal(dataset.read(*key)[1], table[raw(dataset, key)])
        assert dataset.class_names == ("background", "pet", "border")
        assert list(dataset.splits["test"]) == ["pug_3"]


class TestCocoStuff:
    def test_labels_that_were_never_given_are_no_classes(self, make_dataset):
        dataset = make_dataset("coco_stuff")
        assert len(dataset.class_names) == 171
        for key in dataset.files:
            values, labels = raw(dataset, key), dataset.read(*key)[1]
            names = [dataset.class_names[k] if k < 171 else "void" for k in labels.ravel()]
            wanted = ["void" if v == 255 else f"label {v + 1}" for v in values.ravel()]
            assert names == wanted

    def test_a_value_of_no_label_is_named(self, make_dataset):
        dataset = make_dataset("coco_stuff")
        key = next(iter(dataset.files))
        values = raw(dataset, key).copy()
        values[0, 0] = 11
        Image.fromarray(values).save(dataset.root / dataset.files[key][1])
        with pytest.raises(InputError, match=r"holds the values 11 \(1 pixels\)"):
            dataset.read(*key)
