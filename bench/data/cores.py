"""Work on files shared out over all cores: in order, a few at a time, by any number of processes.

In: what is to be done with one thing, and the things. Out: what is found of each, or why there is
nothing. Each process takes every n-th thing and hands on what it found through a pipe of its own: a
full pipe holds it back, and one that nobody reads any more ends it, so that none outlives the
command.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from fcn.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Takes how many are done, and how many there are."""

WORTH_IT = 200
"""Things from which on processes are started: that takes as long as reading some twenty images."""
LEFT = "a process that read images ended early, perhaps for lack of memory; give the command again"


def try_each(
    work: Callable[[T], R], things: Sequence[T], progress: Progress | None = None
) -> Iterator[R | str]:
    """Yield what is found of each thing, in order, or the message of its `InputError`.

    Args:
        work: Done with each, over all cores; what it returns passes between processes.
        things: With what.
        progress: Called with the number of those that are done, and of all.

    Raises:
        InputError: A process ended early.
    """
    for number, found in enumerate(_share_out(work, things), start=1):
        yield found
        if progress is not None:
            progress(number, len(things))


def _share_out(work: Callable[[T], R], things: Sequence[T]) -> Iterator[R | str]:
    number = min(_num_cores(), len(things))
    if number < 2 or len(things) < WORTH_IT or not _can_fork():
        yield from (_try(work, thing) for thing in things)
        return
    # Forked: plugins, and whatever the work holds, are there without being sent.
    context = multiprocessing.get_context("fork")
    readers: list[Connection] = []
    workers = []
    try:
        for first in range(number):
            reader, writer = context.Pipe(duplex=False)
            readers.append(reader)
            arguments = (work, things[first::number], writer, tuple(readers))
            worker = context.Process(target=_work, args=arguments, daemon=True)
            worker.start()
            workers.append(worker)
            writer.close()  # the worker's copy is the only one: its end is seen here
        for place in range(len(things)):
            yield _receive(readers[place % number])
    finally:
        for reader in readers:
            reader.close()
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(
    work: Callable[[T], R],
    things: Sequence[T],
    writer: Connection,
    readers: tuple[Connection, ...],
) -> None:
    """Send what is found of each thing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command itself answers Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for reader in readers:  # inherited: as long as one is open nobody sees that the command is gone
        reader.close()
    with suppress(BrokenPipeError):
        for thing in things:
            writer.send(_try(work, thing))


def _try(work: Callable[[T], R], thing: T) -> R | str:
    try:
        return work(thing)
    except InputError as error:
        return str(error)


def _receive(reader: Connection) -> Any:
    try:
        return reader.recv()
    except EOFError:
        raise InputError(LEFT) from None


def _num_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _can_fork() -> bool:
    """Say whether processes can be forked: not on Windows, nor safely on macOS, nor by a daemon."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon
