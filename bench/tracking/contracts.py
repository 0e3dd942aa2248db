"""What trackers promise: a run is opened, given scalars by step, and ended.

A tracker is told of runs by who reads the store (`bench.tracking.follower`), never by a run: it is
no part of a run's id, sits in no training loop, and may fail as it likes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from bench.tracking.scalars import Point
from fcn.registry import Registry

FOLDER = "trackers"
"""In a store: what trackers keep on this machine, and how much each was told."""

DONE, FAILED, OPEN = "done", "failed", "open"
"""How a run stands with a tracker."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as a tracker knows it."""

    id: str
    ablation: str
    variant: str
    seed: int
    settings: Mapping[str, Any]
    """By dotted key."""

    @property
    def name(self) -> str:
        """What people call it, of its ablation."""
        return f"{self.variant}/seed-{self.seed}"


class Sink(Protocol):
    """One run of a tracker, open to be told more."""

    def log(self, points: Sequence[Point]) -> None:
        """Take what was logged since it was told last, in the order of steps."""
        ...

    def finish(self, state: str, last: Point) -> None:
        """Take the scores of a run that has ended, `DONE` or `FAILED`, at its last step."""
        ...

    def close(self) -> None:
        """See that all arrives; the run may be opened again."""
        ...


class Tracker(Protocol):
    """Something that shows runs. Made with the folder where it may keep files on this machine."""

    package: ClassVar[str]
    """The library that it needs, which is an extra of its name."""
    place: str
    """Where it shows them: a folder or an address. Another place has been told nothing yet."""

    def __init__(self, folder: Path) -> None: ...

    def open(self, run: TrackedRun) -> Sink:
        """Open a run, for the first time or again."""
        ...


TRACKERS: Registry[type[Tracker]] = Registry("tracker")
"""Classes by name. They import their library when they are made, and may raise what they like."""
