"""A run made again from its record: the same bits, or how far apart and why."""

import json

import pytest

from bench.grid.reproduce import reproduce
from bench.run.execute import Options, execute
from fcn.errors import InputError

SHORT = {"train.steps": 2, "evaluate.eval_every": 0}


@pytest.mark.slow
def test_the_same_bits_come_out_again_also_of_a_run_that_starts_from_another(tiny_run):
    store, parent = tiny_run(SHORT)
    execute(store.run_dir(parent.id), Options("cpu", 1))
    _, run = tiny_run(SHORT | {"model.skip": "fcn8s", "train.init_from": "a"}, parent=parent.id)
    execute(store.run_dir(run.id), Options("cpu", 1))
    before = sorted(store.root.rglob("*"))
    found = reproduce(store, run.id, "auto", None)
    assert found.is_same
    assert found.miou[0] == found.miou[1]
    assert found.changed == ()
    assert "the same bits" in "".join(found.lines())
    assert sorted(store.root.rglob("*")) == before


@pytest.mark.slow
def test_what_came_out_otherwise_is_measured_and_what_changed_is_named(tiny_run, tmp_path):
    store, run = tiny_run(SHORT)
    execute(store.run_dir(run.id), Options("cpu", 1))
    record = store.run_dir(run.id) / "result.json"
    values = json.loads(record.read_text())
    values["digests"]["model.safetensors"] = "0" * 64  # as if other weights had come out
    values["environment"]["torch"] = "2.0"
    record.write_text(json.dumps(values))
    keep = tmp_path / "again"
    found = reproduce(store, run.id, "cpu", None, keep=keep)
    assert not found.is_same
    assert found.same_counts
    assert found.largest_difference == 0
    assert found.decides_bits
    assert any(text.startswith("torch: 2.0, now ") for text in found.changed)
    assert keep.joinpath(run.id[:2], run.id, "result.json").exists()
    json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(InputError, match="not empty"):
        reproduce(store, run.id, "cpu", None, keep=keep)


def test_what_is_not_done_cannot_be_held_against(tiny_run):
    store, run = tiny_run(SHORT)
    with pytest.raises(InputError, match="not finished"):
        reproduce(store, run.id, "cpu", None)
