"""The controller over an engine that only pretends to run, and the local engine over real ones."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from pretend import Notes, PretendEngine, plan_of, result_of, run_of

from bench.grid.contracts import EngineLostError, Exit
from bench.grid.controller import Policy, execute_plan
from bench.grid.exit_status import last_step
from bench.grid.local import LocalEngine
from bench.grid.slots import Slot, exec_command, exec_environment, plan_slots
from bench.grid.warm import WarmEngine
from bench.run.environment import list_gpus
from bench.run.outcome import DONE, STOPPED
from bench.store.runs import Failure, Store
from fcn.errors import InputError


@pytest.mark.parametrize("slots", [1, 3])
def test_parents_run_first_and_shared_runs_once(tmp_path, slots):
    store = Store(tmp_path)
    parent = run_of(0)
    child = run_of(1, parent.id)
    grandchild = run_of(2, child.id)
    other = run_of(3)
    engine = PretendEngine(store, slots)
    undone = execute_plan(plan_of(grandchild, child, parent, parent, other), store, engine, Notes())
    assert undone == 0
    assert len(engine.started) == 4
    order = [engine.started.index(run.id) for run in (parent, child, grandchild)]
    assert order == sorted(order)
    assert engine.stopped


def test_a_finished_grid_starts_nothing(tmp_path):
    store = Store(tmp_path)
    plan = plan_of(run_of(0), run_of(1))
    execute_plan(plan, store, PretendEngine(store), Notes())
    again = PretendEngine(store)
    assert execute_plan(plan, store, again, Notes()) == 0
    assert again.started == []


def test_one_failure_stops_only_its_children(tmp_path):
    store, notes = Store(tmp_path), Notes()
    bad, killed, good = run_of(0), run_of(1), run_of(2)
    child = run_of(3, bad.id)
    grandchild = run_of(4, child.id)
    engine = PretendEngine(store, 2, outcomes={0: "broken", 1: "killed"})
    plan = plan_of(bad, killed, good, child, grandchild)
    assert execute_plan(plan, store, engine, notes) == 4
    assert notes.ends == {
        "v0": "error", "v1": "killed", "v2": None, "v3": "blocked", "v4": "blocked",
    }  # fmt: skip
    assert "signal 9" in store.failure(killed.id).message
    assert sorted(notes.retries) == ["error", "killed", "killed"]
    assert bad.id in store.failure(child.id).message

    # Called again, what failed is tried again, and then its children can run.
    assert execute_plan(plan, store, PretendEngine(store), notes) == 0
    assert store.failure(bad.id) is None


def test_late_fusion_waits_for_all_its_streams_and_ends_with_any(tmp_path):
    store, notes = Store(tmp_path), Notes()
    bad, good = run_of(0), run_of(1)
    late = replace(run_of(2), streams=(good.id, bad.id))
    engine = PretendEngine(store, 3, outcomes={0: "broken"})
    assert execute_plan(plan_of(bad, good, late), store, engine, notes) == 2
    assert notes.ends == {"v0": "error", "v1": None, "v2": "blocked"}
    assert bad.id in store.failure(late.id).message
    again = PretendEngine(store, 3)
    assert execute_plan(plan_of(late, bad, good), store, again, notes) == 0
    assert again.started[-1] == late.id


@dataclass
class LosingEngine(PretendEngine):
    """Loses its machine so many times, after an attempt that was killed."""

    losses: int = 0

    def poll(self, seconds):
        ended, self.running = self.running[0], []
        if len(self.started) == 1:
            return [Exit(ended, -9)]
        if len(self.started) <= 1 + self.losses:
            return [Exit(ended, -9, lost="node n was lost")]
        self.store.publish(result_of(self.store.run(ended)))
        return [Exit(ended, 0)]


def test_lost_machines_cost_a_run_none_of_its_few_tries(tmp_path):
    store, notes, run = Store(tmp_path / "a"), Notes(), run_of(0)
    assert execute_plan(plan_of(run), store, LosingEngine(store, losses=5), notes) == 0
    assert notes.retries == ["killed"] + 5 * ["lost"]
    # A run that takes every machine down with it is given up.
    store, notes = Store(tmp_path / "b"), Notes()
    assert execute_plan(plan_of(run), store, LosingEngine(store, losses=99), notes) == 1
    assert store.failure(run.id).message == "node n was lost"


@dataclass
class StoppingEngine(PretendEngine):
    """Runs are stopped by somebody's signal after these steps, then end well."""

    steps: tuple = ()

    def poll(self, seconds):
        ended, self.running = self.running[0], []
        if len(self.started) <= len(self.steps):
            step = self.steps[len(self.started) - 1]
            self.store.record_failure(ended, Failure("stopped", "stopped by a signal", step=step))
            return [Exit(ended, STOPPED)]
        self.store.publish(result_of(self.store.run(ended)))
        return [Exit(ended, DONE)]


