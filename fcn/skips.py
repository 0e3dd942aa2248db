"""Skips: which finer features are fused into the coarsest logits, and how.

In: coarser logits and a finer feature. Out: logits on the finer feature's grid.
A strategy is data: FCN-32s, 16s, 8s and 4s differ in the strides they name and in nothing else.

Reference: Long et al., 2015, section 4.2, arXiv:1411.4038.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fcn.registry import Registry

SKIPS: Registry["SkipStrategy"] = Registry("skip")
FUSIONS: Registry[Callable[[int], nn.Module]] = Registry("fusion")
"""name -> module built from (num_classes), called with (coarser, finer) logits of one shape."""


def list_skips() -> list[str]:
    """Return the names of all skip strategies."""
    return list(SKIPS)


def list_fusions() -> list[str]:
    """Return the names of all fusions."""
    return list(FUSIONS)


@dataclass(frozen=True)
class SkipStrategy:
    """The finer features that are fused, from coarse to fine."""

    strides: tuple[int, ...] = ()
    """Of the finer features, in the order of fusing."""
    scales: tuple[float, ...] | None = None
    """Fixed factor on each finer feature before it is scored; None leaves them as they are."""

    def __post_init__(self) -> None:
        if list(self.strides) != sorted(set(self.strides), reverse=True):
            raise ValueError(f"strides {self.strides} do not fall; fuse from coarse to fine")
        if self.scales is not None and len(self.scales) != len(self.strides):
            raise ValueError(f"{len(self.scales)} scales for {len(self.strides)} strides")

    def steps(self) -> list[tuple[int, float]]:
        """Return (stride, scale) in the order of fusing."""
        scales = self.scales or (1.0,) * len(self.strides)
        return list(zip(self.strides, scales, strict=True))


SKIPS.register("fcn32s")(SkipStrategy())
SKIPS.register("fcn16s")(SkipStrategy(strides=(16,)))
SKIPS.register("fcn8s")(SkipStrategy(strides=(16, 8)))
SKIPS.register("fcn4s")(SkipStrategy(strides=(16, 8, 4)))
# The authors' one-stage training: small factors stand in for the falling learning rates of the
# staged one (voc-fcn8s-atonce/net.py of shelhamer/fcn.berkeleyvision.org).
SKIPS.register("fcn8s_atonce")(SkipStrategy(strides=(16, 8), scales=(0.01, 0.0001)))


class Skip(nn.Module):
    """One finer feature fused into coarser logits.

    Args:
        score: Finer features -> logits.
        upsampling: Coarser logits -> the finer grid.
        fusion: The two -> one.
        scale: Fixed factor on the features before they are scored.
    """

    def __init__(
        self, score: nn.Module, upsampling: nn.Module, fusion: nn.Module, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.score = score
        self.upsampling = upsampling
        self.fusion = fusion
        self.scale = scale

    def forward(self, logits: Tensor, feature: Tensor) -> Tensor:
        """Return logits on the grid of `feature`."""
        finer = self.score(feature * self.scale if self.scale != 1.0 else feature)
        fused: Tensor = self.fusion(self.upsampling(logits, tuple(feature.shape[-2:])), finer)
        return fused


@FUSIONS.register("sum")
class SumFusion(nn.Module):
    """The paper's: logits added."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()

    def forward(self, coarser: Tensor, finer: Tensor) -> Tensor:
        """Return coarser + finer."""
        return coarser + finer


@FUSIONS.register("max")
class MaxFusion(nn.Module):
    """The larger of the two, which the paper found hard to learn: the gradient switches sides."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()

    def forward(self, coarser: Tensor, finer: Tensor) -> Tensor:
        """Return the larger logits; where they are equal, each gets half of the gradient."""
        return torch.maximum(coarser, finer)
