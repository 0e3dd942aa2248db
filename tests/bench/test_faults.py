"""Kills, damage and faults: nothing finished is lost, and what is resumed has the same bits."""

import os
import random
import re
import signal
import time
from itertools import product
from pathlib import Path

import pytest
from attempts import OFTEN, TINY, FaultyEngine, bits, end_of, fork
from pretend import Notes, plan_of

from bench import faults
from bench.grid.controller import Policy, execute_plan
from bench.grid.slots import Slot
from bench.grid.warm import WarmEngine
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.upkeep import verify


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_twenty_random_kills_change_no_bit(tiny_run, reference):
    """A run that is done before it was killed is followed by a new one, until there are twenty."""
    chance = random.Random(0)
    kills = finished = 0
    while kills < 20 or not finished:
        store, run = tiny_run(TINY, folder=f"killed{finished}")
        folder = store.run_dir(run.id)
        while store.status(run.id) != "done":
            pid = fork(lambda folder=folder: execute(folder, OFTEN))
            if kills < 20:
                time.sleep(chance.uniform(0.02, 0.2))
                os.kill(pid, signal.SIGKILL)
            kills += end_of(pid) == -signal.SIGKILL
        finished += 1
        assert bits(store, run) == reference
        assert not store.result(run.id).notes
        assert not list(folder.glob("checkpoint*"))
        # The last kill may come after the result, and before the lease is given back.
        assert {finding.path.name[:6] for finding in verify(store)} <= {"lease-"}
    print(f"{kills} kills in {finished} runs")


def cut(path):
    path.write_bytes(path.read_bytes()[:-2])  # JSON ends in a line end


def empty(path):
    path.write_bytes(b"")


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) - min(1000, len(content) // 2)] ^= 0x40
    path.write_bytes(content)


TENSORS, MANIFEST, ALL = "*5.safetensors", "*5.json", "*"
"""Files of the newest checkpoint, and all files of both."""


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (cut, TENSORS),
        (empty, TENSORS),
        (flip_a_bit, TENSORS),
        (Path.unlink, TENSORS),
        (cut, MANIFEST),
        (flip_a_bit, MANIFEST),
        (flip_a_bit, "*5.*"),
        (empty, ALL),
        (flip_a_bit, ALL),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_for_the_older(
    tiny_run, reference, monkeypatch, damage, names
):
    """Where both are damaged, the run starts again."""
    store, run = tiny_run(TINY, folder="damaged")
    folder = store.run_dir(run.id)
    monkeypatch.setenv(faults.VARIABLE, "step:raise@6")
    monkeypatch.setattr(faults, "_passed", faults.Counter())
    assert execute(folder, OFTEN) == outcome.ERROR
    for path in list(folder.glob(f"checkpoint-{names}")):
        damage(path)
    monkeypatch.delenv(faults.VARIABLE)
    assert execute(folder, OFTEN) == outcome.DONE
    assert bits(store, run) == reference
    notes = store.result(run.id).notes
    assert [note.split(" (")[0] for note in notes] == [
        f"checkpoint checkpoint-{step:09d} was damaged"
        for step in ((5, 4) if names == ALL else (5,))
    ]
    assert list((folder / "quarantine").iterdir())


def test_another_number_of_threads_is_noted(tiny_run, monkeypatch):
    store, run = tiny_run(TINY)
    folder = store.run_dir(run.id)
    monkeypatch.setenv(faults.VARIABLE, "step:raise@5")
    monkeypatch.setattr(faults, "_passed", faults.Counter())
    execute(folder, OFTEN)
    monkeypatch.delenv(faults.VARIABLE)
    assert execute(folder, Options("cpu", 2)) == outcome.DONE
    assert "resumed inexactly at step 4: threads 1 -> 2" in store.result(run.id).notes[0]


ENDS = {
    "raise": (outcome.ERROR, "error"),
    "oom": (outcome.MEMORY, "memory"),
    "enospc": (outcome.DISK, "disk"),
    "crash": (-signal.SIGKILL, None),
}
"""Exit code and recorded reason of each action; a killed process records nothing."""

IN_TURN = [(point, list(ENDS)[i % len(ENDS)]) for i, point in enumerate(faults.POINTS)]
THE_OTHERS = [pair for pair in product(faults.POINTS, ENDS) if pair not in IN_TURN]


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("point", "action"),
    IN_TURN + [pytest.param(*pair, marks=pytest.mark.slow) for pair in THE_OTHERS],
)
def test_a_fault_at_every_point_is_recorded_and_survived(
    tiny_run, reference, monkeypatch, point, action
):
    """Every point meets every action; the next attempt has the same bits."""
    store, run = tiny_run(TINY)
    folder = store.run_dir(run.id)
    monkeypatch.setenv(faults.VARIABLE, f"{point}:{action}")
    monkeypatch.setattr(faults, "_passed", faults.Counter())
    code, reason = ENDS[action]
    assert end_of(fork(lambda: execute(folder, OFTEN))) == code
    failure = store.failure(run.id)
    assert (failure and failure.reason) == reason
    if failure is not None:
        assert point in failure.message
    monkeypatch.delenv(faults.VARIABLE)
    assert execute(folder, OFTEN) == outcome.DONE
    assert bits(store, run) == reference
    assert list(verify(store)) == []


