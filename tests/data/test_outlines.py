"""What is known of a published data set before its files are there agrees with its loader."""

import pytest

from bench.data.outlines import OUTLINES, find_outline, outline_facts
from bench.data.registry import DATASETS, open_dataset
from bench.data.sets.published_lists import read_published
from bench.spec import DataSpec
from fcn.errors import InputError

OPTIONS = {
    "camvid": [{}],
    "nyudv2": [{}, {"val": True}, {"depth": False}, {"hha": False}],
    "siftflow": [{}, {"geometric": False}],
    "pascal_context": [{}, {"classes": 33, "background": True}],
    "pets": [{}, {"border": True}],
}
CASES = [(name, own) for name in OUTLINES for own in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_classes_layers_and_splits_are_those_of_the_files(name, options, make_dataset):
    dataset, outline = make_dataset(name, **options), OUTLINES[name](**options)
    assert outline.num_classes == len(dataset.class_names)
    assert outline.more_inputs == dataset.more_inputs
    assert outline.more_targets == dataset.more_targets
    assert set(outline.num_images) == set(dataset.splits)
    facts = outline_facts(DataSpec(dataset=name, options=options), outline)
    assert facts.target_name == dataset.target_name
    assert facts.fingerprint != dataset.fingerprint()


@pytest.mark.parametrize("name", list(OUTLINES))
def test_what_to_fetch_is_what_the_loader_says(name, tmp_path):
    with pytest.raises(InputError) as refused:
        open_dataset(DataSpec(dataset=name), tmp_path)
    assert OUTLINES[name]().fetch in str(refused.value)
    assert name in DATASETS


def test_every_set_that_is_published_has_one():
    assert set(DATASETS) - set(OUTLINES) <= {"folder", "shapes"}
    with pytest.raises(InputError, match="of dataset 'folder' nothing is known before"):
        find_outline(DataSpec(dataset="folder"))
    with pytest.raises(InputError, match="classes of dataset 'voc2012': it has no options"):
        find_outline(DataSpec(dataset="voc2012", options={"classes": 3}))


@pytest.mark.parametrize(
    ("name", "number"),
    {
        "nyudv2-train": 381,
        "nyudv2-val": 414,
        "nyudv2-test": 654,
        "siftflow-trainval": 2486,
        "siftflow-test": 200,
        "seg11valid": 736,
        "voc-classes": 21,
        "pascal-context-59": 59,
    }.items(),
)
def test_lists_that_come_with_us_are_whole(name, number):
    names = read_published(name)
    assert len(set(names)) == len(names) == number
    assert not any(name.startswith("#") or " " in name for name in names)
    for first, second in (("nyudv2-train", "nyudv2-val"), ("siftflow-trainval", "siftflow-test")):
        assert not set(read_published(first)) & set(read_published(second))
