"""One run from folder to result: golden losses, exact resume, every way to end."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from attempts import TINY, bits, end_of, fork, process_of, wait_for
from safetensors import SafetensorError

from bench.grid.building import count_cost
from bench.metrics import summarize
from bench.run import execute as module
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.run.life import Life
from bench.run.weights import load_weights
from bench.store.atomic import file_digest
from bench.store.lease import hold
from bench.store.runs import Store

OPTIONS = Options(device="cpu", threads=1)


def losses(store, run):
    return [row["loss"] for row in store.logs(run.id) if "loss" in row]


def test_a_run_leaves_its_whole_record(tiny_run):
    store, run = tiny_run()
    folder = store.run_dir(run.id)
    assert execute(folder, OPTIONS) == outcome.DONE
    result = store.result(run.id)
    assert result.num_images == 5
    assert result.split == "test"
    for name, digest in result.digests.items():
        assert file_digest(folder / name) == digest
    names, confusions = store.confusions(run.id, "test")
    assert len(names) == 5
    assert confusions.sum(0).tolist() == result.confusion
    assert 0 < summarize(result.confusion).pixel_acc < 1
    assert set(store.predictions(run.id, "test")) == set(names)
    assert [row["step"] for row in store.logs(run.id) if "split" in row] == [3, 6]
    assert not list(folder.glob("checkpoint*"))
    assert json.loads((folder / "env.json").read_text())["threads"] == 1
    expected = count_cost(run.spec.model, {"num_classes": 6}, size=(32, 32)).gmacs
    assert result.gmacs == pytest.approx(expected, abs=1e-4)
    assert 0 < result.latency_ms < 60_000


def test_golden_losses(tiny_run):
    """Recorded; a change that moves them says why in its commit (rounding differs by machine).

    Eight images a batch: with two, batch norms over two values turn rounding into signs.
    """
    store, run = tiny_run(
        {"model.backbone": "resnet10t", "train.batch_size": 8, "train.grad_accum_steps": 1}
    )
    execute(store.run_dir(run.id), OPTIONS)
    assert losses(store, run) == pytest.approx(GOLDEN, rel=5e-4)


GOLDEN = [1.831128, 1.770011, 1.787222, 1.717546, 1.718222, 1.698475]


@pytest.mark.parametrize(("optimizer", "ema_decay"), [("sgd", 0.0), ("sgd", 0.9), ("adamw", 0.9)])
@pytest.mark.parametrize("stop_at", [1, 4])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(
    tiny_run, stopped_after, optimizer, ema_decay, stop_at
):
    settings = {
        "train.optimizer": optimizer,
        "train.lr": 0.003,
        "train.ema_decay": ema_decay,
    }
    whole_store, run = tiny_run(settings, folder="whole")
    assert execute(whole_store.run_dir(run.id), OPTIONS) == outcome.DONE

    store, same = tiny_run(settings, folder="stopped")
    assert same.id == run.id
    with stopped_after(stop_at):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.STOPPED
    assert store.failure(run.id).step == stop_at
    torch.manual_seed(123)  # whatever happened in between
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE

    assert bits(store, run) == bits(whole_store, run)
    assert whole_store.result(run.id).confusion == store.result(run.id).confusion
    assert store.failure(run.id) is None


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(tiny_run):
    settings = {"train.steps": 40}
    whole_store, run = tiny_run(settings, folder="whole")
    execute(whole_store.run_dir(run.id), OPTIONS)
    store, _ = tiny_run(settings, folder="killed")
    folder = store.run_dir(run.id)
    code = (
        "import sys; from pathlib import Path; from bench.run.execute import Options, execute;"
        "execute(Path(sys.argv[1]), Options('cpu', 1, checkpoint_seconds=0))"
    )
    with process_of([sys.executable, "-c", code, str(folder)]):
        wait_for(lambda: len(losses(store, run)) > 10)
    assert store.status(run.id) == "missing"
    assert list(folder.glob("checkpoint-*.json"))
    assert execute(folder, OPTIONS) == outcome.DONE
    assert bits(store, run) == bits(whole_store, run)


def test_a_child_starts_from_its_parents_weights(tiny_run):
    store, parent = tiny_run({"model.skip": "fcn32s"})
    execute(store.run_dir(parent.id), OPTIONS)
    child_spec = {"model.skip": "fcn16s", "train.steps": 0}  # its score_init is "random"
    _, child = tiny_run(child_spec, parent=parent.id)
    assert execute(store.run_dir(child.id), OPTIONS) == outcome.DONE
    record = store.result(child.id).weights
    assert record["parent"] == parent.id
    assert record["unused"] == []
    assert record["zeroed"] == record["new"] == ["skips.16.score.weight", "skips.16.score.bias"]
    weights, parents = (load_weights(store, store.result(r.id)) for r in (child, parent))
    assert all(torch.equal(weights[name], parents[name]) for name in record["copied"])
    assert not any(weights[name].any() for name in record["new"])
    # A zero-initialised skip adds nothing: before its first step the child predicts as its parent,
    # up to upsampling in two stages instead of one.
    ours, theirs = (np.array(store.result(r.id).confusion) for r in (child, parent))
    assert abs(ours - theirs).sum() / ours.sum() < 0.2


def test_a_staged_run_predicts_at_its_start_what_its_parent_did(tiny_run):
    """With nearest cells two upsamplings are one, and every pixel is counted as before."""
    nearest = {"model.upsampling": "nearest", "model.backbone": "vgg11_bn"}
    store, parent = tiny_run({**nearest, "model.skip": "fcn32s", "train.steps": 1})
    execute(store.run_dir(parent.id), OPTIONS)
    ids = [parent.id]
    for skip in ("fcn16s", "fcn8s"):
        _, child = tiny_run({**nearest, "model.skip": skip, "train.steps": 0}, parent=ids[-1])
        assert execute(store.run_dir(child.id), OPTIONS) == outcome.DONE
        ids.append(child.id)
    first, *others = (store.result(run_id).confusion for run_id in ids)
    assert others == [first, first]


def test_a_parent_with_nothing_to_give_is_refused(tiny_run):
    store, parent = tiny_run({"train.steps": 1})
    execute(store.run_dir(parent.id), OPTIONS)
    stranger = {"model.external": "torchvision/lraspp_mobilenet_v3_large"}
    _, child = tiny_run(stranger, parent=parent.id)
    assert execute(store.run_dir(child.id), OPTIONS) != outcome.DONE
    assert "shares no weights with that of run" in store.failure(child.id).message


def test_a_nonfinite_loss_ends_the_run_with_its_step(tiny_run, monkeypatch):
    store, run = tiny_run()
    loss = module.network_loss
    calls = []

    def poisoned(*args, **kwargs):
        calls.append(1)
        return loss(*args, **kwargs) * (float("nan") if len(calls) > 6 else 1)

    monkeypatch.setattr(module, "network_loss", poisoned)
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.NONFINITE
    failure = store.failure(run.id)
    assert failure.reason == "nonfinite"
    assert "nan at step 4" in failure.message  # two batches a step
    assert store.result(run.id) is None


def test_a_last_step_that_leaves_no_numbers_is_no_result(tiny_run):
    """Its loss is still finite: it is that of the weights before."""
    too_far = {"train.lr": 3e38, "train.weight_decay": 1e3, "train.steps": 1}
    store, run = tiny_run({**too_far, "evaluate.eval_every": 0})
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.NONFINITE
    assert np.isfinite(losses(store, run)).all()
    assert "infinite after the last step; lower train.lr" in store.failure(run.id).message
    assert store.result(run.id) is None


def test_the_log_lasts_before_the_checkpoint_that_goes_on_from_it(tiny_run, monkeypatch):
    """And before the result: else a loss of power takes rows of steps that are not made again."""
    store, run = tiny_run({"train.steps": 2, "train.grad_accum_steps": 1, "evaluate.eval_every": 0})
    path, happened, fsync = store.run_dir(run.id) / "metrics.jsonl", [], os.fsync

    def note(descriptor):
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            happened.append(f"{path.read_text().count('loss')} rows")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    save, publish = module.save_checkpoint, module.Store.publish
    monkeypatch.setattr(
        module, "save_checkpoint", lambda *a: (happened.append("checkpoint"), save(*a))
    )
    monkeypatch.setattr(
        module.Store, "publish", lambda *a: (happened.append("result"), publish(*a))
    )
    options = Options("cpu", 1, checkpoint_seconds=0)
    assert execute(store.run_dir(run.id), options) == outcome.DONE
    assert happened == ["1 rows", "checkpoint", "2 rows", "result"]


def test_rows_that_a_loss_of_power_left_unreadable_are_made_again(
    tiny_run, stopped_after, tmp_path
):
    """Those that a checkpoint saw synced are lost where a disk damages them, and that is noted."""
    settings = {"train.steps": 5, "train.grad_accum_steps": 1, "evaluate.eval_every": 0}
    whole, run = tiny_run(settings, folder="whole")
    execute(whole.run_dir(run.id), OPTIONS)
    store, _ = tiny_run(settings, folder="stopped")
    folder = store.run_dir(run.id)
    with stopped_after(3):
        assert execute(folder, OPTIONS) == outcome.STOPPED
    log = folder / "metrics.jsonl"
    rows = log.read_bytes()
    copytree(folder, damaged := tmp_path / "damaged" / folder.parent.name / folder.name)
    copytree(store.packs_dir, tmp_path / "damaged" / "packs")
    log.write_bytes(rows + bytes(100) + b'\n{"step": 4')
    assert execute(folder, OPTIONS) == outcome.DONE
    assert bits(store, run) == bits(whole, run)

    first = rows.index(b"\n") + 1
    (damaged / "metrics.jsonl").write_bytes(rows[:first] + bytes(len(rows) - first) + b"\n")
    assert execute(damaged, OPTIONS) == outcome.DONE
    result = Store(tmp_path / "damaged").result(run.id)
    assert result.confusion == whole.result(run.id).confusion
    assert result.notes == (
        "the log was damaged (line 2 is no row of a log): its steps 2 to 3 are lost",
    )


def test_a_run_shows_life_at_each_step_and_each_batch_that_is_scored(tiny_run, monkeypatch):
    """A split may take longer than the time after which a silent run counts as hung."""
    store, run = tiny_run({"train.steps": 2, "evaluate.eval_every": 2})
    monkeypatch.setattr("bench.run.evaluate_split.BATCH_SIZE", 1)
    signs, show_life = [], module._Execution.show_life
    monkeypatch.setattr(
        module._Execution, "show_life", lambda self: (show_life(self), signs.append(1))
    )
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert len(signs) == 2 + 3 + 5  # steps, images of val, images of test
    assert store.heartbeat(run.id)


def test_a_sign_of_life_is_given_once_a_second_at_most(tmp_path, monkeypatch):
    checked, clock = [], iter([0.0, 0.4, 0.99, 1.0, 1.5, 60.0])
    monkeypatch.setattr("bench.run.life.time", SimpleNamespace(monotonic=lambda: next(clock)))
    life = Life(SimpleNamespace(check=lambda: checked.append(1)), tmp_path)
    for expected in (1, 1, 1, 2, 2, 3):
        life.show()
        assert len(checked) == expected
    assert (tmp_path / "heartbeat").exists()


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (RuntimeError("boom"), outcome.ERROR, "error"),
        (MemoryError(), outcome.MEMORY, "memory"),
        (RuntimeError("CUDA out of memory. Tried"), outcome.MEMORY, "memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), outcome.MEMORY, "memory"),
        (torch.AcceleratorError("CUDA error: out of memory"), outcome.MEMORY, "memory"),
        (OSError(28, "No space left on device"), outcome.DISK, "disk"),
        (OSError(30, "Read-only file system", "/runs/x"), outcome.DISK, "disk"),
        (OSError(13, "Permission denied", "/runs/x"), outcome.DISK, "disk"),
        # As torch and safetensors say that a disk is full.
        (RuntimeError("unexpected pos 64 vs 0: [Errno 28] No space left"), outcome.DISK, "disk"),
        (SafetensorError("I/O error: No space left (os error 28)"), outcome.DISK, "disk"),
    ],
)
def test_an_error_is_recorded_with_its_reason(tiny_run, monkeypatch, error, code, reason):
    store, run = tiny_run()

    def fail(*args):
        raise error

    monkeypatch.setattr(module, "evaluate_split", lambda *a, **k: fail())
    assert execute(store.run_dir(run.id), OPTIONS) == code
    failure = store.failure(run.id)
    assert failure.reason == reason
    assert type(error).__name__ in failure.message
    assert (getattr(error, "filename", None) or "") in failure.message
    assert "Traceback" in failure.details


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_memory_that_really_runs_out_is_told_from_other_errors(tiny_run):
    store, run = tiny_run({"train.batch_size": 64, "train.crop": [512, 512], "train.steps": 1})

    def with_little_memory():
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, size + 2**28))
        return execute(store.run_dir(run.id), OPTIONS)

    assert end_of(fork(with_little_memory)) == outcome.MEMORY
    assert "can't allocate memory" in store.failure(run.id).message


def test_a_run_that_another_process_holds_is_left_alone(tiny_run):
    store, run = tiny_run()
    folder = store.run_dir(run.id)
    with hold(folder):
        code = f"import sys; from bench.cli.app import app; app(['exec', {str(folder)!r}])"
        ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert ended.returncode == outcome.BUSY
    assert store.status(run.id) == "missing"


def test_a_finished_run_is_not_made_again(tiny_run):
    store, run = tiny_run({"train.steps": 1})
    execute(store.run_dir(run.id), OPTIONS)
    before = (store.run_dir(run.id) / "result.json").read_bytes()
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert (store.run_dir(run.id) / "result.json").read_bytes() == before


def test_deterministic_mode_is_a_setting_of_the_run_and_changes_nothing_on_a_cpu(tiny_run):
    digests = set()
    for deterministic in (False, True):
        settings = {
            "train.steps": 2,
            "evaluate.eval_every": 0,
            "train.deterministic": deterministic,
        }
        store, run = tiny_run(settings, folder=str(deterministic))
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        digests.add(store.result(run.id).digests["model.safetensors"])
    torch.use_deterministic_algorithms(False)
    assert len(digests) == 1


def test_a_run_is_made_only_of_the_weights_that_it_was_planned_with(tiny_run, tmp_path):
    """The file is looked at once more before the first step: its digest is part of the id."""
    import timm

    file = tmp_path / "w.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), file)
    store, run = tiny_run({"model.pretrained": str(file), "train.steps": 0})
    torch.manual_seed(1)
    torch.save(timm.create_model("test_resnet").state_dict(), file)
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.INPUT
    message = store.failure(run.id).message
    assert f"model.pretrained {file} was {run.sources['model.pretrained']}" in message
    assert f"sha256 {file_digest(file)} now" in message

    _, again = tiny_run({"model.pretrained": str(file), "train.steps": 0})
    assert again.id != run.id
    assert execute(store.run_dir(again.id), OPTIONS) == outcome.DONE
    assert store.result(again.id).weights["sha256"] == file_digest(file)


def test_a_checkpoint_of_another_run_is_set_aside(tiny_run, stopped_after):
    """Copied by hand, it is whole and fits, and would give numbers of another learning rate."""
    store, run = tiny_run({**TINY, "train.steps": 4})
    _, other = tiny_run({**TINY, "train.steps": 4, "train.lr": 0.01})
    with stopped_after(2):
        assert execute(store.run_dir(other.id), OPTIONS) == outcome.STOPPED
    for path in store.run_dir(other.id).glob("checkpoint-*"):
        (store.run_dir(run.id) / path.name).write_bytes(path.read_bytes())
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    notes = store.result(run.id).notes
    assert len(notes) == 1
    assert f"it is of run {other.id}" in notes[0]
    whole, _ = tiny_run({**TINY, "train.steps": 4}, folder="whole")
    execute(whole.run_dir(run.id), OPTIONS)
    assert bits(store, run) == bits(whole, run)
