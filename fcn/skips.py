"""Skips: which finer features are fused into the coarsest map, and how.

In: a coarser map and a finer feature. Out: a map on the finer feature's grid.
A strategy is data: FCN-32s to 2s, the truncated nets and the decoders differ in a few lines. The
paper's nets fuse class scores; decoders fuse wider maps and score the classes at the end.

Reference: Long et al., 2015, section 4.2, arXiv:1411.4038.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fcn.registry import Registry

SKIPS: Registry["SkipStrategy"] = Registry("skip")


def list_skips() -> list[str]:
    """Return the names of all skip strategies."""
    return list(SKIPS)


@dataclass(frozen=True)
class SkipStrategy:
    """The features that are used, from coarse to fine, and how they become one map."""

    strides: tuple[int, ...] = ()
    """Of the finer features, in the order of fusing."""
    scales: tuple[float, ...] | None = None
    """Fixed factor on each finer feature before it is scored; None leaves them as they are."""
    coarsest: int | None = None
    """Stride at which the backbone is cut; None for 32, or its deepest. A cut backbone has lost the
    layers that a convolutionalized classifier reads."""
    widths: tuple[int, ...] = ()
    """Channels of the map, at the coarsest stride and after each finer feature; none for one per
    class, as in the paper, which then needs no scores at the end."""
    merge: Literal["fuse", "stack", "stack_raw"] = "fuse"
    """How a finer feature joins: brought to the map's channels and fused as `model.fusion` says; or
    brought to its width and stacked; or stacked with all of its channels."""
    refine: int = 0
    """3 x 3 convolutions with batch norm and ReLU after each joining, which give its width."""
    finish: int = 0
    """3 x 3 convolutions with batch norm and ReLU before the scores at the end."""

    def __post_init__(self) -> None:
        if list(self.strides) != sorted(set(self.strides), reverse=True):
            raise ValueError(f"strides {self.strides} do not fall; fuse from coarse to fine")
        if self.scales is not None and len(self.scales) != len(self.strides):
            raise ValueError(f"{len(self.scales)} scales for {len(self.strides)} strides")
        if self.coarsest is not None and self.coarsest <= max(self.strides, default=0):
            raise ValueError(f"strides {self.strides} are not finer than {self.coarsest}")
        if self.widths and len(self.widths) != len(self.strides) + 1:
            raise ValueError(f"{len(self.widths)} widths for 1 + {len(self.strides)} strides")
        if self.merge == "fuse" and not self.refine and len(set(self.widths)) > 1:
            raise ValueError(f"widths {self.widths} differ; maps that are fused change none")
        if not self.widths and (self.merge != "fuse" or self.refine or self.finish):
            raise ValueError("stacking and 3 x 3 convolutions need widths")

    def steps(self) -> list[tuple[int, float]]:
        """Return (stride, scale) in the order of fusing."""
        scales = self.scales or (1.0,) * len(self.strides)
        return list(zip(self.strides, scales, strict=True))

    def find_coarsest(self, available: tuple[int, ...]) -> int | None:
        """Return the stride that is scored first, given a backbone's; None if it lacks one."""
        coarsest = self.coarsest or (32 if 32 in available else max(available))
        finer = {stride for stride in available if stride < coarsest}
        return coarsest if coarsest in available and finer.issuperset(self.strides) else None


SKIPS.register("fcn32s")(SkipStrategy())
SKIPS.register("fcn16s")(SkipStrategy(strides=(16,)))
SKIPS.register("fcn8s")(SkipStrategy(strides=(16, 8)))
SKIPS.register("fcn4s")(SkipStrategy(strides=(16, 8, 4)))
SKIPS.register("fcn2s")(SkipStrategy(strides=(16, 8, 4, 2)))
# The authors' one-stage training: small factors stand in for the falling learning rates of the
# staged one (voc-fcn8s-atonce/net.py of shelhamer/fcn.berkeleyvision.org).
SKIPS.register("fcn8s-atonce")(SkipStrategy(strides=(16, 8), scales=(0.01, 0.0001)))
# Truncated nets: what one depth predicts by itself (PAMI version of the paper, table 3).
SKIPS.register("pool5")(SkipStrategy(coarsest=32))
SKIPS.register("pool4")(SkipStrategy(coarsest=16))
SKIPS.register("pool3")(SkipStrategy(coarsest=8))
# Lin et al., 2017, arXiv:1612.03144: maps of one width added from the top down, smoothed once.
SKIPS.register("fpn")(SkipStrategy(strides=(16, 8, 4), widths=(128,) * 4, finish=1))
# Ronneberger et al., 2015, arXiv:1505.04597: whole features stacked, two convolutions a step.
SKIPS.register("unet")(
    SkipStrategy((16, 8, 4, 2), widths=(256, 256, 128, 64, 32), merge="stack_raw", refine=2)
)
SKIPS.register("unet4s")(
    SkipStrategy((16, 8, 4), widths=(256, 256, 128, 64), merge="stack_raw", refine=2)
)
# Hariharan et al., 2015, arXiv:1411.5752: all depths side by side at the finest, then scored.
SKIPS.register("hypercolumn")(
    SkipStrategy(strides=(16, 8, 4), widths=(64,) * 4, merge="stack", finish=1)
)


class Skip(nn.Module):
    """One finer feature joined to a coarser map.

    Args:
        score: Finer features -> a map.
        upsampling: Coarser map -> the finer grid.
        fusion: The two -> one.
        scale: Fixed factor on the features before they are scored.
        crop: Cells of the finer grid before the first upsampled one, where the upsampling gives a
            map of its own size and the features are cut to it; None where it gives theirs.
        refine: What follows; None for nothing.
    """

    def __init__(
        self,
        score: nn.Module,
        upsampling: nn.Module,
        fusion: nn.Module,
        *,
        scale: float = 1.0,
        crop: int | None = None,
        refine: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.score = score
        self.upsampling = upsampling
        self.fusion = fusion
        self.scale = scale
        self.crop = crop
        self.refine = refine

    def forward(self, coarser: Tensor, feature: Tensor) -> Tensor:
        """Return a map on the grid of `feature`, or on the part of it which is left."""
        if self.crop is None:
            upsampled = self.upsampling(coarser, tuple(feature.shape[-2:]))
        else:
            upsampled = self.upsampling(coarser)
            height, width = upsampled.shape[-2:]
            last = self.crop + height, self.crop + width
            feature = feature[..., self.crop : last[0], self.crop : last[1]]
        finer = self.score(feature * self.scale if self.scale != 1.0 else feature)
        fused: Tensor = self.fusion(upsampled, finer)
        return fused if self.refine is None else self.refine(fused)


class Stack(nn.Module):
    """Both maps side by side, in twice the channels."""

    def forward(self, coarser: Tensor, finer: Tensor) -> Tensor:
        """Return (N, C_coarser + C_finer, h, w)."""
        return torch.cat([coarser, finer], dim=1)


def create_convolutions(channels: int, width: int, number: int) -> nn.Sequential:
    """Return that many 3 x 3 convolutions to `width` channels, with batch norm and ReLU each."""
    layers: list[nn.Module] = []
    for _ in range(number):
        window = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
        layers += [window, nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers)
