"""Signals as a flag that the loop reads: nothing is done inside a handler."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from bench.run.outcome import ORPHANED

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)
)
"""Schedulers send SIGTERM or SIGUSR1 before they take a machine away."""

ORPHAN_SECONDS = 0.8
"""Time to reach the next checkpoint after the controller is gone."""


@dataclass
class StopFlag:
    """Whether a signal asked the run to stop at the next step."""

    requested: bool = False


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn SIGTERM, SIGUSR1 and the first SIGINT into a flag; the second SIGINT leaves at once."""
    flag = StopFlag()

    def request(number: int, frame: FrameType | None) -> None:
        flag.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = [signal.signal(number, request) for number in SIGNALS]
    try:
        yield flag
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 end a command as Ctrl-C does: by a KeyboardInterrupt."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    others = [number for number in SIGNALS if number != signal.SIGINT]
    before = [signal.signal(number, interrupt) for number in others]
    try:
        yield
    finally:
        for number, handler in zip(others, before, strict=True):
            signal.signal(number, handler)


def leave_with_parent(descriptor: int, first: Callable[[], None] = lambda: None) -> None:
    """Start a thread that ends this process when a pipe closes.

    The controller holds the other end and never writes: however it ends, kill -9 included, the
    pipe closes. The run is then asked to checkpoint, and gone within a second.

    Args:
        descriptor: The reading end of the pipe.
        first: What is done before anything else when it closes.
    """

    def wait() -> None:
        while os.read(descriptor, 1):
            pass
        first()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(ORPHANED)

    threading.Thread(target=wait, daemon=True, name="leave_with_parent").start()
