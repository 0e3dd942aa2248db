"""Batches made ahead: the next one on a thread, while a step is made of the last.

In: a source of batches by number. Out: the same source. A batch is a function of its number, so
making it early changes nothing in it.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor


class BatchSource(Protocol):
    """Where batches come from: a pure function of the batch's number."""

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Return images (N, K, H, W) and target (N, H, W), or (N, T, H, W) of T label maps."""
        ...


class Ahead:
    """A source that makes batch k+1 when it is asked for batch k.

    For a CPU: a step leaves parts of the cores idle, which one more thread can use. A GPU makes its
    batches itself, and is given the work for one long before it gets there.

    All are made on one thread, for the bits of a product may depend on how many share it.

    Args:
        source: Makes the batches; errors in one are raised when it is asked for.
    """

    def __init__(self, source: BatchSource) -> None:
        self._make: Callable[[int], tuple[Tensor, Tensor]] = source.batch
        # One thread of arithmetic: more would wait for the cores that the step is using.
        self._thread = ThreadPoolExecutor(1, "batches", torch.set_num_threads, (1,))
        self._next: tuple[int, Future[tuple[Tensor, Tensor]]] | None = None

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Return batch number `index`, and begin the next."""
        number, made = self._next or (None, None)
        if made is None or number != index:
            made = self._thread.submit(self._make, index)
        self._next = (index + 1, self._thread.submit(self._make, index + 1))
        return made.result()


def ahead(source: BatchSource, device: torch.device) -> BatchSource:
    """Return a source whose batches are made ahead where that saves time: on a CPU."""
    return Ahead(source) if device.type == "cpu" else source
