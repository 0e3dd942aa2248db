"""Large libraries imported without looking for garbage: nothing that they leave behind is any.

Python looks through all objects again and again while a library makes half a million that stay.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import without the garbage collector; it passes over what there is by then from then on."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
