"""Fusions: two maps on one grid, coarser and finer, become one.

In: two maps (N, C, h, w). Out: one of that shape. Where a fusion is learned it starts so that a
finer map of zeros changes nothing: a model with a new skip begins as the one it came from.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fcn.registry import Registry

FUSIONS: Registry[Callable[[int], nn.Module]] = Registry("fusion")
"""name -> module built from (channels), called with (coarser, finer) maps of one shape."""


def list_fusions() -> list[str]:
    """Return the names of all fusions."""
    return list(FUSIONS)


@FUSIONS.register("sum")
class SumFusion(nn.Module):
    """The paper's: logits added."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, coarser: Tensor, finer: Tensor) -> Tensor:
        """Return coarser + finer."""
        return coarser + finer


@FUSIONS.register("max")
class MaxFusion(nn.Module):
    """The larger of the two, which the paper found hard to learn: the gradient switches sides."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, coarser: Tensor, finer: Tensor) -> Tensor:
        """Return the larger logits; where they are equal, each gets half of the gradient."""
        return torch.maximum(coarser, finer)


@FUSIONS.register("concat")
class ConcatFusion(nn.Module):
    """Both stacked, then a 1 x 1 convolution back to as many channels; it starts as their sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, channels, kernel_size=1)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(channels).repeat(1, 2)[:, :, None, None])
            nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]

    def forward(self, coarser: Tensor, finer: Tensor) -> Tensor:
        """Return the mixture of all channels."""
        mixed: Tensor = self.mix(torch.cat([coarser, finer], dim=1))
        return mixed


@FUSIONS.register("gate")
class GateFusion(nn.Module):
    """The finer one let through by a gate in 0..1 per cell and channel, half open at the start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(2 * channels, channels, kernel_size=1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)  # type: ignore[arg-type]

    def forward(self, coarser: Tensor, finer: Tensor) -> Tensor:
        """Return coarser + gate * finer."""
        opening: Tensor = self.gate(torch.cat([coarser, finer], dim=1)).sigmoid()
        return coarser + opening * finer


@FUSIONS.register("weighted")
class WeightedFusion(nn.Module):
    """The finer one times a learned number, 1 at the start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, coarser: Tensor, finer: Tensor) -> Tensor:
        """Return coarser + weight * finer."""
        return coarser + self.weight * finer
