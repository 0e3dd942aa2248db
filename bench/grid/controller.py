"""Which run is next: parents before children, one failure never stopping another.

In: a plan, a store, an engine. Out: every run of the plan done, failed or blocked in the store.
The controller knows order, causes and retries; engines know only how to start a process somewhere.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from bench.grid.contracts import Engine, EngineLostError, Exit, SharingEngine, Watcher
from bench.grid.disk_space import LEAST_BYTES, DiskSpace
from bench.grid.exit_status import describe_end, last_step
from bench.plan import Plan, PlannedRun
from bench.run.outcome import BUSY, ORPHANED, REASONS, exit_code
from bench.store.lease import LEASE_SECONDS, Watch
from bench.store.records import Reason
from bench.store.runs import Failure, Store

BUSY_SECONDS = 2.0
"""Time before a run that another command holds is looked at again."""

RETRIES = {
    Reason.KILLED: 2,
    Reason.HUNG: 2,
    Reason.STOPPED: 2,
    Reason.ERROR: 1,
    Reason.DISK: 1,
    Reason.LOST: 10,
}
"""Further attempts within one command, by cause, each cause counted for itself. What is not here
would end the same way again. Machines come and go through no fault of a run, so losing one costs it
none of the few tries for its own failures; but a run that takes machine after machine down ends. A
run that somebody stops counts only where it got no further than the last time it was stopped. One
whose memory ran out beside others on its GPU is tried once more, with a GPU to itself."""

DETERMINED = (Reason.NONFINITE,)
"""Causes that a later command meets again too, unless it is told to try. What failed for its input
is not among them: files are mended as messages say, and to look again costs seconds."""


@dataclass(frozen=True)
class Policy:
    """What is done about failures."""

    fail_fast: bool = False
    """Stop everything at the first failure."""
    retry_failed: bool = False
    """Try again also what failed for a reason in `DETERMINED`."""
    hang_seconds: float = 1800.0
    """Time without a heartbeat after which a run is ended and tried again."""
    lease_seconds: float = LEASE_SECONDS
    """Time after which another command's run that shows no life is taken over."""
    least_bytes: int = LEAST_BYTES
    """Free space below which nothing is started; more, once a run has shown what it takes."""


