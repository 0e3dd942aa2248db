"""Parts of downloads: what has come of a file so far, kept so that the next try asks for the rest.

    .NAME.part       bytes, from the first on
    .NAME.part.json  of which file: its address, and its server's mark of this version of it

Bytes of two versions are never put together: the server is given the mark back (If-Range), and
answers with the whole file where it has another. Without such a mark nothing is kept.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Part:
    """A file on its way. Create it with `claim_part`."""

    def __init__(self, path: Path, file: IO[bytes], address: str) -> None:
        self.path, self.file, self._address = path, file, address
        self._record = path.with_name(f"{path.name}.json")
        mark = self._read_mark()
        self.size = file.seek(0, os.SEEK_END) if mark else 0
        """Bytes of it that are here, and that more can be added to."""
        self._mark = mark if self.size else ""
        self._is_public = False

    @property
    def headers(self) -> dict[str, str]:
        """What to ask a server with, so that it sends the rest alone, if that is possible."""
        return {"Range": f"bytes={self.size}-", "If-Range": self._mark} if self.size else {}

    def follows(self, headers: Mapping[str, str]) -> bool:
        """Say whether an answer's bytes follow those that are here."""
        place = re.match(r"bytes (\d+)-", headers.get("Content-Range") or "")
        return place is not None and int(place[1]) == self.size > 0

    def begin(self, headers: Mapping[str, str]) -> None:
        """Forget what is here; what comes now is the file from its first byte on."""
        self.clear()
        self._mark = _mark_of(headers)
        if self._mark:
            record = {"address": self._address, "mark": self._mark}
            self._record.write_text(json.dumps(record), encoding="utf-8")

    def clear(self) -> None:
        """Forget what is here."""
        self._record.unlink(missing_ok=True)
        self.file.seek(0)
        self.file.truncate()
        self.size, self._mark = 0, ""

    def publish(self, path: Path) -> None:
        """Give the file its name: it is whole."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self._record.unlink(missing_ok=True)
        self.path.replace(path)
        self._is_public = True

    def leave(self, *, keep: bool = True) -> None:
        """Keep what can be gone on with, and nothing else."""
        if self._is_public:  # what has the part's name now is somebody else's
            return
        self.file.flush()
        if not (keep and self._mark and self.file.seek(0, os.SEEK_END)):
            self._record.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)

    def _read_mark(self) -> str:
        try:
            record = json.loads(self._record.read_bytes())
            is_same = record["address"] == self._address
            return str(record["mark"]) if is_same else ""
        except (OSError, ValueError, LookupError, TypeError):
            return ""


@contextmanager
def claim_part(path: Path, address: str) -> Iterator[Part]:
    """Give the part of a file that belongs at `path`; writes into its folder.

    Whoever fetches the same at the same time gets one of its own, which does not outlive the block.
    """
    place = path.with_name(f".{path.name}.part")
    file = _lock(place)
    is_own = file is not None
    if file is None:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        file, place = os.fdopen(handle, "w+b"), Path(name)
    with file:
        part = Part(place, file, address)
        try:
            yield part
        finally:
            part.leave(keep=is_own)


def _lock(place: Path) -> IO[bytes] | None:
    """Open a part for this process alone; None where another has it, or no lock can be had."""
    if fcntl is None:
        return None
    # No link is followed: what would be cut to nothing may be anything.
    handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    file = os.fdopen(handle, "r+b")
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(place)):  # else it was just given its name
            return file
    file.close()
    return None


def _mark_of(headers: Mapping[str, str]) -> str:
    """Return by what a server knows this version of a file again; its weak tags are no such."""
    tag = headers.get("ETag") or ""
    return tag if tag.startswith('"') else headers.get("Last-Modified") or ""
