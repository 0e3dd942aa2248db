"""Upsampling: the named ways in which logits reach a finer grid of cells.

In: logits on one grid. Out: logits on another, in fp32. Every way, fixed or learned, is exact: what
sits at a place in the image stays there. All learned ones but the random start as `bilinear`, so a
model that takes over another's weights predicts as that one did.
"""

from collections.abc import Callable

from torch import nn

from fcn.alignment import FixedUpsampling, Grid
from fcn.learned import CarafeUpsampling, DeconvolutionUpsampling, SubpixelUpsampling
from fcn.registry import Registry

UPSAMPLINGS: Registry[Callable[[int, Grid, Grid], nn.Module]] = Registry("upsampling")
"""name -> module built from (channels, from_grid, to_grid), called with (logits, size, cells).

`size` (H, W) is that of the output. `cells` (H, W) is the number of cells of `to_grid` which the
output covers, where it is not `size`: logits for a target whose size differs from its image's.
"""


def list_upsamplings() -> list[str]:
    """Return the names of all upsamplings."""
    return list(UPSAMPLINGS)


@UPSAMPLINGS.register("bilinear")
def create_bilinear(channels: int, from_grid: Grid, to_grid: Grid) -> nn.Module:
    """Bilinear, fixed: what the paper's deconvolutions start from, exact for any grid."""
    return FixedUpsampling(from_grid, to_grid)


@UPSAMPLINGS.register("nearest")
def create_nearest(channels: int, from_grid: Grid, to_grid: Grid) -> nn.Module:
    """The nearest cell, fixed: the logits as they are, in blocks."""
    return FixedUpsampling(from_grid, to_grid, nearest=True)


@UPSAMPLINGS.register("learned")
def create_learned(channels: int, from_grid: Grid, to_grid: Grid) -> nn.Module:
    """The paper's: a deconvolution that starts as bilinear interpolation and is learned."""
    return DeconvolutionUpsampling(channels, from_grid, to_grid)


@UPSAMPLINGS.register("learned_random")
def create_learned_random(channels: int, from_grid: Grid, to_grid: Grid) -> nn.Module:
    """The same deconvolution with a random start."""
    return DeconvolutionUpsampling(channels, from_grid, to_grid, random=True)


@UPSAMPLINGS.register("subpixel")
def create_subpixel(channels: int, from_grid: Grid, to_grid: Grid) -> nn.Module:
    """A convolution that gives every fine cell a channel of its own, which are then laid out."""
    return SubpixelUpsampling(channels, from_grid, to_grid)


@UPSAMPLINGS.register("carafe")
def create_carafe(channels: int, from_grid: Grid, to_grid: Grid) -> nn.Module:
    """Weights that depend on the content: each fine cell reads its own mixture of 5 x 5 cells."""
    return CarafeUpsampling(channels, from_grid, to_grid)
