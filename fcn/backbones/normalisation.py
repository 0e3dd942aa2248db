"""Local response normalisation, with gradients that are the same bits on every run.

In: features (N, C, h, w). Out: the same shape, each divided by what its neighbours in C hold.
torch's own is a 3-d average pool, whose gradients are added in any order on CUDA.

Reference: Krizhevsky, Sutskever and Hinton, 2012, section 3.3.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class LocalResponseNormalisation(nn.Module):
    """x / (1 + alpha * mean of squares over `size` channels) ** beta; Caffe's constants.

    Args:
        size: Channels of the window, odd; beyond the first and last they count as 0.
        alpha: Weight of the mean.
        beta: Exponent.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta

    def forward(self, features: Tensor) -> Tensor:
        """Return the normalised features."""
        reach = self.size // 2
        squares = F.pad(features.square(), (0, 0, 0, 0, reach, reach))
        shifted = [squares.narrow(1, i, features.shape[1]) for i in range(self.size)]
        mean = sum(shifted[1:], start=shifted[0]) / self.size
        return features / (1 + self.alpha * mean) ** self.beta
