"""A store with tiny runs over a tiny drawn dataset."""

import pytest

from bench.data.catalog import Catalog
from bench.plan import Run
from bench.spec import RunSpec
from bench.store import Store


@pytest.fixture
def tiny_run(tmp_path):
    """Prepare runs: tiny_run({"train.lr": 1}, parent=None) -> (store, run)."""
    from bench.spec import override, parse

    base = {
        "model": {"backbone": "resnet10t", "skip": "fcn16s", "score_init": "random",
                  "dropout": 0.1},
        "data": {
            "dataset": "shapes",
            "options": {"size": 32, "num_train": 12, "num_val": 3, "num_test": 5},
        },
        "train": {"steps": 6, "batch_size": 2, "accumulate": 2, "lr": 0.05, "scale": [0.8, 1.25],
                  "crop": [32, 32], "class_weights": "median_frequency", "clip_grad_norm": 5.0},
        "evaluate": {"watch_every": 3},
    }  # fmt: skip

    def prepare(differences=None, parent=None, folder="store"):
        spec = parse(RunSpec, override(base, differences or {}), where="tiny")
        store = Store(tmp_path / folder)
        packed = Catalog(store, None).pack(spec.data)
        run = Run(spec, packed.fingerprint, parent)
        store.prepare(run)
        return store, run

    return prepare