@pytest.mark.parametrize(
    ("steps", "undone"),
    [((1, 2, 3, 4, 5, 6), 0), ((4, 4, 4, 5), 0), ((None, None, None), 1), ((4, 4, 5, 5, 5), 1)],
)
def test_a_run_that_is_stopped_on_its_way_loses_no_try(tmp_path, steps, undone):
    """One that is stopped without getting further is given up at the third time."""
    store, notes, run = Store(tmp_path), Notes(), run_of(0)
    engine = StoppingEngine(store, steps=steps)
    assert execute_plan(plan_of(run), store, engine, notes) == undone
    assert len(engine.started) == len(steps) + (not undone)
    assert set(notes.retries) == {"stopped"}


def test_what_would_end_the_same_way_is_left_unless_told(tmp_path):
    store, notes = Store(tmp_path), Notes()
    run = run_of(0)
    store.prepare(run)
    store.record_failure(run.id, Failure("nonfinite", "the loss is nan"))
    engine = PretendEngine(store)
    assert execute_plan(plan_of(run), store, engine, notes) == 1
    assert engine.started == []
    assert execute_plan(plan_of(run), store, engine, notes, Policy(retry_failed=True)) == 0


@pytest.mark.parametrize("reason", ["spec or data", "error", "memory", "killed", "blocked"])
def test_what_people_mend_is_tried_again_by_the_next_command(tmp_path, reason):
    """Without being told to: a message says what to do, and not that this were not enough."""
    store, run = Store(tmp_path), run_of(0)
    store.prepare(run)
    store.record_failure(run.id, Failure(reason, "the pack is damaged; delete it"))
    engine = PretendEngine(store)
    assert execute_plan(plan_of(run), store, engine, Notes()) == 0
    assert engine.started == [run.id]


def test_the_first_failure_can_end_everything(tmp_path):
    store = Store(tmp_path)
    engine = PretendEngine(store, outcomes={0: "nonfinite"})
    policy = Policy(fail_fast=True)
    assert execute_plan(plan_of(run_of(0), run_of(1)), store, engine, Notes(), policy) == 2
    assert run_of(1).id not in engine.started


