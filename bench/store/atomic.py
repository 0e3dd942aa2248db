"""Files: written so that a reader sees the old one or the new one, never half; and digests."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.store.scratch import scratch_prefix


@dataclass(frozen=True)
class _Stage:
    """Where files of one folder are written before they are renamed into it."""

    folder: Path
    scratch: Path


_STAGE: ContextVar[_Stage | None] = ContextVar("stage", default=None)


@contextmanager
def staging(folder: Path, scratch: Path) -> Iterator[None]:
    """Write what goes into `folder` in `scratch` first, as long as the block lasts.

    Without `scratch` nothing reaches `folder` any more: who removes it shuts the writer out, and
    no writer has to be told.

    Args:
        folder: Folder whose files are staged, those below it too.
        scratch: Folder on the same file system, which is there already.
    """
    token = _STAGE.set(_Stage(folder, scratch))
    try:
        yield
    finally:
        _STAGE.reset(token)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place if the block ends well.

    The folder is synced after the rename: what has a name outlives a loss of power.
    """
    with naming(path):
        temporary = _create_temporary(path)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~umask())  # mkstemp and safetensors leave 0600
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of the system that names no file, or a scratch file, name what was written."""
    try:
        yield
    except OSError as error:
        named = error.filename
        if named is None or Path(os.fsdecode(named)).name.startswith(".tmp-"):
            error.filename, error.filename2 = os.fspath(path), None
        raise


def write_json(path: Path, values: Any) -> None:
    """Write `values` as JSON, atomically. NaN is refused: a missing number is null."""
    text = json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Add lines to a file, all at once, behind one that a kill left without its end; makes both."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for line in lines)
    with path.open("ab+", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            text = text if file.read() == b"\n" else f"\n{text}"
        file.write(text.encode())
        os.fsync(file.fileno())


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last, where the system can (Windows opens no folders)."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _create_temporary(path: Path) -> Path:
    stage = _STAGE.get()
    staged = stage is not None and path.is_relative_to(stage.folder)
    folder = stage.scratch if stage is not None and staged else path.parent
    if not staged:
        folder.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix if len(path.suffix) < 16 else ""  # libraries go by it: .png
    handle, name = tempfile.mkstemp(dir=folder, prefix=scratch_prefix(path.name), suffix=suffix)
    os.close(handle)
    if staged:
        path.parent.mkdir(exist_ok=True)  # not its parents: a deleted folder stays deleted
    return Path(name)


def umask() -> int:
    """Return the permissions that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
