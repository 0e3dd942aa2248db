"""Few images at a time: where logits are at full size, and where memory ran out.

Full-size logits are the largest tensors of a segmentation network, and nothing needs those of a
whole batch at once: a loss and a prediction are sums and maxima over single pixels.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from bench.run.outcome import is_out_of_memory

CHUNK_MIB = {"cpu": 8, "cuda": 64}
"""Full-size logits held at once: about a CPU's cache, or enough to keep a GPU busy."""


def chunks(scores: Tensor, size: tuple[int, int]) -> Iterator[slice]:
    """Yield which images are upsampled together, one at least.

    Args:
        scores: Logits on a coarse grid, (N, C, h, w).
        size: Height and width to which they will be upsampled, in fp32.
    """
    N, C = scores.shape[:2]
    mib = C * size[0] * size[1] * 4 / 2**20
    together = max(1, int(CHUNK_MIB.get(scores.device.type, CHUNK_MIB["cuda"]) / mib))
    for first in range(0, N, together):
        yield slice(first, first + together)


T = TypeVar("T")


class MemoryFallback:
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
