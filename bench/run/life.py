"""Signs of life: a run says that it is made, and sees that it still may be, once a second at most.

More often is no use, and on a file system of a network it takes milliseconds of each step.
"""

import math
import time
from pathlib import Path

from bench.store.lease import Lease

LIFE_SECONDS = 1.0
"""Least time between two signs."""


class Life:
    """Signs of life of a run.

    Args:
        lease: The right to make it; None for a process that writes nothing, and gives no sign.
        folder: The run's folder, in which `heartbeat` is touched.
    """

    def __init__(self, lease: Lease | None, folder: Path) -> None:
        self._lease = lease
        self._heartbeat = folder / "heartbeat"
        self._shown = -math.inf

    def show(self) -> None:
        """See that the run is still this process's to make, and say that it is alive.

        Raises:
            LeaseLostError: It was taken over.
            FolderGoneError: Its folder was deleted.
        """
        now = time.monotonic()
        if self._lease and now - self._shown >= LIFE_SECONDS:
            self._lease.check()
            self._heartbeat.touch()
            self._shown = now
