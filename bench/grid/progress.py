"""What runs, how far, how long still: a live display on a terminal, plain lines elsewhere."""

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from bench.grid.exit_status import last_step
from bench.plan import Plan, PlannedRun
from bench.store.runs import Failure, Store
from bench.text import clean, clean_block

LINE_SECONDS = 30.0
"""Time between two lines of progress where there is no terminal."""


@dataclass
class GridProgress:
    """Watches a grid through the logs that its runs write.

    Args:
        plan: What is executed.
        store: Where the runs write.
        console: Where to show it.
    """

    plan: Plan
    store: Store
    console: Console
    _running: dict[str, tuple[PlannedRun, TaskID]] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)
    _last_line: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        runs = list(self.plan.unique_runs())
        self._todo = sum(self.store.status(run.id) != "done" for run in runs)
        self._ended = 0
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
            note = "starting" if loss is None else f"loss {loss:.3f}"
            self._display.update(task, completed=step, note=note)
            states.append(f"{_title(planned)} {step}/{planned.run.spec.train.steps} {note}")
        self._display.update(self._total, note=self._left())
        now = time.monotonic()
        if not self.console.is_terminal and now - self._last_line > LINE_SECONDS:
            self._last_line = now
            self._say("  running: " + "; ".join(states) + self._left())

    def _say(self, text: str) -> None:
        self.console.print(Text(clean_block(text)), soft_wrap=True)

    def _hide(self, planned: PlannedRun) -> None:
        """Take a run off the display; one that could not be started is not on it."""
        if planned.run.id in self._running:
            self._display.remove_task(self._running.pop(planned.run.id)[1])

    def _left(self) -> str:
        """Estimate the time left from the pace so far; nothing until something is known."""
        partial = 0.0
        for planned, _ in self._running.values():
            steps = planned.run.spec.train.steps or 1
            partial += last_step(self.store.run_dir(planned.run.id))[0] / max(1, steps)
        done = self._ended + partial
        if done < 0.2 or self._ended == self._todo:
            return ""
        seconds = (time.monotonic() - self._start) * (self._todo - done) / done
        return (
            f", about {seconds / 60:.0f} min left"
            if seconds >= 90
            else f", about {seconds:.0f} s left"
        )


def _title(planned: PlannedRun) -> str:
    return f"{clean(planned.variant)} seed {planned.run.spec.seed}"
