"""Constants on a device: the last ones asked for are kept, and all that a recorded step reads.

A step that is replayed reads what lay there when it was recorded, and asks for nothing again. By
their age alone its constants would be given up, and their memory would hold something else.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_keepers: list[list[object]] = []


def made_once(most: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a function make each constant once, as `functools.lru_cache` does.

    Args:
        most: How many constants are kept, unless somebody keeps more: see `keeping`.
    """

    def decorate(make: Callable[P, T]) -> Callable[P, T]:
        cached: Any = functools.lru_cache(maxsize=most)(make)

        @functools.wraps(make)
        def ask(*args: P.args, **kwargs: P.kwargs) -> T:
            found: T = cached(*args, **kwargs)
            for kept in _keepers:
                kept.append(found)
            return found

        return ask

    return decorate


@contextmanager
def keeping() -> Iterator[list[object]]:
    """Yield a list of all constants that are asked for in a block: they live as long as it does."""
    kept: list[object] = []
    _keepers.append(kept)
    try:
        yield kept
    finally:
        _keepers.pop()
