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

ASKED_SECONDS = 30.0
"""The same where a signal had asked the run to stop before: what sent it ends the controller too,
as a scheduler does, and gives all of them time."""


@dataclass
class StopFlag:
    """Whether a signal asked the run to stop at the next step."""

    requested: bool = False


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put the handlers of `SIGNALS` back at the end of the block, whatever it changed."""
    before = [(number, signal.getsignal(number)) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn SIGTERM, SIGUSR1 and the first SIGINT into a flag; the second SIGINT leaves at once.

    What was asked to stop is not kept by further signals from saying that it did: the handlers then
    stay, until the end of the block of `handlers_kept` around it.
    """
    flag = StopFlag()

    def request(number: int, frame: FrameType | None) -> None:
        flag.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = [(number, signal.signal(number, request)) for number in SIGNALS]
    try:
        yield flag
    finally:
        for number, handler in () if flag.requested else before:
            signal.signal(number, handler)


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 end a command as Ctrl-C does: by a KeyboardInterrupt.

    The first one does. `timeout` and schedulers send several, which must not cut short the time
    that runs have for their checkpoints, as a second Ctrl-C is meant to.
    """
    was_sent = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal was_sent
        if not was_sent:
            was_sent = True
            raise KeyboardInterrupt

    with handlers_kept():
        for number in SIGNALS:
            if number != signal.SIGINT:
                signal.signal(number, interrupt)
        yield


def leave_with_parent(descriptor: int, first: Callable[[], None] = lambda: None) -> None:
    """Start a thread that ends this process when a pipe closes.

    The controller holds the other end and never writes: however it ends, kill -9 included, the
    pipe closes. The run is then asked to checkpoint, and gone within a second; or when it has, if a
    signal had asked it before. To be called in the main thread.

    Args:
        descriptor: The reading end of the pipe.
        first: What is done before anything else when it closes.
    """
    # A handler may have to wait for the end of a step; here a signal is seen when it comes.
    arrived, noted = os.pipe()
    for end in (arrived, noted):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(noted, warn_on_full_buffer=False)

    def wait() -> None:
        while os.read(descriptor, 1):
            pass
        was_asked = _holds_signal(arrived)
        first()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ASKED_SECONDS if was_asked else ORPHAN_SECONDS)
        os._exit(ORPHANED)

    threading.Thread(target=wait, daemon=True, name="leave_with_parent").start()


def _holds_signal(descriptor: int) -> bool:
    """Say whether one of `SIGNALS` is among the numbers that a pipe holds."""
    try:
        return not set(SIGNALS).isdisjoint(os.read(descriptor, 4096))
    except BlockingIOError:
        return False
