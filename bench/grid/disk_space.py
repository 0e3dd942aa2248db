"""Room on the disk: nothing new is started where it would not fit."""

import shutil
from pathlib import Path

from bench.text import our_command

LEAST_BYTES = 64 * 2**20
"""Free space that a run needs as long as none has shown what it takes."""

FACTOR = 8
"""A finished run leaves its weights; while it is made, there are three checkpoints with optimiser
state, and the one that is being written."""


class DiskSpace:
    """Watches the free space of a store.

    Args:
        root: Folder of the store.
        least_bytes: Free space below which nothing is started.
    """

    def __init__(self, root: Path, least_bytes: int = LEAST_BYTES) -> None:
        self._root = root
        self._need = least_bytes

    def learn(self, run_dir: Path) -> None:
        """Take note of what a run left: the next one may need as much while it is made."""
        try:
            size = sum(path.stat().st_size for path in run_dir.rglob("*") if path.is_file())
        except OSError:  # another process is at work in it
            return
        self._need = max(self._need, FACTOR * size)

    def shortage(self) -> str | None:
        """Say what is lacking; None where there is room for a run."""
        free = shutil.disk_usage(self._root).free
        if free >= self._need:
            return None
        return (
            f"{self._root} has {free / 2**20:.0f} MiB left and a run may need "
            f"{self._need / 2**20:.0f} MiB: make room ({our_command('runs prune', self._root)} "
            "removes what no result needs)"
        )
