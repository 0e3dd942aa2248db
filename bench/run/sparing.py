"""Memory spared: as many images at once as there is room for, and one at a time where there is not.

In: a function of a batch. Out: its results, of the batch or of one image after the other.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from bench.run.outcome import is_out_of_memory

T = TypeVar("T")


class Sparing:
    """Calls functions of batches; from the first time that memory runs out, image by image."""

    def __init__(self) -> None:
        self.one_by_one = False

    def __call__(self, function: Callable[..., T], *batch: Tensor) -> Iterator[T]:
        """Yield the results of a batch, in its order.

        Args:
            function: Of tensors whose first axis is that of the images; it changes nothing.
            batch: Those tensors, (N, ...).

        Yields:
            One result of all N, or one of each.
        """
        if not self.one_by_one:
            try:
                whole = function(*batch)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or len(batch[0]) == 1:
                    raise
            else:
                yield whole
                return
            # Behind the handler: the error holds on to all that the attempt had made.
            self.one_by_one = True
            if batch[0].is_cuda:
                torch.cuda.empty_cache()
        for i in range(len(batch[0])):
            yield function(*(tensor[i : i + 1] for tensor in batch))
