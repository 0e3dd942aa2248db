"""Output that ends no work: to a closed pipe, a full disk, in an encoding that lacks letters.

In: the streams that a process was started with. Out: streams that drop what they cannot write, for
a grid of a night must not end because nobody reads its progress any more.
"""

import io
import os
import select
import sys
from typing import Any


class _Patient(io.RawIOBase):
    """Writes what it can, and the rest as if it could; keeps the last error."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self.error: OSError | None = None
        self._raw = raw

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: Any, /) -> int:
        try:
            while True:
                written = self._raw.write(data)
                if written is not None:
                    return written
                select.select([], [self._raw], [])  # somebody made the pipe one that never waits
        except OSError as error:
            self.error = error
        return len(data)


def guard_output() -> None:
    """Have this process's output drop what cannot be written, and write out letters it lacks.

    Streams that the process was started without lead nowhere; else the next file to be opened would
    take their number, and what is printed would be written into it.
    """
    for number in (0, 1, 2):
        _keep_open(number)
    sys.stdin = sys.stdin or io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8")
    if sys.stdout is sys.__stdout__:  # not a test's, nor guarded already
        sys.stdout = _guarded(sys.__stdout__, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(sys.__stderr__, 2)


def output_error() -> OSError | None:
    """Return why standard output could not be written; None where nobody wanted to read it."""
    sys.stdout.flush()
    error = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "error", None)
    return None if isinstance(error, BrokenPipeError) else error


def is_unicode() -> bool:
    """Say whether standard output can write every letter."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def _keep_open(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest free number


def _guarded(stream: Any, number: int) -> io.TextIOWrapper:
    if stream is None:
        raw: Any = _Patient(io.FileIO(number, "w", closefd=False))
        return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace")
    buffer = stream.buffer  # Python's own buffer, or with -u the file itself
    raw = _Patient(getattr(buffer, "raw", buffer))
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