def execute_plan(
    plan: Plan, store: Store, engine: Engine, watcher: Watcher, policy: Policy | None = None
) -> int:
    """Execute what is missing of a plan and return the number of its runs that are not done."""
    grid = _Grid(plan, store, engine, watcher, policy or Policy())
    try:
        while (grid.waiting or grid.running) and not grid.is_over:
            grid.block_orphans()
            grid.note_others()
            grid.start_ready()
            grid.settle(engine.poll(0.5))
            grid.end_hung()
            watcher.tick()
    except EngineLostError as error:
        watcher.lost(str(error))  # before all else: it may take this process along
    finally:
        engine.stop()
        grid.record_rest()
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
        self._trained_before = replace(plan, runs=tuple(self.waiting.values())).trained_before
        self.running: dict[str, PlannedRun] = {}
        self.is_over = False
        self._disk_space = DiskSpace(store.root, policy.least_bytes)
        self._is_paused = False
        self._failures: Counter[tuple[str, Reason]] = Counter()
        self._last_failure: dict[str, Failure] = {}
        self._stopped_at: dict[str, int] = {}
        self._given_up: dict[str, Failure] = {}
        self._unrecorded: dict[str, PlannedRun] = {}
        self._not_before: dict[str, float] = {}
        self._beats: dict[str, tuple[int, float]] = {}
        self._steps: dict[str, int] = {}
        self._hung: set[str] = set()
        self._watches: dict[str, Watch] = {}
        self._elsewhere: set[str] = set()
        self._alone: set[str] = set()
        """Runs that get a GPU to themselves, as their memory ran out beside others."""
        for run_id, planned in self.waiting.items():
            store.prepare(planned.run)
            store.forget_failure(run_id)

    def start_ready(self) -> None:
        """Start runs whose parents are done, in the order of the plan, while there is room."""
        for run_id in [i for i in self.waiting if i in self._alone]:
            if self._not_before.get(run_id, 0.0) <= time.monotonic():
                self._start_alone(run_id)
        for run_id in islice(self._ready(), self.engine.free_slots()):
            shortage = self._disk_space.shortage()
            if shortage is None:
                self._is_paused = False
                self._start(run_id)
                continue
            if not self._is_paused:
                self.watcher.paused(f"{shortage}; nothing new is started before that")
                self._is_paused = True
            if not self.running:  # nobody is left who might make room
                failure = self._last_failure.get(run_id, Failure(Reason.DISK, shortage))
                self._give_up(self.waiting.pop(run_id), failure)

    def settle(self, exits: list[Exit]) -> None:
        """Take note of processes that ended: done, to be tried again, or failed."""
        for ended in exits:
            run_id = ended.run_id
            planned = self.running.pop(run_id)
            self._disk_space.learn(self.store.run_dir(run_id))
            if self.store.status(run_id) == "done":
                self.watcher.ended(planned, None)
            elif ended.code in (BUSY, ORPHANED):  # another command makes it
                self.waiting[run_id] = planned
                self._not_before[run_id] = time.monotonic() + BUSY_SECONDS
                self._hung.discard(run_id)
                self.watcher.left(planned)
            elif ended.lost:
                self._fail(planned, Failure(reason=Reason.LOST, message=ended.lost))
            else:
                failure = self.store.failure(run_id) or self._describe(ended)
                may_be_alone = ended.shared and isinstance(self.engine, SharingEngine)
                if failure.reason == Reason.MEMORY and may_be_alone:
                    self._alone.add(run_id)
                    self._try_again(planned, failure)
                else:
                    self._fail(planned, failure)

    def note_others(self) -> None:
        """Take note of what other commands on this store brought to an end."""
        for run_id in list(self._elsewhere):
            failure = self.store.failure(run_id)
            if self.store.status(run_id) == "done":
                failure = None
            elif failure is None or failure.reason not in DETERMINED:
                continue
            self._elsewhere.discard(run_id)
            if run_id in self.waiting:
                self.watcher.ended(self.waiting.pop(run_id), failure)

    def block_orphans(self) -> None:
        """Give up runs of which a parent failed."""
        for run_id, planned in list(self.waiting.items()):
            for parent in planned.run.parents:
                if parent in self.waiting or parent in self.running:
                    continue
                if parent in self._given_up or self.store.status(parent) == "failed":
                    why = f"its weights come from run {parent}, which failed"
                    self._give_up(self.waiting.pop(run_id), Failure(Reason.BLOCKED, why))
                    break

    def end_hung(self) -> None:
        """End runs whose heartbeat has not changed for too long, by this process's own clock."""
        for run_id in self.running:
            beat = self.store.heartbeat(run_id)
            last, since = self._beats[run_id]
            if beat != last or self.engine.is_queued(run_id):
                self._beats[run_id] = (beat, time.monotonic())
                self._steps[run_id] = last_step(self.store.run_dir(run_id))[0]
            elif time.monotonic() - since > self.policy.hang_seconds and run_id not in self._hung:
                self._hung.add(run_id)
                self.engine.kill(run_id)

    def record_rest(self) -> None:
        """Write the failures that a full disk kept from being written, as far as it can be done."""
        for planned in self._unrecorded.values():
            with suppress(OSError):
                self._record(planned)

    def _is_wanted(self, run_id: str) -> bool:
        if self.store.status(run_id) == "done":
            return False
        failure = self.store.failure(run_id)
        return failure is None or failure.reason not in DETERMINED or self.policy.retry_failed

    def _ready(self) -> Iterator[str]:
        """Yield runs that can be started, and that no other command makes."""
        now = time.monotonic()
        for run_id, planned in list(self.waiting.items()):
            if self._not_before.get(run_id, 0.0) > now or run_id in self._alone:
                continue
            if any(self.store.status(parent) != "done" for parent in planned.run.parents):
                continue
            earlier = self._trained_before.get(run_id, ())
            if any(i in self.waiting or i in self.running for i in earlier):
                continue  # what it trains is this run's too
            folder = self.store.run_dir(run_id)
            watch = self._watches.setdefault(run_id, Watch(folder, self.policy.lease_seconds))
            if watch.is_free():
                yield run_id
            else:
                self._elsewhere.add(run_id)

    def _start_alone(self, run_id: str) -> None:
        """Start a run with a GPU to itself, if there is one by now."""
        assert isinstance(self.engine, SharingEngine)
        self._start(run_id, self.engine.start_alone)

    def _start(self, run_id: str, start: Callable[[Path], bool | None] | None = None) -> None:
        planned = self.waiting.pop(run_id)
        try:
            self.store.prepare(planned.run)  # its folder may have been deleted
            is_started = (start or self.engine.start)(self.store.run_dir(run_id))
        except OSError as error:
            self._fail(planned, Failure(REASONS[exit_code(error)], f"not started: {error}"))
            return
        if is_started is False:
            self.waiting[run_id] = planned
            return
        self.running[run_id] = planned
        self._beats[run_id] = (0, time.monotonic())
        self.watcher.started(planned)

    def _describe(self, ended: Exit) -> Failure:
        step, hung = self._steps.get(ended.run_id, 0), ended.run_id in self._hung
        return describe_end(self.store, ended.run_id, ended.code, hung=hung, step=step)

    def _fail(self, planned: PlannedRun, failure: Failure) -> None:
        run_id = planned.run.id
        self._failures[run_id, failure.reason] += self._counts(run_id, failure)
        self._hung.discard(run_id)
        if self._failures[run_id, failure.reason] <= RETRIES.get(failure.reason, 0):
            self._try_again(planned, failure)
            return
        self._give_up(planned, failure)

    def _try_again(self, planned: PlannedRun, failure: Failure) -> None:
        self.store.forget_failure(planned.run.id)
        self._last_failure[planned.run.id] = failure
        self.waiting[planned.run.id] = planned
        self.watcher.retried(planned, failure)

    def _counts(self, run_id: str, failure: Failure) -> bool:
        """Say whether a failure costs one of the tries: being stopped on one's way does not."""
        if failure.reason != Reason.STOPPED:
            return True
        before, step = self._stopped_at.get(run_id, 0), failure.step or 0
        self._stopped_at[run_id] = max(before, step)
        return step <= before

    def _give_up(self, planned: PlannedRun, failure: Failure) -> None:
        self._given_up[planned.run.id] = failure
        try:
            self._record(planned)
        except OSError:
            self._unrecorded[planned.run.id] = planned
        self.watcher.ended(planned, failure)
        self.is_over = self.is_over or self.policy.fail_fast

    def _record(self, planned: PlannedRun) -> None:
        self.store.prepare(planned.run)
        self.store.record_failure(planned.run.id, self._given_up[planned.run.id])
