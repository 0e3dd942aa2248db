"""Real attempts at runs: in forked children, which start at once, and with faults by run."""

import faulthandler
import os
import subprocess
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass

from bench import faults
from bench.grid.slots import Slot
from bench.grid.warm import WarmEngine
from bench.run.execute import Options

OFTEN = Options(device="cpu", threads=1, checkpoint_seconds=0)
"""A checkpoint after each step."""

LEARNT = {
    "data.options": {"size": 48, "num_train": 12, "num_val": 4, "num_test": 6},
    "model.dropout": 0.0,
    "train.steps": 12,
    "evaluate.eval_every": 0,
}
"""Differences of a tiny run that learns something in a second."""
TINY = {"train.steps": 14, "train.grad_accum_steps": 1, "evaluate.eval_every": 0}
"""Differences of the run whose digest the fixture `reference` knows."""


def bits(store, run):
    """Return what a finished run gave, to the bit: digests of weights and scores, and its losses.

    The log also holds times, which are never the same.
    """
    digests = store.result(run.id).digests
    losses = [(row["step"], row["loss"]) for row in store.logs(run.id) if "loss" in row]
    return digests["model.safetensors"], digests["eval/test.npz"], losses


def fork(function):
    """Run a function in a forked child, and return its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        faulthandler.disable()  # a crash on purpose is no news
        try:
            code = function()
        except BaseException:
            traceback.print_exc()  # nobody else would say why
        finally:
            os._exit(code)
    return pid


def end_of(pid):
    """Wait for a child; return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def process_of(command, **settings):
    """Start a process that does not outlive its test, whatever the test finds."""
    with subprocess.Popen(command, **settings) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition, seconds=120):
    """Wait for what comes soon, unless it never does or the machine is very busy."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@dataclass(frozen=True)
class FaultySlot(Slot):
    """A slot whose run meets a fault."""

    fault: str = ""

    @property
    def variables(self):
        return {**super().variables, faults.VARIABLE: self.fault}


class FaultyEngine(WarmEngine):
    """A warm engine some of whose runs meet a fault; warm, for the many attempts.

    Args:
        count: Slots on the CPU.
        wanted: Faults of each attempt in turn, by run id; none after the last.
    """

    def __init__(self, count, wanted):
        super().__init__([Slot("cpu", 1)] * count)
        self.wanted = {run_id: iter(faults) for run_id, faults in wanted.items()}

    def start(self, run_dir):
        fault = next(self.wanted.get(run_dir.name, iter(())), None)
        slot = Slot("cpu", 1) if fault is None else FaultySlot("cpu", 1, fault=fault)
        self._places.take(run_dir.name)
        self._start(run_dir, slot)
