"""Large libraries imported without looking for garbage: nothing that they leave behind is any.

Python looks through all objects again and again while a library makes half a million that stay.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Turn the garbage collector off for a block of imports, and leave it as it was.

    All objects that exist at the end of the block count as permanent: no later look visits them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
