"""Signals as a flag that the loop reads: nothing is done inside a handler."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopFlag:
    """Whether a signal asked the run to stop at the next step."""

    requested: bool = False


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn SIGTERM and the first SIGINT into a flag; the second SIGINT leaves at once."""
    flag = StopFlag()

    def request(number: int, frame: FrameType | None) -> None:
        flag.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, request) for number in numbers]
    try:
        yield flag
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
