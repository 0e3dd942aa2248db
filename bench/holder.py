"""Who makes a run: a process of a machine, and whether it is still there."""

import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """The process that makes a run."""

    attempt: int
    """Number of the attempt, from 1; no number is given twice."""
    token: str
    """Random; in no two leases the same."""
    host: str
    machine: str
    """Boot and process namespace: where it is equal, process numbers mean the same."""
    pid: int
    process: str
    """When the process started, in ticks since boot: a process number may be given again."""
    since: str
    """Time of the start, ISO 8601, UTC; for people."""

    @classmethod
    def here(cls, attempt: int, token: str) -> "Holder":
        """Describe this process."""
        pid, since = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
        start = _process_start(pid)
        return cls(attempt, token, socket.gethostname(), _machine(), pid, start, since)

    @classmethod
    def read(cls, path: Path) -> "Holder | None":
        """Read a holder's JSON; None if it just went, or cannot be read."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def is_dead(self) -> bool:
        """Say whether the process is known to be gone; False where that cannot be known."""
        here = (self.host, self.machine) == (socket.gethostname(), _machine())
        return here and _process_start(self.pid) != self.process


@cache
def _machine() -> str:
    """Name this boot of this machine and its process numbers; empty where the system says none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _process_start(pid: int) -> str:
    """Return when a process started, in ticks since boot; empty when it is not there.

    A killed process that nobody has waited for is not there. Where there is no /proc, a process
    that is there has "?".
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
        return "?" if _is_there(pid) else ""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in "ZX" else fields[19]


def _is_there(pid: int) -> bool:
    if os.name != "posix":
        return True  # there is no question that does no harm
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