def test_the_engine_is_stopped_when_the_controller_is_interrupted(tmp_path):
    store = Store(tmp_path)
    engine = PretendEngine(store)

    class Interrupting(Notes):
        def tick(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute_plan(plan_of(run_of(0)), store, engine, Interrupting())
    assert engine.stopped


def test_a_grid_whose_engine_is_gone_ends_with_a_word_before_all_else(tmp_path):
    store, notes = Store(tmp_path), Notes()

    class Lost(PretendEngine):
        def free_slots(self):
            if self.started:
                raise EngineLostError("the head is gone")
            return 1

        def stop(self):
            assert notes.pauses == ["the head is gone"]
            super().stop()

    engine = Lost(store)
    assert execute_plan(plan_of(run_of(0), run_of(1)), store, engine, notes) == 1
    assert engine.stopped
    assert store.status(run_of(0).id) == "done"


def test_the_local_engine_says_how_a_process_ended(tmp_path):
    store = Store(tmp_path)
    run = run_of(0)
    folder = store.prepare(run)  # its data was never packed: the process must fail and say so
    engine = LocalEngine([Slot("cpu", 1)])
    engine.start(folder)
    assert engine.free_slots() == 0
    exits = engine.poll(60)
    assert exits == [Exit(run.id, 65)]
    assert engine.free_slots() == 1
    assert "data" in store.failure(run.id).reason
    engine.stop()


def test_slots_take_turns_over_devices_and_share_the_threads():
    slots = plan_slots(["cuda:0", "cuda:1"], 2)
    assert [slot.device for slot in slots] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert all(slot.threads >= 1 for slot in slots)
    assert len({slot.threads for slot in slots}) == 1


def test_a_slot_of_several_devices_takes_its_share_of_them():
    slots = plan_slots(["cuda:0", "cuda:1", "cuda:2", "cuda:3"], None, devices_per_run=2)
    assert [slot.devices for slot in slots] == [("cuda:0", "cuda:1"), ("cuda:2", "cuda:3")]
    (slot,) = plan_slots(["cpu"], 1, devices_per_run=3)
    assert slot.devices == ("cpu", "cpu", "cpu")
    for devices in (["cuda:0", "cuda:1", "cuda:2"], ["cuda:0", "cuda:0"], ["cuda:0", "cpu"]):
        with pytest.raises(InputError, match="2 devices each"):
            plan_slots(devices, None, devices_per_run=2)


def test_the_command_of_a_slot_names_each_device(tmp_path):
    words = exec_command(tmp_path, Slot("cuda:0", 4, ("cuda:1",)), ["mine"])
    assert words[1:5] == ["-m", "bench", "exec", str(tmp_path)]
    named = [value for key, value in pairwise(words) if key == "--device"]
    assert named == ["cuda:0", "cuda:1"]
    assert words[-2:] == ["--plugin", "mine"]


def test_a_run_looks_for_modules_in_the_current_folder_only_where_its_command_does(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    slot = Slot("cpu", 1)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert "PYTHONSAFEPATH" not in exec_environment(slot)
    monkeypatch.setattr(sys, "path", sys.path[1:])
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("")  # somebody's, which `python -m` finds first
    (tmp_path / "bench" / "__main__.py").write_text("raise SystemExit(3)")
    command = [*exec_command(tmp_path, slot)[:3], "--help"]
    env = {**exec_environment(slot), "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0
    del env["PYTHONSAFEPATH"]
    assert subprocess.run(command, env=env, capture_output=True, check=False).returncode == 3


def test_a_run_is_shown_only_the_gpus_of_its_slot():
    uuids = ["GPU-a", "GPU-b", "GPU-c", "GPU-d"]
    one = plan_slots(["cuda:2", "cuda", "cpu"], 1, gpus=uuids)
    assert [slot.gpus for slot in one] == [("GPU-c",), ("GPU-a",), ()]
    assert [slot.devices for slot in one] == [("cuda:0",), ("cuda:0",), ("cpu",)]
    assert exec_environment(one[0])["CUDA_VISIBLE_DEVICES"] == "GPU-c"
    assert exec_environment(one[2]).get("CUDA_VISIBLE_DEVICES") == os.environ.get(
        "CUDA_VISIBLE_DEVICES"
    )
    (two,) = plan_slots(["cuda:3", "cuda:1"], 1, devices_per_run=2, gpus=uuids)
    assert exec_environment(two)["CUDA_VISIBLE_DEVICES"] == "GPU-d,GPU-b"
    assert two.devices == ("cuda:0", "cuda:1")
    unknown = plan_slots(["cuda:7"], 1, gpus=uuids)[0]
    assert (unknown.gpus, unknown.devices) == ((), ("cuda:7",))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ["GPU-0000", "GPU-0001"]),
        ("3,1", ["GPU-0000", "GPU-0001"]),
        ("MIG-x, GPU-y", ["MIG-x", "GPU-y"]),
    ],
)
def test_gpus_are_named_as_the_environment_names_them(monkeypatch, given, expected):
    """A name of a part of a card is kept, numbers are not: they depend on who counts."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    properties = lambda i: SimpleNamespace(uuid=f"000{i}")  # noqa: E731
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    assert list_gpus() == expected


@pytest.mark.parametrize("engine", ["local", "warm"])
def test_a_process_is_started_with_its_gpu_in_its_environment(tmp_path, engine):
    """Seen from within the process, before it can have looked for a device."""
    store = Store(tmp_path)
    run = run_of(0)
    folder = store.prepare(run)
    module = tmp_path / "shows_gpus.py"
    module.write_text(
        "import os, pathlib\n"
        f"path = pathlib.Path({str(tmp_path)!r}, 'seen')\n"
        "path.write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
    )
    slot = Slot("cuda:5", 1, gpus=("GPU-five",))
    running = {"local": LocalEngine, "warm": WarmEngine}[engine]([slot], [str(module)])
    running.start(folder)
    while not running.poll(1):
        pass
    assert (tmp_path / "seen").read_text() == "GPU-five"


def test_the_last_step_is_read_from_the_end_of_the_log(tmp_path):
    assert last_step(tmp_path) == (0, None)
    rows = [{"step": s, "loss": 1 / s, "lr": 0.1, "seconds": s} for s in range(1, 501)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    watched = json.dumps({"step": 500, "split": "val", "confusion": [[1]]}) + "\n"
    (tmp_path / "metrics.jsonl").write_text(text + watched + '{"step": 501, "lo')
    assert last_step(tmp_path) == (500, 1 / 500)
