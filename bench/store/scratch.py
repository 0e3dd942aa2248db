"""Scratch files and folders: what is on its way says in its name which process writes it.

    .tmp-<what it becomes>-<machine>-<process>-<start of the process>-<random>

Who finds one can ask whether its writer is alive. Of another machine's, and of earlier versions'
(which said nothing), nobody here knows: those count as abandoned once nothing in them has changed
for a day, by the clock of their own file system.
"""

import hashlib
import os
import re
import tempfile
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from bench.store.holder import Holder

OLD_SECONDS = 86_400.0
"""Time without a change after which what nobody can be asked about counts as abandoned."""

_OWNED = re.compile(r"\.tmp-.+-([0-9a-f]{8})-(\d+)-(\d+|x)-[a-z0-9_]{8}(\.[^.]+)?")
_EARLIER = re.compile(r"\.tmp-.+-[a-z0-9_]{8}(\.[^.]+)?|\.tmp-node-check-[0-9a-f]{16}.*")


def scratch_prefix(name: str) -> str:
    """Return how the name of this process's scratch for `name` begins; random letters follow."""
    short = os.fsencode(name)[:80].decode(errors="ignore")  # of 255 bytes that a name may have
    return f".tmp-{short}-{_mark(os.getpid())}-"


def is_scratch(name: str) -> bool:
    """Say whether a name is one that scratch has, of this version or of an earlier one."""
    return bool(_OWNED.fullmatch(name) or _EARLIER.fullmatch(name))


def is_abandoned(path: Path) -> bool:
    """Say whether nobody writes a scratch file or folder any more; False where it is not known."""
    match = _OWNED.fullmatch(path.name)
    here = Holder.here(0, "")
    if match is None or match[1] != _machine_digest(here):
        return is_old(path)
    start = "?" if match[3] == "x" else match[3]
    return replace(here, pid=int(match[2]), process=start).is_dead()


def is_old(path: Path) -> bool:
    """Say whether nothing in a file or folder has changed for a day; False if it just went.

    Its file system stamps a new file beside it for comparison: the clock of another machine, which
    may have stamped the rest, is never held against this one's.
    """
    try:
        parts = [path, *path.rglob("*")] if path.is_dir() else [path]
        changed = max(part.lstat().st_mtime for part in parts)
    except OSError:
        return False
    return _now_in(path.parent) - changed > OLD_SECONDS


@lru_cache(maxsize=1)  # by process: one that was forked has another
def _mark(pid: int) -> str:
    here = Holder.here(0, "")
    return f"{_machine_digest(here)}-{pid}-{here.process.replace('?', 'x')}"


def _machine_digest(holder: Holder) -> str:
    return hashlib.sha256(f"{holder.host}\0{holder.machine}".encode()).hexdigest()[:8]


def _now_in(folder: Path) -> float:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=scratch_prefix("clock")) as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:  # a store that can only be read
        return time.time()
