"""Two processes, one run: a dead holder is replaced at once, a frozen one after its lease."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from attempts import OFTEN, TINY, bits, end_of, fork, process_of, wait_for

from bench.run import outcome
from bench.run.execute import execute
from bench.store.atomic import file_digest
from bench.store.lease import count_attempts
from bench.store.runs import Store
from bench.upkeep import verify

pytestmark = pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")

SHORT = replace(OFTEN, lease_seconds=0.5)
LONG = replace(OFTEN, lease_seconds=3600)


def contents(folder):
    return {
        p.name: file_digest(p) for p in folder.rglob("*") if p.is_file() and p.name != "log.txt"
    }


def test_a_killed_run_is_taken_over_at_once(tiny_run, reference):
    store, run = tiny_run(TINY)
    folder = store.run_dir(run.id)
    pid = fork(lambda: execute(folder, LONG))
    wait_for(lambda: store.heartbeat(run.id))
    os.kill(pid, signal.SIGKILL)  # nobody waits for it: it is a zombie now
    assert execute(folder, LONG) == outcome.DONE  # an hour's lease would not have been over
    end_of(pid)
    assert count_attempts(folder) == 2
    assert bits(store, run) == reference


LATER = [
    pytest.param(k, marks=[pytest.mark.slow] + [pytest.mark.long] * (k > 5)) for k in range(1, 12)
]


@pytest.mark.parametrize("moment", [0, *LATER])
def test_a_frozen_run_is_taken_over_and_publishes_nothing_when_it_wakes_up(
    tiny_run, reference, moment
):
    """Frozen at a random step, woken while the other is at work or when it is done."""
    store, run = tiny_run(TINY)
    folder = store.run_dir(run.id)
    chance = random.Random(moment)
    first = fork(lambda: execute(folder, SHORT))
    num_steps = chance.randrange(10)  # of 14: in steps, for machines differ in seconds
    wait_for(lambda: store.heartbeat(run.id) and len(store.logs(run.id)) >= num_steps)
    time.sleep(chance.uniform(0, 0.02))
    os.kill(first, signal.SIGSTOP)
    if store.status(run.id) == "done":
        os.kill(first, signal.SIGCONT)
        assert end_of(first) == outcome.DONE
        pytest.skip("it was done before it was frozen")
    second = fork(lambda: execute(folder, SHORT))
    if moment % 2:
        wait_for(lambda: count_attempts(folder) == 2)
        os.kill(first, signal.SIGCONT)
        assert end_of(first) == outcome.ORPHANED
        assert end_of(second) == outcome.DONE
    else:
        assert end_of(second) == outcome.DONE
        before = contents(folder)
        os.kill(first, signal.SIGCONT)
        assert end_of(first) == outcome.ORPHANED
        assert contents(folder) == before
    assert count_attempts(folder) == 2
    assert bits(store, run) == reference
    assert store.failure(run.id) is None
    assert [row["step"] for row in store.logs(run.id)] == list(range(1, 15))
    assert list(verify(store)) == []


@pytest.mark.slow
def test_a_frozen_process_of_the_command_line_leaves_with_76(tiny_run, reference):
    """Nothing forked, nothing shared but the folder."""
    store, run = tiny_run(TINY)
    folder = store.run_dir(run.id)
    command = [sys.executable, "-m", "bench", "exec", str(folder), "--device", "cpu"]
    command += ["--threads", "1", "--lease-seconds", "3"]
    with process_of(command, stderr=subprocess.PIPE, text=True) as first:
        wait_for(lambda: store.heartbeat(run.id))
        first.send_signal(signal.SIGSTOP)
        assert store.status(run.id) == "missing"
        assert subprocess.run(command, check=False).returncode == outcome.DONE
        before = contents(folder)
        first.send_signal(signal.SIGCONT)
        _, said = first.communicate(timeout=60)
    assert first.returncode == outcome.ORPHANED
    assert "attempt 1 was taken over" in said
    assert contents(folder) == before
    assert bits(store, run) == reference
    assert list(verify(store)) == []


SPEC = """
question: Who makes which?
common:
  model: {backbone: test_resnet, skip: fcn32s, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 8, num_val: 2, num_test: 4}}
  train: {steps: 25, batch_size: 2}
