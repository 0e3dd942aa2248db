"""Which run is next: parents before children, one failure never stopping another.

In: a plan, a store, an engine. Out: every run of the plan done, failed or blocked in the store.
The controller knows order, causes and retries; engines know only how to start a process somewhere.
"""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.plan import Plan, PlannedRun
from bench.run.outcome import BUSY, ORPHANED
from bench.store import Failure, Store

BUSY_SECONDS = 2.0
"""Time before a run that another command holds is looked at again."""

RETRIES = {"killed": 2, "hung": 2, "stopped": 2, "error": 1, "lost": 10}
"""Further attempts within one command, by cause, each cause counted for itself. What is not here
would end the same way again. Machines come and go through no fault of a run, so losing one costs it
none of the few tries for its own failures; but a run that takes machine after machine down ends."""

DETERMINED = ("nonfinite", "spec or data")
"""Causes that a later command meets again too, unless it is told to try."""


@dataclass(frozen=True)
class Exit:
    """How a run's process ended."""

    run_id: str
    code: int
    """Exit code of `bench.run.outcome`; negative for a signal."""
    lost: str | None = None
    """What was lost with it, if its machine is gone: then nothing is known of its end."""


@dataclass(frozen=True)
class Policy:
    """What is done about failures."""

    fail_fast: bool = False
    """Stop everything at the first failure."""
    retry_failed: bool = False
    """Try again also what failed for a reason that will be met again."""
    hang_seconds: float = 1800.0
    """Time without a heartbeat after which a run is ended and tried again."""


class Engine(Protocol):
    """Starts `fcn-bench exec RUN_DIR` somewhere and says how it ended; nothing else."""

    def free_slots(self) -> int:
        """Return how many runs can be started now."""
        ...

    def start(self, run_dir: Path) -> None:
        """Start a run's process in a free slot."""
        ...

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to `seconds` for processes to end, and return those that did."""
        ...

    def kill(self, run_id: str) -> None:
        """End a run's process at once; `poll` then reports it."""
        ...

    def stop(self) -> None:
        """Ask what still runs to checkpoint and leave, and see that it does."""
        ...


class Watcher(Protocol):
    """Shows a person what happens."""

    def started(self, planned: PlannedRun) -> None:
        """A run's process was started."""
        ...

    def ended(self, planned: PlannedRun, failure: Failure | None) -> None:
        """A run is done, or has failed."""
        ...

    def retried(self, planned: PlannedRun, failure: Failure) -> None:
        """An attempt failed, and another will be made."""
        ...

    def tick(self) -> None:
        """Time passed; runs write their own logs."""
        ...


def execute_plan(
    plan: Plan, store: Store, engine: Engine, watcher: Watcher, policy: Policy | None = None
) -> int:
    """Execute what is missing of a plan and return the number of its runs that are not done."""
    grid = _Grid(plan, store, engine, watcher, policy or Policy())
    try:
        while (grid.waiting or grid.running) and not grid.is_over:
            grid.block_orphans()
            grid.start_ready()
            grid.settle(engine.poll(0.5))
            grid.end_hung()
            watcher.tick()
    finally:
        engine.stop()
    return sum(store.status(run.id) != "done" for run in plan.unique_runs())


class _Grid:
    """Runs on their way: waiting, running, failed."""

    def __init__(
        self, plan: Plan, store: Store, engine: Engine, watcher: Watcher, policy: Policy
    ) -> None:
        self.store, self.engine, self.watcher, self.policy = store, engine, watcher, policy
        first_use = {planned.run.id: planned for planned in reversed(plan.runs)}
        ids = [run.id for run in plan.unique_runs()]
        self.waiting = {i: first_use[i] for i in ids if self._is_wanted(i)}
        self.running: dict[str, PlannedRun] = {}
        self.is_over = False
        self._failures: Counter[tuple[str, str]] = Counter()
        self._not_before: dict[str, float] = {}
        self._beats: dict[str, tuple[int, float]] = {}
        self._hung: set[str] = set()
        for run_id, planned in self.waiting.items():
            store.prepare(planned.run)
            store.forget_failure(run_id)

    def start_ready(self) -> None:
        """Start runs whose parent is done, in the order of the plan, while there is room."""
        now = time.monotonic()
        ready = [
            run_id
            for run_id, planned in self.waiting.items()
            if self._not_before.get(run_id, 0.0) <= now
            and (planned.run.parent is None or self.store.status(planned.run.parent) == "done")
        ]
        for run_id in ready[: self.engine.free_slots()]:
            planned = self.running[run_id] = self.waiting.pop(run_id)
            self._beats[run_id] = (0, now)
            self.engine.start(self.store.run_dir(run_id))
            self.watcher.started(planned)

    def settle(self, exits: list[Exit]) -> None:
        """Take note of processes that ended: done, to be tried again, or failed."""
        for ended in exits:
            planned = self.running.pop(ended.run_id)
            status = self.store.status(ended.run_id)
            if status == "done":
                self.watcher.ended(planned, None)
            elif ended.code in (BUSY, ORPHANED):  # another command makes it
                self.waiting[ended.run_id] = planned
                self._not_before[ended.run_id] = time.monotonic() + BUSY_SECONDS
                self._hung.discard(ended.run_id)
            elif ended.lost:
                self._fail(planned, Failure(reason="lost", message=ended.lost))
            else:
                hung = ended.run_id in self._hung
                failure = self.store.failure(ended.run_id) or _killed(self.store, ended, hung=hung)
                self._fail(planned, failure)

    def block_orphans(self) -> None:
        """Give up runs whose parent failed."""
        for run_id, planned in list(self.waiting.items()):
            parent = planned.run.parent
            lost = parent is not None and parent not in self.waiting | self.running
            if lost and self.store.status(str(parent)) == "failed":
                why = f"its weights come from run {parent}, which failed"
                del self.waiting[run_id]
                self._fail(planned, Failure(reason="blocked", message=why))

    def end_hung(self) -> None:
        """End runs whose heartbeat has not changed for too long, by this process's own clock."""
        for run_id in self.running:
            beat = self.store.heartbeat(run_id)
            last, since = self._beats[run_id]
            if beat != last:
                self._beats[run_id] = (beat, time.monotonic())
            elif time.monotonic() - since > self.policy.hang_seconds and run_id not in self._hung:
                self._hung.add(run_id)
                self.engine.kill(run_id)

    def _is_wanted(self, run_id: str) -> bool:
        failure = self.store.failure(run_id)
        if self.store.status(run_id) == "done":
            return False
        return failure is None or failure.reason not in DETERMINED or self.policy.retry_failed

    def _fail(self, planned: PlannedRun, failure: Failure) -> None:
        run_id = planned.run.id
        self._failures[run_id, failure.reason] += 1
        self._hung.discard(run_id)
        if self._failures[run_id, failure.reason] <= RETRIES.get(failure.reason, 0):
            self.store.forget_failure(run_id)
            self.waiting[run_id] = planned
            self.watcher.retried(planned, failure)
            return
        self.store.record_failure(run_id, failure)
        self.watcher.ended(planned, failure)
        self.is_over = self.is_over or self.policy.fail_fast


def _killed(store: Store, ended: Exit, *, hung: bool) -> Failure:
    """Describe a process that left no record: a signal, or an end before Python could speak."""
    log = store.run_dir(ended.run_id) / "log.txt"
    tail = log.read_text(encoding="utf-8", errors="replace")[-4000:] if log.exists() else ""
    step = max((row["step"] for row in store.logs(ended.run_id)), default=None)
    if hung:
        message = "no step was made for too long, so the process was ended"
        return Failure(reason="hung", message=message, step=step, details=tail)
    how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
    message = f"the process ended with {how} and no record"
    return Failure(reason="killed", message=message, step=step, details=tail)
