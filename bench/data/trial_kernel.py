"""The smallest kernel: it counts. Whether it does tells whether others can be had.

Imported only where there is Triton.
"""

# mypy: ignore-errors
# The language of a kernel is not Python's, and Triton has no types.

import triton
import triton.language as tl


@triton.jit
def count_up(counted, length: tl.constexpr):
    """Write 0, 1, 2 and so on, (length,) int32; `length` is a power of two."""
    place = tl.arange(0, length)
    tl.store(counted + place, place)
