"""What the parts of a grid promise each other: engines start runs, watchers show them.

The controller between them knows neither where runs are started nor how they are shown.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from bench.plan import PlannedRun
from bench.store.runs import Failure


@dataclass(frozen=True)
class Exit:
    """How a run's process ended."""

    run_id: str
    code: int
    """Exit code of `bench.run.outcome`; negative for a signal."""
    lost: str | None = None
    """What was lost with it, if its machine is gone: then nothing is known of its end."""
    shared: bool = False
    """Whether it had a GPU together with other runs, whose memory was not its own then."""


class EngineLostError(Exception):
    """What starts an engine's runs is gone; nothing more can be started, and runs are leaving."""


class Engine(Protocol):
    """Starts `fcn-bench exec RUN_DIR` somewhere and says how it ended; nothing else."""

    def free_slots(self) -> int:
        """Return how many runs can be started now.

        Raises:
            EngineLostError: None ever again.
        """
        ...

    def start(self, run_dir: Path) -> None:
        """Start a run's process in a free slot."""
        ...

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to `seconds` for processes to end, and return those that did."""
        ...

    def is_queued(self, run_id: str) -> bool:
        """Say whether a run that was started waits for its turn somewhere: it cannot hang yet."""
        ...

    def kill(self, run_id: str) -> None:
        """End a run's process at once; `poll` then reports it."""
        ...

    def stop(self) -> None:
        """Ask what still runs to checkpoint and leave, and see that it does."""
        ...


@runtime_checkable
class SharingEngine(Protocol):
    """What an engine can besides that starts several runs on one GPU."""

    def start_alone(self, run_dir: Path) -> bool:
        """Start a run's process with a GPU to itself; False while there is none.

        Nothing new is then started on one of them, so that its turn comes.
        """
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

    def left(self, planned: PlannedRun) -> None:
        """A run that was started here turned out to be another command's."""
        ...

    def paused(self, why: str) -> None:
        """Nothing new is started until something changes."""
        ...

    def lost(self, why: str) -> None:
        """The engine is gone, and this the end of the grid."""
        ...

    def tick(self) -> None:
        """Time passed; runs write their own logs."""
        ...
