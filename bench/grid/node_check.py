"""What a machine would make of our runs: whether it sees the store, and with which software.

`python -m bench.grid.node_check STORE SIGN SECONDS [PLUGIN...]` prints it as JSON. It is a process
of the same kind as a run's, so it meets the same folders, code and plugins.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.grid.node import folder_here, without_ray
from bench.plugins import load_plugins
from bench.version import __version__
from fcn.errors import InputError

PACKAGES = ("torch", "torchvision", "timm", "numpy")
"""Packages that a result depends on beside this one."""

SOFTWARE = ("Python", "fcn-bench", *PACKAGES, "code", "plugins")


def inspect_node(
    store: str, sign: str, seconds: float, plugins: Sequence[str], folder: str
) -> dict[str, Any]:
    """Return what a run started in `folder` would meet on this machine; or {"error": ...}.

    Beside what `describe` gives, `sees` tells whether a file of the store, `sign`, was there within
    `seconds`, and `writes` whether files can be made there.
    """
    command = [sys.executable, "-m", "bench.grid.node_check", store, sign, str(seconds), *plugins]
    environment = without_ray(os.environ)
    done = subprocess.run(
        command, cwd=folder_here(folder), env=environment, capture_output=True, text=True
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
        "fcn-bench": __version__,
        **{package: _version(package) for package in PACKAGES},
        "code": _code_digest(),
        "plugins": loaded,
        "packs": {
            str(path.relative_to(store)): path.stat().st_size
            for path in sorted(store.glob("packs/*/*.*"))
        },
    }


def find_fault(here: dict[str, Any], there: dict[str, Any], sign: Path) -> str | None:
    """Say why runs must not be started on a machine, as the end of a sentence; None if they may.

    Args:
        here: `inspect_node` of this machine.
        there: `inspect_node` of the other.
        sign: The file that was to be seen, in the store's folder.
    """
    if "error" in there:
        return f"cannot start `python -m bench`: {there['error']}"
    if not there["sees"]:
        return (
            f"does not see the store: {sign} was written here and is not there. All nodes need the "
            "store under the same path, on a file system that they share"
        )
    if not there["writes"]:
        return f"cannot write into the store, {sign.parent}"
    lacking = [p for p, size in here["packs"].items() if there["packs"].get(p) != size]
    if lacking:
        return f"does not see the data: {sign.parent / lacking[0]} is missing there or cut"
    other = [f"{k} {there[k]} (here {here[k]})" for k in SOFTWARE if there[k] != here[k]]
    if other:
        return f"would give other results: it has {', '.join(other)}; install the same there"
    return None


def _sees(path: Path, seconds: float) -> bool:
    """Wait for a file to appear; a network file system may take its time."""
    until = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _can_write(path: Path) -> bool:
    try:
        path.touch()
        path.unlink()
    except OSError:
        return False
    return True


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
    root, name, seconds, *modules = sys.argv[1:]
    sign = Path(root) / name
    own = sign.with_name(f"{name}-{platform.node()}-{os.getpid()}")
    facts = {"sees": _sees(sign, float(seconds)), "writes": _can_write(own)}
    print(json.dumps({**facts, **describe(Path(root), modules)}))