def sources():
    root = Path(faults.__file__).parent.parent
    return [
        p for name in ("fcn", "bench", "reports", "ablations") for p in (root / name).rglob("*.py")
    ]


def test_every_point_is_in_the_code_once():
    code = "".join(path.read_text() for path in sources())
    assert sorted(re.findall(r'fault_point\("(.+?)"\)', code)) == sorted(faults.POINTS)
    used = [path for path in sources() if faults.VARIABLE in path.read_text()]
    assert [path.name for path in used] == ["faults.py"]


def test_faults_are_inert_unless_asked_for_and_a_wrong_word_is_refused(monkeypatch):
    monkeypatch.setattr(faults, "_passed", faults.Counter())
    monkeypatch.delenv(faults.VARIABLE, raising=False)
    assert not any(faults.fault_point(point) for point in faults.POINTS)
    assert not faults._passed
    monkeypatch.setenv(faults.VARIABLE, "loss:nan@2")
    assert [faults.fault_point("loss") for _ in range(4)] == [False, True, False, False]
    assert not any(faults.fault_point(point) for point in faults.POINTS if point != "loss")
    for wrong in ("losss:nan", "loss:explode", "loss", ""):
        monkeypatch.setenv(faults.VARIABLE, wrong)
        with pytest.raises(ValueError, match=r"give POINT:ACTION .*run\.locked.*enospc"):
            faults.fault_point("step")


def test_a_poisoned_loss_is_not_tried_again(tiny_run, monkeypatch):
    store, run = tiny_run(TINY)
    monkeypatch.setenv(faults.VARIABLE, "loss:nan@7")
    monkeypatch.setattr(faults, "_passed", faults.Counter())
    assert execute(store.run_dir(run.id), OFTEN) == outcome.NONFINITE
    assert "at step 7" in store.failure(run.id).message
    monkeypatch.delenv(faults.VARIABLE)
    engine = WarmEngine([Slot("cpu", 1)])
    assert execute_plan(plan_of(run), store, engine, Notes()) == 1
    assert execute_plan(plan_of(run), store, engine, Notes(), Policy(retry_failed=True)) == 0


@pytest.mark.parametrize(
    ("fault", "retries"),
    [("step:crash@3", ["killed", "killed"]), ("step:raise", ["error"])],
)
def test_retries_are_by_cause_and_bounded(tiny_run, fault, retries):
    store, run = tiny_run(TINY)
    watcher = Notes()
    engine = FaultyEngine(1, {run.id: [fault] * 9})
    assert execute_plan(plan_of(run), store, engine, watcher) == 1
    assert watcher.retries == retries


@pytest.mark.slow
@pytest.mark.parametrize("point", ["run.locked", "step", "evaluation.written"])
def test_a_hung_run_is_ended_and_tried_again(tiny_run, reference, point):
    store, run = tiny_run(TINY)
    watcher = Notes()
    engine = FaultyEngine(1, {run.id: [f"{point}:hang"]})
    assert execute_plan(plan_of(run), store, engine, watcher, Policy(hang_seconds=8)) == 0
    assert watcher.retries == ["hung"]
    assert bits(store, run) == reference


@pytest.mark.slow
def test_a_run_that_always_hangs_is_given_up(tiny_run):
    store, run = tiny_run(TINY)
    watcher = Notes()
    engine = FaultyEngine(1, {run.id: ["step:hang@3"] * 3})
    assert execute_plan(plan_of(run), store, engine, watcher, Policy(hang_seconds=8)) == 1
    assert watcher.retries == ["hung", "hung"]
    assert store.failure(run.id).reason == "hung"
    assert store.failure(run.id).step == 1  # the last one logged
