"""Random numbers of many seeds at once: what `numpy.random.default_rng` would give for each alone.

A generator of numpy's takes 20 us to make, for the few numbers that a view needs; here the seeds of
a thousand views pass through its arithmetic together. In: seeds. Out: the same bits.

Reference: O'Neill, 2014, HMC-CS-2014-0905 (PCG XSL RR 128/64); O'Neill, 2015, "Developing a
seed_seq alternative"; numpy's `SeedSequence` and `PCG64`, which promise to stay as they are.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

POOL = 4
"""Words that seeds are mixed into."""

_MULTIPLIER = (0x2360ED051FC65DA4, 0x4385DF649FCCF645)
"""That of the generator, upper and lower half."""

Words = NDArray[np.uint32]
Halves = tuple[NDArray[np.uint64], NDArray[np.uint64]]
"""Whole numbers of 128 bits, upper and lower half."""


def draw_uniform(seeds: Sequence[Sequence[int]], number: int) -> NDArray[np.float64]:
    """Draw from [0, 1): row v is `np.random.default_rng(seeds[v]).random(number)`.

    Args:
        seeds: V seeds, each of as many whole numbers, none negative.
        number: How many to draw from each.

    Returns:
        (V, number).
    """
    if max(map(max, seeds)) >= 2**32:  # numpy takes several words for such a number
        return np.stack([np.random.default_rng(seed).random(number) for seed in seeds])
    mixed = _spread(_mix(np.array(seeds, dtype=np.uint32).T), 8).astype(np.uint64)
    state_high, state_low, step_high, step_low = (
        mixed[2 * k] | mixed[2 * k + 1] << np.uint64(32) for k in range(4)
    )
    one = np.uint64(1)
    step = (step_high << one | step_low >> np.uint64(63), step_low << one | one)
    state = _advance(_add(step, (state_high, state_low)), step)
    drawn = []
    for _ in range(number):
        state = _advance(state, step)
        drawn.append((_scramble(state) >> np.uint64(11)) * 2.0**-53)
    return np.stack(drawn, axis=1)


def _mix(seeds: Words) -> list[Words]:
    """Mix seeds, (words, V), into a pool."""
    constants = _Constants(0x43B0D7E5, 0x931E8875)
    nothing = np.zeros_like(seeds[0])
    first = [*seeds, *[nothing] * POOL][:POOL]
    pool = [_hash(word, constants) for word in first]
    for source in range(POOL):
        for k in range(POOL):
            if k != source:
                pool[k] = _join(pool[k], _hash(pool[source], constants))
    for word in seeds[POOL:]:
        for k in range(POOL):
            pool[k] = _join(pool[k], _hash(word, constants))
    return pool


def _spread(pool: list[Words], number: int) -> Words:
    """Return so many words of a pool, (number, V)."""
    constants = _Constants(0x8B51F9DD, 0x58F38DED)
    return np.stack([_hash(pool[k % POOL], constants) for k in range(number)])


class _Constants:
    """Constants of one pass of hashing: each word is xored with one and multiplied by the next."""

    def __init__(self, first: int, factor: int) -> None:
        self._next, self._factor = first, factor

    def take(self) -> tuple[np.uint32, np.uint32]:
        now = self._next
        self._next = now * self._factor % 2**32
        return np.uint32(now), np.uint32(self._next)


def _hash(word: Words, constants: _Constants) -> Words:
    mask, factor = constants.take()
    return _fold((word ^ mask) * factor)


def _join(word: Words, other: Words) -> Words:
    return _fold(word * np.uint32(0xCA01F9DD) - other * np.uint32(0x4973F715))


def _fold(word: Words) -> Words:
    folded: Words = word ^ word >> np.uint32(16)
    return folded


def _advance(state: Halves, step: Halves) -> Halves:
    """Return state * multiplier + step."""
    (high, low), (by_high, by_low) = state, (np.uint64(half) for half in _MULTIPLIER)
    carried = _upper_half(low, by_low) + high * by_low + low * by_high
    return _add((carried, low * by_low), step)


def _add(one: Halves, other: Halves) -> Halves:
    low = one[1] + other[1]
    return one[0] + other[0] + (low < one[1]).astype(np.uint64), low


def _upper_half(one: NDArray[np.uint64], other: np.uint64) -> NDArray[np.uint64]:
    """Return the upper half of a product of 128 bits."""
    bits, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a, b, c, d = one >> bits, one & mask, other >> bits, other & mask
    middle = (b * d >> bits) + (a * d & mask) + (b * c & mask)
    upper: NDArray[np.uint64] = a * c + (a * d >> bits) + (b * c >> bits) + (middle >> bits)
    return upper


def _scramble(state: Halves) -> NDArray[np.uint64]:
    high, low = state
    turns, word = high >> np.uint64(58), high ^ low
    left = np.uint64(64) - turns & np.uint64(63)
    scrambled: NDArray[np.uint64] = np.bitwise_or(word >> turns, word << left)
    return scrambled
