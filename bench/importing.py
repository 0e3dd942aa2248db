"""Large libraries imported without looking for garbage: nothing that they leave behind is any.

Python looks through all objects again and again while a library makes half a million that stay. At
the end of the process they are looked through once more, as without this: libraries that count what
they are given back (nanobind, which torch is bound with) would say that it leaked.
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

atexit.register(gc.unfreeze)


@contextmanager
def importing() -> Iterator[None]:
    """Turn the garbage collector off for a block of imports, and leave it as it was.

    All objects that exist at the end of the block count as permanent: no look but the last one, at
    the end of the process, visits them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
