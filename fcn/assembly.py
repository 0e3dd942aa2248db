"""Assembly: the skips and scores of a network, each on its grid.

In: a strategy, the backbone's taps, and by which names maps are carried and fused. Out: modules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from fcn.alignment import Grid
from fcn.backbones.taps import Tap
from fcn.fusions import FUSIONS
from fcn.heads import ScoreInit, create_score
from fcn.reference import Deconvolution
from fcn.skips import Skip, SkipStrategy, Stack, create_convolutions
from fcn.targets import PerTarget, per_target
from fcn.upsampling import UPSAMPLINGS


@dataclass(frozen=True)
class DecoderConfig:
    """How maps are scored, carried and fused, in names."""

    classes: tuple[int, ...]
    """Of each target."""
    upsampling: str
    fusion: str
    score_init: ScoreInit
    pad100: bool

    @property
    def num_classes(self) -> int:
        """Classes of all targets together."""
        return sum(self.classes)


@dataclass(frozen=True)
class FeatureMap:
    """What is upsampled and fused: class scores in the paper's nets, wider maps in decoders."""

    channels: int
    grid: Grid


def create_skips(
    strategy: SkipStrategy, taps: Mapping[int, Tap], start: FeatureMap, config: DecoderConfig
) -> tuple[dict[int, Skip], FeatureMap]:
    """Return the skips by stride, and the map which the last of them gives."""
    skips, current = {}, start
    for step, stride in enumerate(strategy.strides):
        skips[stride], current = _create_skip(strategy, step, taps[stride], current, config)
    return skips, current


def _create_skip(
    strategy: SkipStrategy, step: int, tap: Tap, coarser: FeatureMap, config: DecoderConfig
) -> tuple[Skip, FeatureMap]:
    _, scale = strategy.steps()[step]
    width = strategy.widths[step + 1] if strategy.widths else config.num_classes
    # A fused feature takes the map's channels; a stacked one keeps its own, or gets the width.
    joined = {"fuse": coarser.channels, "stack": width, "stack_raw": tap.channels}[strategy.merge]
    init: ScoreInit = "usual" if strategy.widths else config.score_init
    raw = strategy.merge == "stack_raw"
    score = nn.Identity() if raw else create_score(tap.channels, joined, init)
    # Class scores of several targets go apart; a decoder's map is one until it is scored.
    classes = (coarser.channels,) if strategy.widths else config.classes

    def carry(channels: int) -> nn.Module:
        if config.pad100:
            return Deconvolution(channels, coarser.grid, tap_grid, config.upsampling)
        return UPSAMPLINGS[config.upsampling](channels, coarser.grid, tap_grid)

    tap_grid = Grid(tap.stride, tap.offset)
    upsampling = per_target(classes, carry)
    grid, crop = _find_place(upsampling) if config.pad100 else (tap_grid, None)
    if strategy.merge == "fuse":
        fusion = per_target(
            (joined,) if strategy.widths else config.classes, FUSIONS[config.fusion]
        )
    else:
        fusion, joined = Stack(), coarser.channels + joined
    refine = create_convolutions(joined, width, strategy.refine) if strategy.refine else None
    skip = Skip(score, upsampling, fusion, scale=scale, crop=crop, refine=refine)
    return skip, FeatureMap(width if strategy.refine else joined, grid)


def _find_place(carry: nn.Module) -> tuple[Grid, int]:
    """Return where the result of deconvolutions sits, and the cell at which it begins."""
    one: Any = carry.parts[0] if isinstance(carry, PerTarget) else carry
    return one.grid, one.first


def create_scores(strategy: SkipStrategy, channels: int, config: DecoderConfig) -> nn.Module:
    """Return what turns the finest map of a decoder into logits."""
    width = strategy.widths[-1] if strategy.finish else channels
    layers = create_convolutions(channels, width, strategy.finish)
    return nn.Sequential(*layers, create_score(width, config.num_classes, config.score_init))
