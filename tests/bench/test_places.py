"""Slots as runs come and go, and a GPU to itself for the run whose memory ran out beside others."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pretend import Notes, PretendEngine, plan_of, run_of

from bench.grid.contracts import SharingEngine
from bench.grid.controller import execute_plan
from bench.grid.local import LocalEngine
from bench.grid.places import Places
from bench.grid.slots import exec_command, plan_slots
from bench.grid.warm import WarmEngine
from bench.run.environment import limit_memory
from bench.run.outcome import MEMORY, exit_code
from bench.store.runs import Store

TWO = plan_slots(["cuda:0", "cuda:1"], 2, gpus=["GPU-a", "GPU-b"])


def test_a_slot_is_free_until_it_is_taken_and_again_when_its_run_has_ended():
    places = Places(TWO)
    taken = [places.take(str(i)) for i in range(4)]
    assert taken == TWO
    assert places.count_free() == 0
    places.give_back("2")
    assert places.count_free() == 1
    assert places.take("4") == TWO[2]


def test_runs_have_shared_a_gpu_who_were_there_at_one_time():
    places = Places(TWO)
    for name in "abc":  # on GPU-a, GPU-b, GPU-a
        places.take(name)
    assert places.give_back("c")
    assert not places.give_back("b")
    assert places.give_back("a")  # also when the other has gone before
    on_cpu = Places(plan_slots(["cpu"], 2))
    on_cpu.take("a")
    on_cpu.take("b")
    assert not on_cpu.give_back("a")


def test_a_gpu_is_kept_until_it_is_free_and_given_whole():
    places = Places(TWO)
    for name in "abcd":
        places.take(name)
    assert places.take_alone("e") is None
    places.give_back("a")
    places.give_back("b")
    assert places.count_free() == 1  # that of the other GPU
    assert places.take_alone("e") is None
    places.give_back("c")
    slot = places.take_alone("e")
    assert slot == replace(TWO[0], share=1.0)
    assert places.count_free() == 1
    assert places.take_alone("f") is None
    assert not places.give_back("e")
    assert places.count_free() == 3


def test_a_gpu_that_nobody_uses_is_given_at_once():
    places = Places(TWO)
    places.take("a")
    assert places.take_alone("b") == replace(TWO[1], share=1.0)
    assert places.count_free() == 1


class Crowded(PretendEngine):
    """Says of every run that it shared its GPU; alone, memory suffices, or not."""

    def __init__(self, *args, suffices, waits=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.alone, self.suffices, self.waits = [], suffices, waits

    def start_alone(self, run_dir: Path):
        self.waits -= 1
        if self.waits >= 0:
            return False
        self.alone.append(run_dir.name)
        self.outcomes = {} if self.suffices else self.outcomes
        self.start(run_dir)
        return True

    def poll(self, seconds):
        return [replace(one, shared=one.run_id not in self.alone) for one in super().poll(seconds)]


@pytest.mark.parametrize("suffices", [True, False])
def test_memory_that_ran_out_beside_others_is_tried_once_more_alone(tmp_path, suffices):
    store, notes = Store(tmp_path), Notes()
    engine = Crowded(store, 2, outcomes={0: "memory"}, suffices=suffices)
    plan = plan_of(run_of(0), run_of(1), run_of(2))
    assert execute_plan(plan, store, engine, notes) == (not suffices)
    assert engine.alone == [run_of(0).id]
    assert engine.started.count(run_of(0).id) == 2
    assert set(engine.started) == {run.id for run in plan.unique_runs()}
    assert notes.retries == ["memory"]


def test_memory_that_ran_out_with_nobody_beside_ends_the_run(tmp_path):
    store, notes = Store(tmp_path), Notes()
    engine = PretendEngine(store, outcomes={0: "memory"})
    assert execute_plan(plan_of(run_of(0)), store, engine, notes) == 1
    assert notes.retries == []
    assert len(engine.started) == 1


def test_our_engines_can_give_a_gpu_to_one_run():
    assert isinstance(LocalEngine(TWO), SharingEngine)
    warm = WarmEngine(TWO)
    assert isinstance(warm, SharingEngine)
    warm.stop()


def test_a_run_is_told_its_part_of_the_memory(monkeypatch, tmp_path):
    words = exec_command(tmp_path, TWO[0])
    assert words[words.index("--memory-share") + 1] == "0.48"
    assert "--memory-share" not in exec_command(tmp_path, replace(TWO[0], share=1.0))
    told = []
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *words: told.append(words)
    )
    limit_memory(torch.device("cpu"), 0.5)
    limit_memory(torch.device("cuda"), 1.0)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    limit_memory(torch.device("cuda"), 0.48)
    limit_memory(torch.device("cuda:3"), 0.24)
    assert told == [(0.48, 0), (0.24, 3)]  # torch takes no device without a number here


@pytest.mark.parametrize("library", ["CUBLAS", "CUDNN"])
def test_a_library_that_gets_no_memory_says_so(library):
    error = RuntimeError(f"{library}_STATUS_ALLOC_FAILED when calling `create(handle)`")
    assert exit_code(error) == MEMORY
