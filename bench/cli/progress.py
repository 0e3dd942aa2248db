"""How many images have been read: a bar in a terminal, and now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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


class _Lines:
    """A line every so often."""

    def __init__(self, what: str) -> None:
        self._what, self._last = what, time.monotonic()

    def tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY_SECONDS:
            self._last = now
            typer.echo(f"{self._what}: {done:,} of {total:,}", err=True)
