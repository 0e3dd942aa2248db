"""What happens on a node of a cluster: a run is started as a process of its own."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.grid.slots import Slot, exec_command, exec_environment

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Order:
    """A run to be started on a node."""

    run_dir: str
    slot: Slot
    plugins: tuple[str, ...]
    folder: str
    """Folder to start it in, so that relative paths of a spec mean the same everywhere."""
    grace_seconds: float
    """Time it has to write its checkpoint when it is asked to leave."""
    variables: dict[str, str] = field(default_factory=dict)
    """Additions to the environment."""


def execute_order(order: Order) -> int:
    """Execute a run in a process of its own and return its exit code; negative for a signal.

    The first interrupt asks the run to checkpoint and leave, the second one ends it: that is how
    Ray's `cancel` arrives in a task. They are noted, not raised: in whichever line one arrives,
    nobody leaves before the run has. If this process is killed, the run's input closes, and it
    leaves by itself.
    """
    asked: list[float] = []
    # Whatever it was: ignored, as in all that a shell starts in the background, a cluster too.
    before = signal.signal(signal.SIGINT, lambda *_: asked.append(time.monotonic()))
    try:
        process, is_told = start_order(order), False
        while process.poll() is None:
            if len(asked) > 1 or (asked and time.monotonic() - asked[0] > order.grace_seconds):
                process.kill()
            elif asked and not is_told:
                process.terminate()
                is_told = True
            time.sleep(POLL_SECONDS)
        return process.returncode
    finally:
        signal.signal(signal.SIGINT, before)


def start_order(order: Order) -> "subprocess.Popen[bytes]":
    """Start a run's process; its output goes to `log.txt` in the run's folder.

    If this process ends, however it does, the run's input closes, and it leaves by itself.
    """
    with (Path(order.run_dir) / "log.txt").open("ab") as log:
        return subprocess.Popen(
            exec_command(Path(order.run_dir), order.slot, order.plugins),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=folder_here(order.folder),
            env={**without_ray(exec_environment(order.slot)), **order.variables},
            start_new_session=True,
        )


def without_ray(variables: Mapping[str, str]) -> dict[str, str]:
    """Leave out what Ray sets for its own processes, the token of the cluster among it."""
    return {name: value for name, value in variables.items() if not name.startswith("RAY_")}


def folder_here(wanted: str) -> str | None:
    """Return the controller's folder if this machine has it; None stands for where we are."""
    return wanted if os.path.isdir(wanted) else None
