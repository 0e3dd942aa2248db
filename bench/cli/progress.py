"""How much has been read or fetched: a bar in a terminal, and now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from bench.durations import spell_bytes

EVERY_SECONDS = 20.0
"""Between two lines where there is no terminal; what takes less says nothing."""


@contextmanager
def image_progress(what: str = "reading images") -> Iterator[Callable[[int, int], None]]:
    """Show progress on standard error while the block lasts.

    Yields:
        What is told how many are done, and how many there are.
    """
    if not sys.stderr.isatty():
        yield _Lines(what).tell
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def file_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show on standard error how much of some files has come while the block lasts.

    Yields:
        What is told a file's name, its bytes that are here, and all of its bytes.
    """
    if not sys.stderr.isatty():
        lines: dict[str, _Lines] = {}
        yield lambda name, here, total: lines.setdefault(name, _Lines(name, spell_bytes)).tell(
            here, total
        )
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(name: str, here: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=here, total=total)

        yield tell


class _Lines:
    """A line every so often."""

    def __init__(self, what: str, spell: Callable[[int], str] = "{:,}".format) -> None:
        self._what, self._spell, self._last = what, spell, time.monotonic()

    def tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY_SECONDS:
            self._last = now
            typer.echo(f"{self._what}: {self._spell(done)} of {self._spell(total)}", err=True)
