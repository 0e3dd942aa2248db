"""Which run is next: parents before children, one failure never stopping another.

In: a plan, a store, an engine. Out: every run of the plan done, failed or blocked in the store.
The controller knows order and outcomes; engines know only how to start a process somewhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.plan import Plan, PlannedRun
from bench.store import Failure, Store


@dataclass(frozen=True)
class Exit:
    """How a run's process ended."""

    run_id: str
    code: int
    """Exit code of `bench.run.outcome`; negative for a signal."""


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

    def tick(self) -> None:
        """Time passed; runs write their own logs."""
        ...


def execute_plan(plan: Plan, store: Store, engine: Engine, watcher: Watcher) -> int:
    """Execute what is missing of a plan and return the number of its runs that are not done.

    A finished run is never started again; a failed one is, once per call.
    """
    grid = _Grid(plan, store, engine, watcher)
    try:
        while grid.waiting or grid.running:
            grid.block_orphans()
            grid.start_ready()
            grid.settle(engine.poll(0.5))
            watcher.tick()
    finally:
        engine.stop()
    return sum(store.status(run.id) != "done" for run in plan.unique_runs())


class _Grid:
    """Runs on their way: waiting, running, failed."""

    def __init__(self, plan: Plan, store: Store, engine: Engine, watcher: Watcher) -> None:
        self.store, self.engine, self.watcher = store, engine, watcher
        first_use = {planned.run.id: planned for planned in reversed(plan.runs)}
        ids = [run.id for run in plan.unique_runs()]
        self.waiting = {i: first_use[i] for i in ids if store.status(i) != "done"}
        self.running: dict[str, PlannedRun] = {}
        for run_id, planned in self.waiting.items():
            store.prepare(planned.run)
            store.forget_failure(run_id)

    def start_ready(self) -> None:
        """Start runs whose parent is done, in the order of the plan, while there is room."""
        ready = [
            run_id
            for run_id, planned in self.waiting.items()
            if planned.run.parent is None or self.store.status(planned.run.parent) == "done"
        ]
        for run_id in ready[: self.engine.free_slots()]:
            planned = self.running[run_id] = self.waiting.pop(run_id)
            self.engine.start(self.store.run_dir(run_id))
            self.watcher.started(planned)

    def settle(self, exits: list[Exit]) -> None:
        """Take note of processes that ended."""
        for ended in exits:
            planned = self.running.pop(ended.run_id)
            status = self.store.status(ended.run_id)
            if status == "missing":
                self._fail(planned, _killed(self.store, ended))
            else:
                self.watcher.ended(planned, self.store.failure(ended.run_id))

    def block_orphans(self) -> None:
        """Give up runs whose parent failed."""
        for run_id, planned in list(self.waiting.items()):
            parent = planned.run.parent
            if parent is not None and self.store.status(parent) == "failed":
                del self.waiting[run_id]
                why = f"its weights come from run {parent}, which failed"
                self._fail(planned, Failure(reason="blocked", message=why))

    def _fail(self, planned: PlannedRun, failure: Failure) -> None:
        self.store.record_failure(planned.run.id, failure)
        self.watcher.ended(planned, failure)


def _killed(store: Store, ended: Exit) -> Failure:
    """Describe a process that left no record: a signal, or an end before Python could speak."""
    log = store.run_dir(ended.run_id) / "log.txt"
    tail = log.read_text(encoding="utf-8", errors="replace")[-4000:] if log.exists() else ""
    how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
    steps = [row["step"] for row in store.logs(ended.run_id)]
    message = f"the process ended with {how} and no record"
    return Failure(reason="killed", message=message, step=max(steps, default=None), details=tail)
