"""Kernels without a GPU: Triton's interpreter runs them on a CPU, block by block, with numpy."""

import importlib
import sys
from contextlib import contextmanager
from functools import cache
from unittest import mock

import pytest

KERNELS = "bench.data.view_kernels"


@contextmanager
def interpreted_kernels(free_bytes=2**40):
    """Have views be made as on a GPU, by kernels that run on this CPU.

    Args:
        free_bytes: Memory that the "GPU" has; with none, no image stays there.
    """
    pytest.importorskip("triton")
    with (
        mock.patch.dict(sys.modules, {KERNELS: _interpreted()}),
        mock.patch("bench.data.device_views.PART", (64, 128)),  # few programs: each is slow
        mock.patch("bench.data.batches.VIEWS_AHEAD", 8),
        mock.patch("bench.data.batches.has_kernels", return_value=True),
        mock.patch("bench.data.scoring_batches.has_kernels", return_value=True),
        mock.patch("bench.data.resident.free_bytes", return_value=free_bytes),
    ):
        yield


@contextmanager
def no_kernels():
    """Have views be made as on a GPU where there is no Triton."""
    with (
        mock.patch("bench.data.batches.has_kernels", return_value=False),
        mock.patch("bench.data.scoring_batches.has_kernels", return_value=False),
    ):
        yield


@cache
def _interpreted():
    """Import the kernels into a Triton of their own: it looks at the variable when it is imported.

    What it is compiled from is loaded once in a process.
    """
    with mock.patch.dict("os.environ", TRITON_INTERPRET="1"), mock.patch.dict(sys.modules):
        for name in list(sys.modules):
            if name == KERNELS or (name.split(".")[0] == "triton" and "._C" not in name):
                del sys.modules[name]
        return importlib.import_module(KERNELS)
