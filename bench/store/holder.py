"""Who makes a run: a process of a machine, and whether it is still there."""

import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from bench.store.records import CLOSED, read_record
from fcn.errors import InputError


@dataclass(frozen=True, config=CLOSED)
class Holder:
    """The process that makes a run."""

    attempt: Annotated[int, Field(ge=0)]
    """Number of the attempt, from 1; no number is given twice."""
    token: str
    """Random; in no two leases the same."""
    host: str
    machine: str
    """Boot and namespaces: where host and this are equal, process numbers mean the same."""
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    process: str
    """When it started, in ticks since boot, for a number may be given again; "?" if not known."""
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
        """Read a holder's JSON; None if it just went, or is not what a holder writes."""
        try:
            return read_record(path, _HOLDER, way_out="")
        except (OSError, InputError):
            return None

    def is_dead(self) -> bool:
        """Say whether the process is known to be gone; False where that cannot be known."""
        machine = _machine()
        if not machine or (self.host, self.machine) != (socket.gethostname(), machine):
            return False
        start = _process_start(self.pid)
        if not start or _UNKNOWN in (start, self.process):
            return not start
        return start != self.process


_HOLDER = TypeAdapter(Holder)
_UNKNOWN = "?"


@cache
def _machine() -> str:
    """Name this boot of this machine, and the namespaces that number and time its processes.

    Empty where the system says none of it: of other processes only the beat is known there.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        spaces = [os.readlink("/proc/self/ns/pid")]
        if os.path.lexists("/proc/self/ns/time"):  # Linux 5.6; it shifts the time of a start
            spaces.append(os.readlink("/proc/self/ns/time"))
    except OSError:
        return ""
    return " ".join([boot, *spaces])


def _process_start(pid: int) -> str:
    """Return when a process started, in ticks since boot; empty when it is not there.

    A killed process that nobody has waited for is not there. One that is there, though /proc does
    not show it, has "?": /proc may hide what is another user's (hidepid), or may be that of another
    namespace, where the number is another process.
    """
    stat = ""
    with suppress(OSError):
        if os.readlink("/proc/self") == str(os.getpid()):
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    if not stat:
        return _UNKNOWN if _is_there(pid) else ""
    values = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if values[0] in "ZX" else values[19]


def _is_there(pid: int) -> bool:
    if os.name != "posix":
        return True  # there is no question that does no harm
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is there, and another user's
    return True
