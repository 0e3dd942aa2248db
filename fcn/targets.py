"""Targets: several targets scored by one network, their classes side by side.

In: maps (N, sum of C, h, w), C the classes of each target. The scores of different targets never
meet: score layers are rows of one convolution, and whatever is learned behind them is one layer
per target. So one trunk with two heads is what SIFT Flow's semantic and geometric labels get.

Reference: Long et al., 2015, section 5 (SIFT Flow), arXiv:1411.4038.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class PerTarget(nn.Module):
    """A layer for each target: every tensor is split by target, and results are put together.

    Args:
        parts: One layer per target.
        classes: Classes of each target.
    """

    def __init__(self, parts: Sequence[nn.Module], classes: Sequence[int]) -> None:
        super().__init__()
        self.parts: Any = nn.ModuleList(parts)
        self.classes = list(classes)

    def forward(self, *arguments: Any) -> Tensor:
        """Return (N, sum of C, H, W); what is no tensor goes to every layer as it is."""
        shares = [
            torch.split(a, self.classes, dim=1) if isinstance(a, Tensor) else [a] * len(self.parts)
            for a in arguments
        ]
        results = [part(*share) for part, *share in zip(self.parts, *shares, strict=True)]
        return torch.cat(results, dim=1)


def per_target(classes: Sequence[int], create: Callable[[int], nn.Module]) -> nn.Module:
    """Return `create(C)`, or one such layer for each of several targets."""
    parts = [create(number) for number in classes]
    return parts[0] if len(parts) == 1 else PerTarget(parts, classes)


def split_targets(
    scores: Tensor, upsampling: nn.Module, classes: Sequence[int]
) -> list[tuple[Tensor, nn.Module]]:
    """Return each target's scores (N, C, h, w), and what takes them to pixels."""
    if len(classes) == 1:
        return [(scores, upsampling)]
    parts: Sequence[nn.Module] = [upsampling] * len(classes)  # a fixed one takes any channels
    if isinstance(upsampling, PerTarget):
        parts = list(upsampling.parts)
    return list(zip(torch.split(scores, list(classes), dim=1), parts, strict=True))
