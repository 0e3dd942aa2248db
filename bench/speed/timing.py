"""Timing of sides that are compared: interleaved, warmed up, with median and quartiles.

Sides take turns within a round, and every round begins with another one, so that what disturbs the
machine for a while disturbs all of them. Ratios are taken round by round, between neighbours.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def _nothing() -> None:
    """Do nothing: for sides that need no waiting."""


@dataclass(frozen=True)
class Side:
    """One of the things that are compared."""

    step: Callable[[], object]
    """Does one unit of work."""
    wait: Callable[[], object] = _nothing
    """Returns when the device has done what it was given."""
    warm_up: int = 1
    """Units before each timed block that are not timed."""
    settle: Callable[[], object] = _nothing
    """Returns when the side no longer works in the background."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements, in their unit."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise at least one value; quartiles are interpolated linearly."""
        low, median, high = np.percentile(values, [25, 50, 75])
        return cls(float(median), float(low), float(high))

    def scaled(self, factor: float) -> "Spread":
        """Return it in another unit, `factor` of which make one of this."""
        return Spread(factor * self.median, factor * self.low, factor * self.high)

    def text(self, digits: int) -> str:
        """Write the median, and the quartiles in brackets."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def choose_steps(side: Side, block_seconds: float, *, at_least: int = 2, at_most: int = 500) -> int:
    """Return how many units of a side make a block of about `block_seconds`; runs it to know."""
    seconds = time_block(side, at_least)
    return int(min(at_most, max(at_least, np.ceil(block_seconds / seconds))))


def interleave(
    sides: Mapping[str, Side], *, rounds: int, steps: Mapping[str, int]
) -> dict[str, list[float]]:
    """Time sides in turns.

    Args:
        sides: What to time, by name.
        rounds: Number of blocks of each side.
        steps: Units in a block of each.

    Returns:
        Seconds of a unit in each round, by side.
    """
    names = list(sides)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(time_block(sides[name], steps[name]))
    return seconds


def time_block(side: Side, steps: int) -> float:
    """Return the seconds of a unit over one block, after warm-up, with the device's work done."""
    for _ in range(side.warm_up):
        side.step()
    side.wait()
    start = time.perf_counter()
    for _ in range(steps):
        side.step()
    side.wait()
    seconds = (time.perf_counter() - start) / steps
    side.settle()
    return seconds


def speed_ratio(seconds: Mapping[str, Sequence[float]], fast: str, slow: str) -> Spread:
    """Return how many times the speed of `slow` that of `fast` is, over the rounds."""
    return Spread.of([b / a for a, b in zip(seconds[fast], seconds[slow], strict=True)])
