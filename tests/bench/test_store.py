import json
import os
import stat
from dataclasses import replace

import pytest

from bench.plan import Run
from bench.spec import RunSpec, TrainSpec, parse
from bench.store.atomic import replacing, write_json
from bench.store.runs import Failure, Log, Store
from fcn.errors import InputError


@pytest.fixture
def run():
    return Run(RunSpec(train=TrainSpec(steps=7)), fingerprint="ab" * 32)


def test_ids_are_pinned():
    """A changed id makes every finished run be trained again: raise SEMANTICS, and say so."""
    spec = RunSpec.model_validate(
        {"model": {"backbone": "vgg16", "skip": "fcn16s"}, "train": {"steps": 9, "lr": 1e-4}}
    )
    assert Run(spec, "0" * 64).id == "27bb81f4fba37472"
    assert Run(spec, "0" * 64, parent="1" * 16).id == "833e618a2aaba754"


def test_ids_of_bf16_runs_alone_carry_its_version(tmp_path):
    """The backward of their loss became fp32; what stores hold of them stays readable by id."""
    settings = {
        "model": {"backbone": "vgg16", "skip": "fcn16s"},
        "train": {"steps": 9, "lr": 1e-4, "precision": "bf16"},
    }
    run = Run(RunSpec.model_validate(settings), "0" * 64)
    assert run.id == "8e0363b3620a0079"
    assert replace(run, parent="1" * 16).id == "7c5eadae20edf7eb"
    run.require_current()

    store = Store(tmp_path)
    old = "bbf66a170eb52584"  # as every version until now called it
    text = (store.prepare(run) / "spec.yaml").read_text().replace(run.id, old)
    store.run_dir(old).mkdir(parents=True)
    (store.run_dir(old) / "spec.yaml").write_text(text)
    found = store.run(old)
    assert found.id == old
    assert found.spec == run.spec
    assert store.run(run.id) == run
    with pytest.raises(InputError, match=f"run {old} was begun by an earlier version"):
        found.require_current()


def test_defaults_are_pinned():
    """Ids leave defaults out, so that a new setting keeps old runs: a default may not change."""
    defaults = RunSpec().model_dump(mode="json")
    for section, values in DEFAULTS.items():
        assert {key: defaults[section][key] for key in values} == values


DEFAULTS = {
    "model": {
        "backbone": "resnet18", "pretrained": False, "skip": "fcn8s", "head": "linear",
        "upsampling": "bilinear", "fusion": "sum", "score_init": "zero", "dropout": 0.0,
    },
    "data": {"dataset": "shapes", "options": {}, "input_scale": 1.0},
    "train": {
        "split": "train", "batch_size": 16, "batch_norm_groups": 1, "grad_accum_steps": 1,
        "optimizer": "sgd", "lr": 0.01,
        "momentum": 0.9, "weight_decay": 5e-4, "schedule": "poly", "power": 0.9, "warmup_steps": 0,
        "clip_grad_norm": None, "ema_decay": 0.0, "class_weights": "none", "crop": None,
        "scale": [1.0, 1.0], "flip": True, "precision": "fp32", "deterministic": False,
        "channels_last": True,
        "init_from": None,
    },
    "evaluate": {"split": "test", "eval_split": "val", "eval_every": 0, "boundary": False},
}  # fmt: skip


@pytest.mark.parametrize("model", [{"pretrained": "no"}, {"pretrained": "True"}, {"dropout": 1.0}])
def test_a_failed_run_of_what_is_refused_today_is_still_read(tmp_path, run, model):
    """They were accepted, failed, and lie in stores beside others."""
    values = run.to_json()
    values["spec"]["model"] |= model
    old = Run.from_json(values, where="x")
    store = Store(tmp_path)
    store.prepare(old)
    assert store.run(old.id) == old
    with pytest.raises(InputError, match=next(iter(model))):
        parse(RunSpec, values["spec"], where="x")


def test_an_id_depends_on_content_alone(run):
    assert Run.from_json(json.loads(json.dumps(run.to_json())), where="x").id == run.id
    named = run.spec.train.model_copy(update={"init_from": "any name"})
    assert replace(run, spec=run.spec.model_copy(update={"train": named})).id == run.id
    assert replace(run, spec=run.spec.model_copy(update={"seed": 1})).id != run.id
    assert replace(run, fingerprint="cd" * 32).id != run.id
    assert replace(run, parent="1" * 16).id != run.id


def test_a_run_is_read_back_as_it_was_written(tmp_path, run):
    store = Store(tmp_path)
    folder = store.prepare(run)
    assert folder == tmp_path / run.id[:2] / run.id
    assert Store(tmp_path).run(run.id) == run
    assert list(store.run_ids()) == [run.id]
    assert store.find(run.id[:5]) == run.id
    assert store.status(run.id) == "missing"
    store.record_failure(run.id, Failure("error", "why", step=3))
    assert store.status(run.id) == "failed"
    assert store.failure(run.id) == Failure("error", "why", step=3)


def test_an_edited_run_and_another_format_are_refused(tmp_path, run):
    store = Store(tmp_path)
    path = store.prepare(run) / "spec.yaml"
    text = path.read_text()
    path.write_text(text.replace("steps: 7", "steps: 8"))
    with pytest.raises(InputError, match=r"spec\.yaml describes run .* not .*edited"):
        store.run(run.id)
    path.write_text(text.replace("format: 1", "format: 99"))
    with pytest.raises(InputError, match="not of format 1"):
        store.run(run.id)
    write_json(tmp_path / "store.json", {"format": 99})
    with pytest.raises(InputError, match="--runs DIR"):
        Store(tmp_path)


@pytest.mark.parametrize("name", ["..", "../../etc", "ABCDEF0123456789", "", "0" * 17, "a/b"])
def test_a_name_cannot_leave_the_store(tmp_path, name):
    with pytest.raises(InputError, match="not a run id"):
        Store(tmp_path).run_dir(name)


def test_a_log_line_cut_by_a_kill_is_left_out(tmp_path, run):
    store = Store(tmp_path)
    rows = [{"step": step, "loss": 1.5, "lr": 0.1, "seconds": 2.0} for step in (1, 2)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (store.prepare(run) / "metrics.jsonl").write_text(text + '{"ste')
    assert store.log(run.id) == Log(rows)


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("{half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": float("nan")})


def test_a_file_and_then_its_name_are_made_to_last(tmp_path, monkeypatch):
    """Synced before the rename, and the folder after it: else a loss of power takes the name."""
    synced = []

    def fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append(("folder" if is_folder else "file", (tmp_path / "a.json").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_json(tmp_path / "a.json", {"a": 1})
    assert synced == [("file", False), ("folder", True)]
