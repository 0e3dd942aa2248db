"""What runs, how far, how long still: a live display on a terminal, plain lines elsewhere.

How long still goes by the rate of the last minutes, in the seconds that each run is expected to
take (`bench.grid.pace`): variants that are cheap come to their end first, or last, and a mean since
the start would be that of other variants.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from bench.durations import spell_duration
from bench.grid.exit_status import last_step
from bench.grid.pace import Pace
from bench.plan import Plan, PlannedRun
from bench.store.lease import find_leases
from bench.store.runs import Failure, Store
from bench.text import clean, clean_block

LINE_SECONDS = 30.0
"""Time between two lines of progress where there is no terminal."""

RECENT_SECONDS = 120.0
"""Time over which the rate is taken."""
LEAST_SECONDS = 5.0
"""Time before which a rate says nothing yet."""


class RecentRate:
    """How fast work gets done lately: the mean over the last minutes, not since the start.

    Args:
        window: Seconds that count as lately.
    """

    def __init__(self, window: float = RECENT_SECONDS) -> None:
        self._window = window
        self._seen: deque[tuple[float, float]] = deque()

    def note(self, now: float, done: float) -> None:
        """Note how much is done by now."""
        if self._seen and done < self._seen[-1][1]:  # a run went back to its checkpoint
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - self._window:
            self._seen.popleft()

    def seconds_for(self, work: float) -> float | None:
        """Return how long so much work takes at that rate; None while it is not known."""
        if len(self._seen) < 2:
            return None
        (start, before), (now, done) = self._seen[0], self._seen[-1]
        if now - start < LEAST_SECONDS or done <= before:
            return None
        return work * (now - start) / (done - before)


@dataclass
class GridProgress:
    """Watches a grid through the logs that its runs write.

    Args:
        plan: What is executed.
        store: Where the runs write.
        console: Where to show it.
        paces: How long each variant's runs are expected to take; without, all the same a step.
    """

    plan: Plan
    store: Store
    console: Console
    paces: Mapping[str, Pace] = field(default_factory=dict)
    _running: dict[str, tuple[PlannedRun, TaskID]] = field(default_factory=dict)
    _rate: RecentRate = field(default_factory=RecentRate)
    _last_line: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        runs = {planned.run.id: planned for planned in reversed(self.plan.runs)}
        self._open = {i: one for i, one in runs.items() if self.store.status(i) != "done"}
        self._todo = len(self._open)
        self._ended = 0
        self._done_work = 0.0
        self._total_work = sum(map(self._work, self._open.values()))
        self._display = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._total = self._display.add_task("all runs", total=self._todo, note="")

    def __enter__(self) -> "GridProgress":
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()

    def started(self, planned: PlannedRun) -> None:
        """Show a run that was started."""
        task = self._display.add_task(_title(planned), total=planned.run.spec.train.steps, note="")
        self._running[planned.run.id] = (planned, task)

    def ended(self, planned: PlannedRun, failure: Failure | None) -> None:
        """Say how a run ended."""
        self._ended += 1
        self._done_work += self._work(planned)
        self._hide(planned)
        how = "done" if failure is None else f"FAILED ({failure.reason}): {failure.message}"
        count = f"[{self._ended}/{self._todo}]"
        self._say(f"{count} {_title(planned)} {how}{self._left()}")
        self._display.update(self._total, completed=self._ended, note=self._left())

    def retried(self, planned: PlannedRun, failure: Failure) -> None:
        """Say that an attempt failed and another will be made."""
        self._hide(planned)
        self._say(f"{_title(planned)}: {failure.message} ({failure.reason}); it is tried again")

    def left(self, planned: PlannedRun) -> None:
        """Show a run no longer: another command makes it."""
        self._hide(planned)

    def paused(self, why: str) -> None:
        """Say that nothing new is started, and why."""
        self._say(f"paused: {why}")

    def lost(self, why: str) -> None:
        """Say that no run can be started any more, and why."""
        self._say(f"error: {why}")

    def tick(self) -> None:
        """Read how far the running runs are, and show it."""
        states = []
        for planned, task in self._running.values():
            step, loss = last_step(self.store.run_dir(planned.run.id))
            note = self._begun(planned) if loss is None else f"loss {loss:.3f}"
            self._display.update(task, completed=step, note=note)
            states.append(f"{_title(planned)} {step}/{planned.run.spec.train.steps} {note}")
        self._display.update(self._total, note=self._left())
        now = time.monotonic()
        if not self.console.is_terminal and now - self._last_line > LINE_SECONDS:
            self._last_line = now
            self._say("  running: " + "; ".join(states) + self._left())

    def _begun(self, planned: PlannedRun) -> str:
        """Say of a run without a step whether a process holds it: on a cluster it may wait long."""
        return "starting" if find_leases(self.store.run_dir(planned.run.id)) else "waiting"

    def _say(self, text: str) -> None:
        self.console.print(Text(clean_block(text)), soft_wrap=True)

    def _hide(self, planned: PlannedRun) -> None:
        """Take a run off the display; one that could not be started is not on it."""
        if planned.run.id in self._running:
            self._display.remove_task(self._running.pop(planned.run.id)[1])

    def _work(self, planned: PlannedRun) -> float:
        """Return how long a run is expected to take; in steps, where no pace is known."""
        if len(self.paces) < len(self.plan.variants):
            return float(max(1, planned.run.spec.train.steps or 0))
        return max(1e-3, self.paces[planned.variant].seconds)

    def _left(self) -> str:
        """Estimate the time left from the pace of the last minutes; nothing until it is known."""
        done = self._done_work
        for planned, _ in self._running.values():
            steps = planned.run.spec.train.steps or 0
            share = last_step(self.store.run_dir(planned.run.id))[0] / max(1, steps)
            trained = 1.0
            if len(self.paces) == len(self.plan.variants):
                trained = self.paces[planned.variant].train_share
            done += self._work(planned) * min(1.0, share) * trained
        self._rate.note(time.monotonic(), done)
        if self._ended == self._todo:
            return ""
        seconds = self._rate.seconds_for(self._total_work - done)
        return "" if seconds is None else f", about {spell_duration(seconds)} left"


def _title(planned: PlannedRun) -> str:
    return f"{clean(planned.variant)} seed {planned.run.spec.seed}"
