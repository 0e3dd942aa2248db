import os
import signal

import pytest

from bench.lease import hold
from bench.run.execute import Options, execute
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
