"""A workload small enough to be run in tests."""

import pytest

from bench.speed.workload import create_workload, open_data


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory):
    return open_data("shapes", None, (32, 32), tmp_path_factory.mktemp("store"))


@pytest.fixture
def tiny_workload(tiny_pack):
    def create(**settings):
        usual = {
            "backbone": "test_resnet", "skip": "fcn16s", "size": (32, 32), "batch": 4,
            "precision": "fp32", "classes": None, "device": "cpu",
        }  # fmt: skip
        return create_workload(tiny_pack, **{**usual, **settings})

    return create
