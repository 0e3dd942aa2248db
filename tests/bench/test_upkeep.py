import os
import signal

import pytest

from bench.lease import hold
from bench.run.execute import Options, execute
from bench.store import Failure
from bench.upkeep import prune, verify


@pytest.fixture
def finished(tiny_run):
    store, run = tiny_run({"train.steps": 1, "evaluate.watch_every": 0})
    execute(store.run_dir(run.id), Options("cpu", 1))
    return store, store.run_dir(run.id)


def test_a_whole_store_has_no_findings(finished):
    store, _ = finished
    assert list(verify(store)) == []
    assert prune(store) == 0


@pytest.mark.parametrize(
    ("damage", "name", "kind"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"x"), "model.safetensors", "damaged"),
        (lambda f: (f / "eval" / "test.npz").unlink(), "test.npz", "missing"),
        (lambda f: (f / "result.json").write_text("{"), "", "unreadable"),
        (lambda f: (f / ".tmp-x").write_text("half"), ".tmp-x", "leftover"),
        (lambda f: (f / "checkpoint-000000001.json").write_text("{}"), "checkpoint", "leftover"),
    ],
)
def test_what_is_wrong_is_found(finished, damage, name, kind):
    store, folder = finished
    damage(folder)
    (finding,) = verify(store)
    assert finding.kind == kind
    assert name in str(finding.path)


def test_pruning_frees_leftovers_and_leaves_results(finished):
    store, folder = finished
    (folder / "checkpoint-000000001.safetensors").write_bytes(b"1234")
    (store.packs_dir / "0123456789abcdef").mkdir()
    assert prune(store, failed=True) == 4
    assert (folder / "result.json").exists()
    assert list(verify(store)) == []
    assert prune(store, run_ids=[folder.name]) > 1000
    assert not folder.exists()


@pytest.mark.parametrize(("reason", "goes"), [("stopped", False), ("error", True)])
def test_what_was_stopped_goes_on_and_is_not_pruned_as_failed(finished, reason, goes):
    store, folder = finished
    (folder / "result.json").unlink()
    store.record_failure(folder.name, Failure(reason, "why", step=1))
    (folder / "checkpoint-000000001.json").write_text("{}")
    prune(store, failed=True)
    assert folder.exists() != goes
    assert goes or (folder / "checkpoint-000000001.json").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(path.read_text().replace("steps: 1", "steps: 2")),
        lambda path: path.write_bytes(path.read_bytes()[:40] + b"\xff"),
        lambda path: path.write_text("a: &a [*a"),
        lambda path: path.unlink(),
    ],
)
def test_a_result_whose_run_cannot_be_read_is_found_and_stays(finished, damage):
    """So do the pictures that it may need; what is known to be left over goes."""
    store, folder = finished
    damage(folder / "spec.yaml")
    (folder / ".tmp-x").write_text("half")
    kinds = {finding.kind for finding in verify(store)}
    assert kinds & {"unreadable", "missing"}
    assert "leftover" in kinds
    prune(store, failed=True)
    assert (folder / "result.json").exists()
    assert (folder / "model.safetensors").exists()
    assert not (folder / ".tmp-x").exists()
    assert list(store.packs_dir.iterdir())


def test_a_folder_that_holds_no_run_is_found_and_pruned(finished):
    store, folder = finished
    orphan = folder.with_name("0" * 16)
    orphan.mkdir()
    (orphan / "checkpoint-000000001.safetensors").write_bytes(b"1234")
    (finding,) = verify(store)
    assert (finding.path, finding.kind) == (orphan, "leftover")
    assert prune(store) == 4
    assert not orphan.exists()
    assert list(verify(store)) == []


def test_what_a_killed_process_left_is_found_and_pruned(tiny_run):
    store, run = tiny_run()
    folder = store.run_dir(run.id)
    pid = os.fork()
    if pid == 0:
        with hold(folder):
            (next(folder.glob("lease-*/*/")) / ".tmp-half").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    (finding,) = verify(store)
    assert finding.kind == "leftover"
    assert "process that is gone" in finding.message
    prune(store)
    assert list(verify(store)) == []
