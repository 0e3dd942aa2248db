"""What a controller does about what it does not command: other commands, and a disk that fills."""

import errno
import io
import shutil
import threading
from collections import namedtuple

import pytest
from pretend import Notes, PretendEngine, plan_of, pretend_elsewhere, result_of, run_of
from rich.console import Console

from bench.grid.controller import Policy, execute_plan
from bench.grid.disk_space import FACTOR, LEAST_BYTES, DiskSpace
from bench.grid.exit_status import describe_end
from bench.grid.progress import GridProgress
from bench.store.lease import hold
from bench.store.runs import Failure, Store

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disk(monkeypatch):
    """A disk whose free space a test sets."""
    free = {"bytes": 2**40}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**41, 0, free["bytes"]))
    return free


class Meddling(Notes):
    """Does something once a number of polls are over."""

    def __init__(self, at, action):
        super().__init__()
        self.at, self.action, self.ticks = at, action, 0

    def tick(self):
        self.ticks += 1
        if self.ticks == self.at:
            self.action()


def test_nothing_is_started_on_a_full_disk_until_there_is_room(tmp_path, disk):
    store, first, second = Store(tmp_path), run_of(0), run_of(1)
    engine = PretendEngine(store, slots=2, polls={0: 8})
    start = engine.start

    def start_and_fill(run_dir):
        start(run_dir)
        disk["bytes"] = 10 * 2**20 if len(engine.started) == 1 else disk["bytes"]

    engine.start = start_and_fill
    watcher = Meddling(5, lambda: disk.update(bytes=2**40))
    assert execute_plan(plan_of(first, second), store, engine, watcher) == 0
    assert engine.started == [first.id, second.id]
    assert len(watcher.pauses) == 1
    assert "10 MiB left" in watcher.pauses[0]
    assert "may need 64 MiB" in watcher.pauses[0]
    assert watcher.ends == {"v0": None, "v1": None}


def test_a_disk_that_stays_full_is_a_recorded_failure_of_what_was_not_started(tmp_path, disk):
    store, runs = Store(tmp_path), [run_of(0), run_of(1)]
    disk["bytes"] = LEAST_BYTES - 1
    engine, notes = PretendEngine(store), Notes()
    assert execute_plan(plan_of(*runs), store, engine, notes) == 2
    assert engine.started == []
    assert [store.failure(run.id).reason for run in runs] == ["disk", "disk"]
    disk["bytes"] = LEAST_BYTES
    assert execute_plan(plan_of(*runs), store, PretendEngine(store), notes) == 0


def test_room_is_what_a_run_has_shown_to_need(tmp_path, disk):
    room = DiskSpace(tmp_path)
    disk["bytes"] = LEAST_BYTES
    assert room.shortage() is None
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "model.safetensors").open("wb") as file:
        file.truncate(LEAST_BYTES)
    room.learn(tmp_path / "run")
    assert f"may need {FACTOR * 64} MiB" in room.shortage()


def test_a_failed_write_is_tried_again_once(tmp_path, disk):
    store, run, notes = Store(tmp_path), run_of(0), Notes()
    engine = PretendEngine(store, outcomes={0: "disk"})
    assert execute_plan(plan_of(run), store, engine, notes) == 1
    assert engine.started == [run.id] * 2
    assert notes.retries == ["disk"]


def test_an_end_without_a_record_keeps_its_cause(tmp_path, disk):
    store, run, notes = Store(tmp_path), run_of(0), Notes()
    engine = PretendEngine(store, outcomes={0: "unwritten"})
    assert execute_plan(plan_of(run), store, engine, notes) == 1
    assert store.failure(run.id).reason == "disk"
    assert "could not write why" in store.failure(run.id).message


def test_a_failure_that_could_not_be_written_is_written_at_the_end(tmp_path, disk, monkeypatch):
    store, runs, notes = Store(tmp_path), [run_of(0), run_of(1)], Notes()
    record, tries = store.record_failure, []

    def record_failure(run_id, failure):
        tries.append(run_id)
        if len(tries) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        record(run_id, failure)

    monkeypatch.setattr(store, "record_failure", record_failure)
    engine = PretendEngine(store, outcomes={0: "unwritten"})
    child = run_of(2, runs[0].id)
    assert execute_plan(plan_of(*runs, child), store, engine, notes) == 2
    assert notes.ends == {"v0": "disk", "v1": None, "v2": "blocked"}
    assert store.failure(runs[0].id).reason == "disk"


