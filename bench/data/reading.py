"""All images examined, over all cores: in order, a few at a time, whatever the number of processes.

In: a dataset and the images to read. Out: what `examine` gives for each, or why it cannot be used.
Each process takes every n-th image and hands it on through a pipe of its own: a full pipe holds it
back, and one that nobody reads any more ends it, so that none outlives the command.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from bench.data.dataset import Dataset
from bench.data.examine import Layers, examine
from bench.data.findings import ImageFacts
from fcn.errors import InputError

Found = tuple[ImageFacts, Layers] | str
Key = tuple[str, str]
"""Split and name of an image."""

WORTH_IT = 200
"""Images from which on processes are started: that takes as long as reading some twenty."""
LEFT = "a process that read images ended early, perhaps for lack of memory; give the command again"


def read_all(dataset: Dataset, keys: Sequence[Key], *, with_layers: bool) -> Iterator[Found]:
    """Yield what is found of each image, in order; reads disk.

    Args:
        dataset: The images.
        keys: Which of them.
        with_layers: Give the layers too; without them nothing large passes between processes.

    Raises:
        InputError: A process that read images ended early.
    """
    number = min(_num_cores(), len(keys))
    if number < 2 or len(keys) < WORTH_IT or not _can_fork():
        yield from (_try(dataset, key, with_layers) for key in keys)
        return
    # Forked: plugins, and whatever a dataset holds, are there without being sent.
    context = multiprocessing.get_context("fork")
    readers: list[Connection] = []
    workers = []
    try:
        for first in range(number):
            reader, writer = context.Pipe(duplex=False)
            readers.append(reader)
            arguments = (dataset, keys[first::number], with_layers, writer, tuple(readers))
            worker = context.Process(target=_work, args=arguments, daemon=True)
            worker.start()
            workers.append(worker)
            writer.close()  # the worker's copy is the only one: its end is seen here
        for place in range(len(keys)):
            yield _receive(readers[place % number])
    finally:
        for reader in readers:
            reader.close()
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(
    dataset: Dataset,
    keys: Sequence[Key],
    with_layers: bool,
    writer: Connection,
    readers: tuple[Connection, ...],
) -> None:
    """Send what is found of each image."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command itself answers Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for reader in readers:  # inherited: as long as one is open nobody sees that the command is gone
        reader.close()
    with suppress(BrokenPipeError):
        for key in keys:
            writer.send(_try(dataset, key, with_layers))


def _try(dataset: Dataset, key: Key, with_layers: bool) -> Found:
    try:
        facts, layers = examine(dataset, *key)
    except InputError as error:
        return str(error)
    return facts, layers if with_layers else ()


def _receive(reader: Connection) -> Found:
    try:
        found: Found = reader.recv()
    except EOFError:
        raise InputError(LEFT) from None
    return found


def _num_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _can_fork() -> bool:
    """Say whether processes can be forked: not on Windows, nor safely on macOS, nor by a daemon."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon
