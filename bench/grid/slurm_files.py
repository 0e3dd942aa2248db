"""What a command and its Slurm jobs tell each other: small files in a folder that both see.

    orders         from the command: a number that it raises, and who is to end
    <run>-1.state  from a job: queued, running, or ended with which exit code

They are there before anybody reads them, and written in place: clients of a network file system
remember for a while that a name was not there, or what it stood for, but not what an open file is.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Orders:
    """What a command wants of its jobs."""

    beat: int = 0
    """A number that changes as long as the command lives."""
    stop: bool = False
    """All jobs are to write their checkpoints and leave."""
    kill: Sequence[str] = ()
    """Runs that are to be ended at once."""


@dataclass(frozen=True)
class State:
    """How a job stands."""

    state: Literal["queued", "running", "ended"] = "queued"
    code: int = 0
    """Exit code, once it has ended; negative for a signal."""
    host: str = ""


def write(path: Path, said: Orders | State) -> None:
    """Write what is said, in place."""
    with path.open("r+" if path.exists() else "w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(said)) + "\n")
        file.truncate()


def read_orders(path: Path) -> Orders | None:
    """Read orders; None while they are being written, or where the folder is gone."""
    try:
        return Orders(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def read_state(path: Path) -> State | None:
    """Read a job's state; None while it is being written, or where the folder is gone."""
    try:
        return State(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