variants:
  a: {}
  b: {train.lr: 0.02}
  c: {train.lr: 0.04, train.init_from: a}
"""


@pytest.mark.slow
def test_two_commands_on_one_store_share_the_work(tmp_path):
    """As people start them; the other engine is raced below, without commands around it."""
    (tmp_path / "q.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "ablations.cli", "run", str(tmp_path / "q.yaml")]
    command += ["--runs", str(tmp_path / "runs"), "--devices", "cpu", "--slots", "2"]
    commands = [
        subprocess.Popen(
            [*command, "--out", str(tmp_path / f"out{i}")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    said = [process.communicate()[0] for process in commands]
    assert [process.returncode for process in commands] == [0, 0], said
    store = Store(tmp_path / "runs")
    run_ids = list(store.run_ids())
    assert len(run_ids) == 3
    assert [store.status(i) for i in run_ids] == ["done"] * 3
    assert [count_attempts(store.run_dir(i)) for i in run_ids] == [1] * 3
    for i in range(2):
        assert "[3/3]" in said[i]  # each has seen all of them end
        assert "FAILED" not in said[i]
        assert "tried again" not in said[i]
        assert list((tmp_path / f"out{i}").rglob("index.html"))
    assert list(verify(store)) == []


RACING = """
import json, os, sys, time
from pathlib import Path
from bench.grid import controller
from bench.grid.engines import Request, create_engine
from bench.plan import Plan, PlannedRun
from bench.store.runs import Store
sys.path.insert(0, sys.argv[1])
from pretend import Notes

class Blind(controller.Watch):
    def is_free(self):
        return True

class Counting(Notes):
    num_left = 0
    def left(self, planned):
        self.num_left += 1

if __name__ == "__main__":
    controller.Watch = Blind
    store, mark, other, name = Store(Path(sys.argv[2])), *map(Path, sys.argv[3:5]), sys.argv[5]
    plan = Plan("p", "q", "", tuple(PlannedRun(i, store.run(i)) for i in store.run_ids()))
    engine = create_engine(name, Request(store.root, ("cpu",), 2))
    mark.touch()
    while not other.exists():
        time.sleep(0.001)
    notes = Counting()
    undone = controller.execute_plan(plan, store, engine, notes)
    print(json.dumps([undone, notes.retries, notes.ends, notes.num_left]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["warm", pytest.param("local", marks=pytest.mark.long)])
def test_who_starts_a_run_that_another_command_has_started_loses_nothing(
    tiny_run, tmp_path, engine
):
    """Two controllers that see no lease, so that each starts a process for every run."""
    long = {**TINY, "train.steps": 800}  # none may be done before the other command has started it
    runs = [tiny_run({**long, "seed": seed}) for seed in (0, 1)]
    store, ids = runs[0][0], [run.id for _, run in runs]
    script = tmp_path / "racing.py"
    script.write_text(RACING)
    marks = [str(tmp_path / "one"), str(tmp_path / "two")]
    racing = [
        subprocess.Popen(
            [sys.executable, script, Path(__file__).parent, store.root, *pair, engine],
            stdout=subprocess.PIPE,
            text=True,
        )
        for pair in (marks, marks[::-1])
    ]
    found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in racing]
    print(found)
    for undone, retries, ends, _ in found:
        assert (undone, retries, ends) == (0, [], dict.fromkeys(ids))
    assert sum(num_left for *_, num_left in found) >= 1
    for run_id in ids:
        assert count_attempts(store.run_dir(run_id)) == 1
        assert store.failure(run_id) is None
    assert list(verify(store)) == []
