"""Signals: checkpoint and leave, leave at once, and no orphan when the controller is gone."""

import _thread
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from attempts import OFTEN, TINY, bits, end_of, fork, process_of, wait_for
from pretend import Notes, plan_of

from bench import faults
from bench.grid import local, warm
from bench.grid.controller import execute_plan
from bench.grid.local import LocalEngine
from bench.grid.node import Order, execute_order
from bench.grid.slots import Slot
from bench.grid.warm import WarmEngine
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.store.lease import count_attempts
from bench.store.runs import Store

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
ENGINES = {"local": LocalEngine, "warm": WarmEngine}
ENDLESS = {**TINY, "train.steps": 100_000}


def holder_of(folder):
    """Return the process that makes a run."""
    (path,) = folder.glob("lease-*/holder.json")
    return json.loads(path.read_bytes())["pid"]


def is_there(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until_it_hangs(store, run):
    """Wait until step 2 has begun: before, a run that is asked to leave does."""
    wait_for(lambda: any(store.logs(run.id)))
    time.sleep(1)  # the first step's look at the flag is over


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_leads_to_a_checkpoint_at_the_next_step(tiny_run, reference, number):
    store, run = tiny_run(TINY)
    folder = store.run_dir(run.id)
    pid = fork(lambda: execute(folder, Options("cpu", 1)))  # no checkpoint is due by itself
    wait_for(lambda: store.heartbeat(run.id))
    os.kill(pid, number)
    assert end_of(pid) == outcome.STOPPED
    failure = store.failure(run.id)
    assert failure.reason == "stopped"
    (checkpoint,) = folder.glob("checkpoint-*.json")
    assert json.loads(checkpoint.read_bytes())["step"] == failure.step
    assert execute(folder, OFTEN) == outcome.DONE
    assert bits(store, run) == reference


@pytest.mark.slow
def test_the_second_interrupt_leaves_at_once(tiny_run):
    store, run = tiny_run(TINY)
    folder = store.run_dir(run.id)
    command = [sys.executable, "-m", "bench", "exec", str(folder), "--device", "cpu"]
    hanging = {**os.environ, faults.VARIABLE: "step:hang@2"}  # there is no next step
    with process_of(command, env=hanging, stderr=subprocess.DEVNULL) as process:
        wait_until_it_hangs(store, run)
        process.send_signal(signal.SIGINT)
        time.sleep(1)  # else the second may arrive as one with the first
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (130, -signal.SIGINT)
    assert store.status(run.id) == "missing"
    assert not list(folder.glob("lease-*"))


ORPHAN = """
import sys, time
from pathlib import Path
from bench.grid.{module} import {engine}
from bench.grid.slots import Slot
if __name__ == "__main__":
    engine = {engine}([Slot("cpu", 1)])
    engine.start(Path(sys.argv[1]))
    time.sleep(600)
"""


@pytest.mark.parametrize("fault", ["step:hang@2", pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("engine", ENGINES)
def test_no_orphan_outlives_a_killed_controller(tiny_run, tmp_path, engine, fault):
    store, run = tiny_run(ENDLESS)
    folder = store.run_dir(run.id)
    script = tmp_path / "controller.py"
    script.write_text(ORPHAN.format(module=engine, engine=ENGINES[engine].__name__))
    environment = os.environ | ({faults.VARIABLE: fault} if fault else {})
    with process_of([sys.executable, str(script), str(folder)], env=environment):
        wait_for(lambda: store.heartbeat(run.id))
        pid = holder_of(folder)
        server = parent_of(pid)  # of forked runs; else the controller itself
        assert is_there(pid)
    killed = time.monotonic()
    wait_for(lambda: not is_there(pid) and not is_there(server))
    print(f"gone {time.monotonic() - killed:.2f} s after its controller")
    assert Store(store.root).status(run.id) != "done"


def test_the_server_of_forked_runs_is_not_taken_down_but_ends():
    """What is taken down at a process's end takes seconds when torch is loaded."""
    code = "import atexit; atexit.register(print, 'taken down'); import bench.grid.server"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_interrupt_cuts_the_grace(tiny_run, monkeypatch, engine):
    """The run hangs and the grace is an hour: only the interrupt can end the wait."""
    monkeypatch.setenv(faults.VARIABLE, "step:hang@2")
    for module in (local, warm):
        monkeypatch.setattr(module, "GRACE_SECONDS", 3600.0)
    store, run = tiny_run(ENDLESS)
    folder = store.run_dir(run.id)
    running = ENGINES[engine]([Slot("cpu", 1)])
    running.start(folder)

    # To this thread, as only its waiting shall end; pytest-timeout has the alarm.
    main = threading.main_thread().ident
    ctrl_c = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        wait_until_it_hangs(store, run)
        pid = holder_of(folder)
    finally:
        ctrl_c.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                running.stop()
        finally:
            ctrl_c.cancel()
            signal.signal(signal.SIGINT, before)
    assert not is_there(pid)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_node_that_ignores_interrupts_still_asks_its_run_to_leave(tiny_run):
    """So does all that a shell starts in the background; Ray's `cancel` is an interrupt."""
    store, run = tiny_run(ENDLESS)
    folder = store.run_dir(run.id)

    def interrupt():
        try:
            wait_for(lambda: store.heartbeat(run.id))
            _thread.interrupt_main()
            time.sleep(60)
        finally:
            os._exit(99)

    def serve():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=interrupt, daemon=True).start()
        return execute_order(Order(str(folder), Slot("cpu", 1), (), str(folder), 60))

    assert end_of(fork(serve)) == outcome.STOPPED
    assert store.failure(run.id).reason == "stopped"


DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""


class Interrupting(subprocess.Popen):
    """A process whose parent is interrupted while it asks it to leave."""

    def terminate(self):
        super().terminate()
        _thread.interrupt_main()


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_node_outlives_its_run_in_whichever_line_it_is_interrupted(monkeypatch):
    """Ray's `cancel` comes again before what the first one asked for is done."""

    def start(order):
        process = Interrupting([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
        process.stdout.readline()
        _thread.interrupt_main()
        return process

    def serve():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = execute_order(Order("run", Slot("cpu", 1), (), "run", 60))
        return 0 if code == -signal.SIGKILL else 1

    monkeypatch.setattr("bench.grid.node.start_order", start)
    assert end_of(fork(serve)) == 0


@dataclass
class Preempting(Notes):
    """Sends a run away so many times, each time once it has made a step."""

    store: Store | None = None
    times: int = 0
    seen: tuple = ()

    def tick(self):
        (run_id,) = self.store.run_ids()
        holders = list(self.store.run_dir(run_id).glob("lease-*/holder.json"))
        if not holders or len(self.retries) == self.times:
            return
        pid, beat = json.loads(holders[0].read_bytes())["pid"], self.store.heartbeat(run_id)
        before, self.seen = self.seen, (pid, beat)
        if before and before[0] == pid and before[1] != beat:  # it is among its steps
            os.kill(pid, signal.SIGTERM)
            self.seen = ()


@pytest.mark.slow
def test_a_run_sent_away_again_and_again_ends_well(tiny_run):
    long = {**TINY, "train.steps": 500}
    store, run = tiny_run(long)
    watcher = Preempting(store=store, times=3)
    assert execute_plan(plan_of(run), store, WarmEngine([Slot("cpu", 1)]), watcher) == 0
    assert watcher.retries == ["stopped"] * 3
    here, again = tiny_run(long, folder="here")
    assert execute(here.run_dir(again.id), Options("cpu", 1)) == outcome.DONE
    assert bits(store, run) == bits(here, again)


SLOW = """
import time, timm

def sleep(net, images):
    if net.training:
        time.sleep(1.5)

@timm.models.register_model
def slow_net(pretrained=False, **settings):
    net = timm.create_model("test_resnet", **settings)
    net.register_forward_pre_hook(sleep)
    return net
"""
"""A step takes longer than a run has whose engine is gone: nobody may take it for that."""

SPEC = """
question: Who stops?
common:
  model: {backbone: slow_net, skip: fcn32s, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 8, num_val: 2, num_test: 4}}
  train: {steps: 100000, batch_size: 2}
variants:
  a: {}
"""


@contextmanager
def command_under_way(folder, *words):
    """Start `run` and wait until it makes steps; give the process, the store and the run's id."""
    (folder / "q.yaml").write_text(SPEC)
    (folder / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "ablations.cli", "run", str(folder / "q.yaml")]
    command += ["--plugin", str(folder / "slow.py"), "--runs", str(folder / "runs")]
    command += ["--out", str(folder / "out"), "--devices", "cpu", "--slots", "1", *words]
    store = Store(folder / "runs")
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    token = {**os.environ, "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}  # else one is written
    with process_of(command, env=token, **piped) as process:
        wait_for(lambda: any(store.heartbeat(run_id) for run_id in store.run_ids()), seconds=240)
        yield process, store, next(store.run_ids())


def group_of(pid):
    """Return a process and all that came from it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = parent_of(int(path.parent.name))
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def send(pids, number):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


WAYS = {
    "local": ["--engine", "local"],
    "warm": ["--engine", "warm"],
    "torchrun": ["--engine", "local", "--devices-per-run", "2"],
    "ray": ["--engine", "ray"],
}
MARKS = {"ray": pytest.mark.ray, "torchrun": pytest.mark.long}
MARKED = [pytest.param(way, marks=MARKS.get(way, ())) for way in WAYS]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "number"),
    [
        ("group", signal.SIGTERM),
        ("parent", signal.SIGUSR1),
        pytest.param("group", signal.SIGUSR1, marks=pytest.mark.long),
        pytest.param("parent", signal.SIGTERM, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("way", MARKED)
def test_a_signal_to_a_command_stops_its_runs_with_a_checkpoint(tmp_path, way, who, number):
    """A scheduler sends it to all processes at once, and more than once."""
    if number == signal.SIGUSR1 and (way, who) != ("warm", "group"):
        pytest.skip("the others take it as SIGTERM")
    with command_under_way(tmp_path, *WAYS[way]) as (process, store, run_id):
        pid = holder_of(store.run_dir(run_id))
        pids = group_of(process.pid)
        assert pid in pids
        send(pids if who == "group" else [process.pid], number)
        time.sleep(0.2)  # else the second may arrive as one with the first
        send(pids if who == "group" else [process.pid], number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on from the last checkpoints" in said
    assert "Traceback" not in said
    assert not is_there(pid)
    failure = store.failure(run_id)
    (checkpoint,) = store.run_dir(run_id).glob("checkpoint-*.json")
    assert failure.reason == "stopped"
    assert json.loads(checkpoint.read_bytes())["step"] == failure.step
    assert not list(store.run_dir(run_id).glob("lease-*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        "warm",
        pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.long]),
        *(pytest.param(way, marks=pytest.mark.long) for way in ("local", "torchrun")),
    ],
)
def test_a_signal_to_a_run_alone_costs_it_no_step(tmp_path, way):
    """It writes its checkpoint, and the command goes on from there."""
    with command_under_way(tmp_path, *WAYS[way]) as (process, store, run_id):
        folder = store.run_dir(run_id)
        send([holder_of(folder)], signal.SIGTERM)
        wait_for(lambda: count_attempts(folder) == 2)
        assert list(folder.glob("checkpoint-*.json"))
        seen = store.logs(run_id)[-1]["step"]
        wait_for(lambda: store.logs(run_id)[-1]["step"] > seen)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert "it is tried again" in said
    steps = [row["step"] for row in store.logs(run_id)]
    assert steps == list(range(1, len(steps) + 1))
    assert count_attempts(folder) == 2


@pytest.mark.slow
def test_an_interrupt_to_a_command_stops_its_runs_with_a_checkpoint(tmp_path):
    with command_under_way(tmp_path) as (process, store, run_id):
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert store.failure(run_id).reason == "stopped"
    assert list(store.run_dir(run_id).glob("checkpoint-*.json"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_signal_while_a_run_says_that_it_stopped_keeps_it_from_nothing(tiny_run, monkeypatch):
    store, run = tiny_run(ENDLESS)
    record = Store.record_failure

    def record_slowly(*arguments):
        signal.raise_signal(signal.SIGTERM)
        record(*arguments)

    monkeypatch.setattr(Store, "record_failure", record_slowly)
    pid = fork(lambda: execute(store.run_dir(run.id), Options("cpu", 1)))
    wait_for(lambda: store.heartbeat(run.id))
    os.kill(pid, signal.SIGTERM)
    assert end_of(pid) == outcome.STOPPED
    assert store.failure(run.id).reason == "stopped"
