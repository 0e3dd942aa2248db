"""Whether kernels of ours can be had on a device: found out by starting one.

Triton comes with torch on Linux. It starts kernels by a C compiler, Python's headers and a folder
that it may write to, which many an image for GPUs lacks; then the slower ways are taken.
"""

import functools
import sys
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import torch

from fcn.errors import InputError, foreign_code


def has_kernels(device: torch.device) -> bool:
    """Say whether Triton starts kernels on a device, NVIDIA's or AMD's; the first time, try."""
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    return _starts(torch.cuda.current_device() if device.index is None else device.index)


def starting_on(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which Triton starts what it is given on a device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@functools.lru_cache(maxsize=64)
def _starts(index: int) -> bool:
    try:
        # A compiler, a linker, a driver or a disk may fail, each in its own way.
        with torch.cuda.device(index), torch.inference_mode(False), foreign_code():
            from bench.data.trial_kernel import count_up  # there may be no Triton

            counted = torch.empty(4, dtype=torch.int32, device=f"cuda:{index}")
            launch: Any = count_up[(1,)]
            launch(counted, length=4)
            works = counted.tolist() == [0, 1, 2, 3]
            why = "" if works else f"one that counts to 3 gave {counted.tolist()}"
    except InputError as error:
        works, why = False, str(error)
    if not works:
        print(
            f"views and losses are made without kernels of ours, more slowly: Triton starts none "
            f"here ({why})",
            file=sys.stderr,
        )
    return works
