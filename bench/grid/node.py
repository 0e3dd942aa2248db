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

    A first KeyboardInterrupt asks the run to checkpoint and leave, a second one ends it: that is
    how Ray's `cancel` arrives in a task. If this process is killed, the run's input closes, and it
    leaves by itself.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in all that a shell starts in the background, a cluster too: `cancel` would not arrive.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    asked: float | None = None
    process = start_order(order)
    while process.poll() is None:
        try:
            if asked is not None and time.monotonic() - asked > order.grace_seconds:
                process.kill()
            time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            if asked is None:
                asked = time.monotonic()
                process.terminate()
            else:
                process.kill()
    return process.returncode


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
