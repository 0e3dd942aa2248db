"""How a run stands: each state as listings show it, whichever command is at work on it."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from pretend import pretend_elsewhere, result_of, run_of

from ablations import cli
from bench.cli.run_rows import show_row
from bench.store.lease import hold
from bench.store.runs import Failure, Store
from bench.store.state import state_of


@pytest.fixture
def prepared(tmp_path):
    """A store with one run that nobody has begun: (store, run, folder)."""
    store, run = Store(tmp_path / "runs"), run_of(0)
    return store, run, store.prepare(run)


def leave_checkpoint(folder):
    for suffix in ("json", "safetensors"):
        (folder / f"checkpoint-000000003.{suffix}").touch()


def test_a_run_that_nobody_began_is_missing_with_and_without_its_folder(prepared):
    store, run, _ = prepared
    assert state_of(store, run.id) == state_of(store, run_of(1).id) == "missing"


def test_a_run_that_somebody_holds_is_running_whatever_happened_before(prepared):
    store, run, folder = prepared
    leave_checkpoint(folder)
    store.record_failure(run.id, Failure("error", "of the attempt before"))
    with hold(folder):
        assert state_of(store, run.id) == "running"
        pretend_elsewhere(folder)
        assert state_of(store, run.id) == "running"
    assert state_of(store, run.id) == "failed"


@pytest.mark.parametrize(("has_checkpoint", "state"), [(True, "stopped"), (False, "missing")])
def test_a_run_whose_holder_died_is_what_it_can_go_on_from(prepared, has_checkpoint, state):
    store, run, folder = prepared
    if has_checkpoint:
        leave_checkpoint(folder)
    code = "import sys; from pathlib import Path; from bench.store.lease import hold; import os\n"
    code += "with hold(Path(sys.argv[1])): os._exit(1)"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert list(folder.glob("lease-*"))
    assert state_of(store, run.id) == state


@pytest.mark.parametrize("reason", ["stopped", "error", "nonfinite", "blocked", "killed"])
def test_a_run_that_was_stopped_is_told_from_one_that_failed(prepared, reason):
    store, run, _ = prepared
    store.record_failure(run.id, Failure(reason, "why", step=3))
    assert state_of(store, run.id) == ("stopped" if reason == "stopped" else "failed")


def test_a_run_with_its_result_is_done_even_while_its_lease_is_released(prepared):
    store, run, folder = prepared
    with hold(folder):
        store.publish(result_of(run))
        assert state_of(store, run.id) == "done"


def test_listings_show_the_state(prepared, monkeypatch, capsys):
    store, run, folder = prepared

    def listed(*words):
        monkeypatch.setattr(sys, "argv", ["fcn-bench", *words, "--runs", str(store.root), "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        found = json.loads(capsys.readouterr().out)
        return found[0] if isinstance(found, list) else found

    assert listed("runs", "list")["state"] == "missing"
    with hold(folder):
        for words in (["list"], ["show", run.id[:6]]):
            row = listed("runs", *words)
            assert (row["state"], row["reason"]) == ("running", None)
    store.record_failure(run.id, Failure("stopped", "stopped by a signal after step 3", step=3))
    row = listed("runs", "list")
    assert (row["state"], row["reason"]) == ("stopped", "stopped")
    assert show_row(row)["state"] == "stopped"  # and not why once more
    assert show_row(row | {"state": "failed", "reason": "error"})["state"] == "failed: error"
    store.publish(result_of(run))
    assert listed("runs", "show", run.id)["state"] == "done"


SPEC = """
question: Which state?
common:
  model: {backbone: test_resnet, skip: fcn32s, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 2, num_val: 1, num_test: 1}}
  train: {steps: 1, batch_size: 2}
variants: {a: {}}
"""


def test_check_shows_the_state(tmp_path, monkeypatch, capsys):
    (tmp_path / "q.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fcn-bench", "check", "q.yaml", "--json"])

    def checked():
        with pytest.raises(SystemExit):
            cli.main()
        return json.loads(capsys.readouterr().out)[0]

    row = checked()
    folder = Store(tmp_path / "runs").run_dir(row["id"])
    assert row["state"] == "missing"
    os.makedirs(folder)
    leave_checkpoint(folder)
    assert checked()["state"] == "stopped"
    with hold(folder):
        assert checked()["state"] == "running"
    shutil.rmtree(folder)