def test_an_engine_that_cannot_start_a_run_fails_that_run_alone(tmp_path):
    store, notes = Store(tmp_path), Notes()
    engine = PretendEngine(store)
    start = engine.start

    def fail_for_one(run_dir):
        if run_dir.name == run_of(0).id:
            raise OSError(errno.ENOSPC, "No space left on device")
        start(run_dir)

    engine.start = fail_for_one
    plan = plan_of(run_of(0), run_of(1))
    assert execute_plan(plan, store, engine, notes) == 1
    assert notes.ends == {"v0": "disk", "v1": None}
    # What a person sees takes it too: the run was never on the display.
    (tmp_path / "again").mkdir()
    store = Store(tmp_path / "again")
    engine, said = PretendEngine(store), io.StringIO()
    start = engine.start
    engine.start = fail_for_one
    with GridProgress(plan, store, Console(file=said)) as progress:
        assert execute_plan(plan, store, engine, progress) == 1
    assert said.getvalue().count("No space left on device") == 2


@pytest.mark.parametrize("code", ["busy", "lost"])
def test_a_run_that_another_command_makes_is_waited_for(tmp_path, monkeypatch, code):
    """Found out by its own process too late: that is no failure, and no attempt is counted."""
    monkeypatch.setattr("bench.grid.controller.BUSY_SECONDS", 0.0)
    store, run, notes = Store(tmp_path), run_of(0), Notes()
    engine = PretendEngine(store, outcomes={0: code})
    end = Meddling(5, lambda: store.publish(result_of(run)))
    assert execute_plan(plan_of(run), store, engine, end) == 0
    assert len(engine.started) > 2
    assert end.retries == []
    assert notes.ends == {}


def test_another_commands_run_is_left_to_it_and_seen_to_end(tmp_path):
    store, run, other, poisoned = Store(tmp_path), run_of(0), run_of(1), run_of(2)
    engine = PretendEngine(store)
    ended = threading.Event()

    def end():
        store.publish(result_of(run))
        store.record_failure(poisoned.id, Failure("nonfinite", "the loss is nan"))
        ended.set()

    held = threading.Barrier(3)

    def make_elsewhere(run_dir):
        with hold(run_dir):
            held.wait()
            ended.wait(60)

    threads = [
        threading.Thread(target=make_elsewhere, args=[store.prepare(r)]) for r in (run, poisoned)
    ]
    for thread in threads:
        thread.start()
    held.wait()
    watcher = Meddling(10, end)
    assert execute_plan(plan_of(run, other, poisoned), store, engine, watcher) == 1
    assert engine.started == [other.id]
    assert watcher.ends == {"v0": None, "v1": None, "v2": "nonfinite"}
    for thread in threads:
        thread.join()


def test_another_commands_run_that_is_frozen_is_taken_over(tmp_path):
    store, run = Store(tmp_path), run_of(0)
    folder = store.prepare(run)
    with hold(folder):
        lease = pretend_elsewhere(folder)
        frozen = shutil.copytree(lease, tmp_path / "copy")
    shutil.copytree(frozen, lease)  # its holder is gone, and nobody here can know
    engine = PretendEngine(store)
    policy = Policy(lease_seconds=0.2)
    assert execute_plan(plan_of(run), store, engine, Notes(), policy) == 0
    assert engine.started == [run.id]
    assert not lease.exists()


def test_a_process_that_left_no_record_is_described(tmp_path):
    store, run = Store(tmp_path), run_of(0)
    folder = store.prepare(run)
    (folder / "log.txt").write_text("x" * 9000 + "the last words")
    row = '{"step": 7, "loss": 0.5, "lr": 0.1, "seconds": 2.0}'
    (folder / "metrics.jsonl").write_text(f'{row}\n{{"step": 8, "lo')
    bus = describe_end(store, run.id, -7, hung=False)
    assert (bus.reason, bus.step) == ("killed", 7)
    assert "SIGBUS" in bus.message
    assert "mapped into memory was cut short" in bus.message
    assert bus.details.endswith("the last words")
    assert len(bus.details) <= 4000
    assert describe_end(store, run.id, 71, hung=False).reason == "memory"
    assert describe_end(store, run.id, -9, hung=True).reason == "hung"
    assert "exit code 3" in describe_end(store, run.id, 3, hung=False).message
    shutil.rmtree(folder)
    gone = describe_end(store, run.id, 74, hung=False, step=12)
    assert (gone.reason, gone.step) == ("disk", 12)
    assert "was deleted" in gone.message
