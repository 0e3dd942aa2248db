"""A Slurm job: a run started as a process of its own, ended when it must, requeued when time is up.

submitit carries a `SlurmRun` to a node and calls it there. The exit code goes back by a file
(`bench.grid.slurm_files`). Slurm sends SIGUSR1 before a job's time is up, to all of its processes:
the run writes its checkpoint, and the job is put into the queue again, where it goes on from there.
"""

import platform
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from bench.grid.exit_status import last_step
from bench.grid.node import Order, start_order
from bench.grid.slots import share_threads
from bench.grid.slurm_files import Orders, State, read_orders, write
from bench.run.outcome import BUSY, STOPPED

REQUEUE_SIGNAL = "USR1"
"""What runs take for a wish to stop; submitit's own choice, USR2, would end them at once."""
LOOK_SECONDS = 0.5
"""Time between two looks at the orders."""


@dataclass(frozen=True)
class SlurmRun:
    """A run as it is sent to Slurm."""

    order: Order
    orders: str
    """File of the command's orders."""
    state: str
    """File of this job's state."""
    patience: float
    """Seconds without a sign of the command after which the run is asked to leave."""
    stopped_at: int = 0
    """Step that it had reached when it was requeued."""

    def __call__(self) -> int:
        """Execute the run and return its exit code; negative for a signal."""
        first = self._first_orders()
        if first is None or first.stop or self._run_id in first.kill:
            return self._end(BUSY if first is None or first.stop else -signal.SIGKILL)
        with _requeue_signal() as requeue:
            process = start_order(self._placed())
            self._note(State("running", host=platform.node()))
            code = self._attend(process, requeue)
            if requeue.requested:
                return self._requeue(requeue)
        return self._end(code)

    def checkpoint(self) -> Any:
        """Return what submitit puts into the queue again; None where nothing was gained."""
        from submitit.helpers import DelayedSubmission

        step = last_step(Path(self.order.run_dir))[0]
        if step <= self.stopped_at:
            return None
        return DelayedSubmission(replace(self, stopped_at=step))

    def _first_orders(self) -> Orders | None:
        """Return the orders; None where the command, and its folder, are gone."""
        for _ in range(10):  # it may just be writing them
            found = read_orders(Path(self.orders))
            if found is not None or not Path(self.orders).exists():
                break
            time.sleep(LOOK_SECONDS)
        return found

    @property
    def _run_id(self) -> str:
        return Path(self.order.run_dir).name

    def _placed(self) -> Order:
        """Return the order with the threads that this node leaves each process of the run."""
        slot = self.order.slot
        if slot.threads:
            return self.order
        return replace(self.order, slot=replace(slot, threads=share_threads(len(slot.devices))))

    def _attend(self, process: "subprocess.Popen[bytes]", requeue: "_Requeue") -> int:
        """Wait for the end of a run's process, and see that it comes when it is wished for."""
        watch = _Watch(Path(self.orders), self.patience)
        asked: float | None = None
        while True:
            try:
                return process.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                orders = watch.look()
            if self._run_id in orders.kill:
                process.kill()
            elif orders.stop or requeue.requested or watch.is_silent():
                if asked is None:
                    asked = time.monotonic()
                    process.terminate()
                elif time.monotonic() - asked > self.order.grace_seconds:
                    process.kill()

    def _requeue(self, requeue: "_Requeue") -> int:
        """Have submitit put this job into the queue again, which ends this process."""
        from submitit.core.utils import UncompletedJobError

        self._note(State("queued"))
        try:
            requeue.hand_on()
        except (UncompletedJobError, subprocess.SubprocessError):  # not, or not to be, requeued
            self._note(State("ended", STOPPED))
            raise
        return self._end(STOPPED)

    def _end(self, code: int) -> int:
        self._note(State("ended", code))
        return code

    def _note(self, state: State) -> None:
        if Path(self.state).exists():  # else the command is gone, and its folder with it
            write(Path(self.state), state)


class _Watch:
    """Tells whether the command lives, by this process's own clock."""

    def __init__(self, path: Path, patience: float) -> None:
        self._path, self._patience = path, patience
        self._last = Orders()
        self._since = time.monotonic()

    def look(self) -> Orders:
        """Return the orders as they are now, or as they were when they could last be read."""
        found = read_orders(self._path)
        if found is not None and found != self._last:
            self._last, self._since = found, time.monotonic()
        return self._last

    def is_silent(self) -> bool:
        """Say whether nothing has changed for too long."""
        return time.monotonic() - self._since > self._patience


class _Requeue:
    """Whether Slurm asked this job to make room, and what submitit does about it."""

    def __init__(self) -> None:
        self.requested = False
        self._number = getattr(signal, f"SIG{REQUEUE_SIGNAL}")
        self._before: Any = signal.signal(self._number, self._request)

    def hand_on(self) -> None:
        """Call submitit's own handler, outside of any handler."""
        self._before(self._number, None)

    def close(self) -> None:
        """Put submitit's handler back."""
        signal.signal(self._number, self._before)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


@contextmanager
def _requeue_signal() -> Iterator[_Requeue]:
    requeue = _Requeue()
    try:
        yield requeue
    finally:
        requeue.close()
