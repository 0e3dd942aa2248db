"""Small datasets of every kind, in a temporary folder."""

import pytest
from small_datasets import (
    write_ade20k,
    write_camvid,
    write_cityscapes,
    write_coco_stuff,
    write_folder,
    write_nyudv2,
    write_pascal_context,
    write_pets,
    write_sbd,
    write_siftflow,
    write_voc2011,
    write_voc2012,
)

from bench.data.registry import open_dataset
from bench.spec import DataSpec

SMALL = {"shapes": {"size": 32, "num_train": 6, "num_val": 2, "num_test": 3}}
WRITERS = {
    "ade20k": write_ade20k,
    "cityscapes": write_cityscapes,
    "coco_stuff": write_coco_stuff,
    "pets": write_pets,
    "camvid": write_camvid,
    "folder": write_folder,
    "nyudv2": write_nyudv2,
    "pascal_context": write_pascal_context,
    "sbd": write_sbd,
    "siftflow": write_siftflow,
    "voc2011": write_voc2011,
    "voc2012": write_voc2012,
}


@pytest.fixture
def make_dataset(tmp_path):
    """Open a small dataset by name; twice gives two copies in different places."""
    count = iter(range(100))

    def make(name, **options):
        root = tmp_path / f"copy{next(count)}"
        if name in WRITERS:
            WRITERS[name](root)
        return open_dataset(
            DataSpec(dataset=name, options={**SMALL.get(name, {}), **options}), root
        )

    return make


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "mine")
