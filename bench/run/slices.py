"""Slices: pictures of a batch taken together where full-size logits are needed.

Full-size logits are the largest tensors of a segmentation network, and nothing needs those of a
whole batch at once: a loss and a prediction are sums and maxima over single pixels.
"""

from collections.abc import Iterator

from torch import Tensor

SLICE_MIB = {"cpu": 8, "cuda": 256}
"""Full-size logits held at once: about a CPU's cache, or enough to keep a GPU busy."""


def slices(scores: Tensor, size: tuple[int, int]) -> Iterator[slice]:
    """Yield which pictures are upsampled together, one at least.

    Args:
        scores: Logits on a coarse grid, (N, C, h, w).
        size: Height and width to which they will be upsampled, in fp32.
    """
    N, C = scores.shape[:2]
    mib = C * size[0] * size[1] * 4 / 2**20
    together = max(1, int(SLICE_MIB.get(scores.device.type, 256) / mib))
    for first in range(0, N, together):
        yield slice(first, first + together)
