"""What happens on a node of a cluster: it is looked at, and runs are started there as processes.

`python -m bench.grid.node STORE NONCE [PLUGIN...]` prints what a run would meet on this machine, as
JSON. It is a process of the same kind as a run's, so it meets the same folders, code and plugins.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.grid.slots import Slot, exec_command, exec_environment
from bench.plugins import load_plugins
from fcn.errors import InputError

PACKAGES = ("fcn-bench", "torch", "torchvision", "timm", "numpy")
"""Packages that a result depends on."""

APPEAR_SECONDS = 10.0
"""Time in which a network file system shows a new file on another machine."""

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
    asked: float | None = None
    with (Path(order.run_dir) / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            exec_command(Path(order.run_dir), order.slot, order.plugins),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=_folder(order.folder),
            env={**_environment(exec_environment(order.slot)), **order.variables},
            start_new_session=True,
        )
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


def look_around(store: str, nonce: str, plugins: Sequence[str], folder: str) -> dict[str, Any]:
    """Return what a run would meet on this machine, as `describe` gives it; or {"error": ...}."""
    command = [sys.executable, "-m", "bench.grid.node", store, nonce, *plugins]
    environment = _environment(os.environ)
    done = subprocess.run(
        command, cwd=_folder(folder), env=environment, capture_output=True, text=True
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def describe(store: Path, plugins: Sequence[str]) -> dict[str, Any]:
    """Return versions, code, plugins and packed data of this machine as plain values."""
    try:
        loaded = [str(plugin) for plugin in load_plugins(plugins)]
    except InputError as error:
        loaded = [f"error: {error}"]
    return {
        "Python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "code": _code_digest(),
        "plugins": loaded,
        "packs": {
            str(path.relative_to(store)): path.stat().st_size
            for path in sorted(store.glob("packs/*/*.*"))
        },
    }


def sees(store: Path, nonce: str) -> bool:
    """Wait for a file of the controller's to appear in the store; a network may take its time."""
    until = time.monotonic() + APPEAR_SECONDS
    while not (store / nonce).exists():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def can_write(store: Path, nonce: str) -> bool:
    """Say whether files can be made in the store here."""
    path = store / f"{nonce}-{platform.node()}-{os.getpid()}"
    try:
        path.touch()
        path.unlink()
    except OSError:
        return False
    return True


def _environment(variables: Any) -> dict[str, str]:
    """Leave out what Ray sets for its own processes, the token of the cluster among it."""
    return {name: value for name, value in variables.items() if not name.startswith("RAY_")}


def _folder(wanted: str) -> str | None:
    return wanted if Path(wanted).is_dir() else None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _code_digest() -> str:
    """Digest the source of everything that a run executes: bench and fcn."""
    import bench
    import fcn

    digest = hashlib.sha256()
    for path in _sources(Path(bench.__file__).parent, Path(fcn.__file__).parent):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


if __name__ == "__main__":
    root, nonce, *names = sys.argv[1:]
    facts = {"sees": sees(Path(root), nonce), "writes": can_write(Path(root), nonce)}
    print(json.dumps({**facts, **describe(Path(root), names)}))
