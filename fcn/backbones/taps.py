"""Backbones: any network of timm as features keyed by stride, each knowing where its cells sit.

In: images (N, in_chans, H, W), normalised by `mean` and `std`. Out: {stride: (N, C_s, h, w)}.
Feature sizes are those of the tensors, never H / stride.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcn.backbones.nets import create_net, create_net_and_classifier, find_abilities
from fcn.errors import InputError
from fcn.geometry import Geometry, run_on_meta, trace_geometry
from fcn.inputs import per_channel


@dataclass(frozen=True)
class Tap:
    """One feature map of a backbone."""

    stride: int
    """Input pixels from one cell to the next."""
    channels: int
    """Of the feature map."""
    offset: float
    """Centre of cell 0 in input pixels. Where it cannot be traced (Swin moves pixels into
    channels; ViT keeps its cells in a row), that of an image cut into squares: (stride - 1) / 2."""
    receptive_field: float | None
    """Input pixels that can change a cell, by the rule of window sizes; None if not traced."""


class Backbone(nn.Module):
    """A network that gives features keyed by stride.

    Args:
        net: Maps images to a list of feature maps, from fine to coarse.
        strides: Of the feature maps.
        in_chans: Channels of the images.
        granularity: Images are padded with zeros, right and below, to multiples of this.
    """

    def __init__(
        self, net: nn.Module, strides: Sequence[int], *, in_chans: int, granularity: int = 1
    ) -> None:
        super().__init__()
        self.net = net
        self.in_chans = in_chans
        self.granularity = granularity
        config: Any = net.pretrained_cfg
        self.mean = per_channel(config["mean"], in_chans)
        """Of images scaled to 0..1, per channel."""
        self.std = per_channel(config["std"], in_chans)
        self.order: list[int] | None = None
        """Channels of the images as the network wants them; None as they are."""
        self._ample = 8 * (granularity if granularity > 1 else max(32, *strides))
        traced = trace_geometry(net, (1, in_chans, self._ample, self._ample))
        # Swin and its kin give (N, H, W, C): the two equal sides tell which axis is the third.
        coarsest = traced[-1][0]
        self._channels_come_last = coarsest.shape[1] == coarsest.shape[2] != coarsest.shape[3]
        self.taps: dict[int, Tap] = {
            stride: _tap(stride, self._channels_first(tensor).shape[1], geometry)
            for stride, (tensor, geometry) in zip(strides, traced, strict=True)
        }

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Return features (N, C_s, h, w) by stride.

        Raises:
            InputError: The channels are not `in_chans`, or the images are too small.
        """
        if images.shape[1] != self.in_chans:
            raise InputError(
                f"images have {images.shape[1]} channels; the backbone was built for "
                f"{self.in_chans} (model.in_chans)"
            )
        if self.order is not None:
            images = images[:, self.order]
        height, width = images.shape[-2:]
        if height % self.granularity or width % self.granularity:
            images = F.pad(images, (0, -width % self.granularity, 0, -height % self.granularity))
        try:
            features = self.net(images)
        except (RuntimeError, AssertionError, ValueError):
            self._require_fit((height, width))
            raise
        return {
            stride: self._channels_first(feature)
            for stride, feature in zip(self.taps, features, strict=True)
        }

    def find_least_size(self) -> int:
        """Return the least side of a square image which the network takes, in pixels."""
        too_small, enough = 0, self._ample
        while enough - too_small > 1:
            middle = (too_small + enough) // 2
            if self._takes((middle, middle)):
                enough = middle
            else:
                too_small = middle
        return enough

    def _require_fit(self, size: tuple[int, int]) -> None:
        if not self._takes(size) and min(size) < (least := self.find_least_size()):
            raise InputError(
                f"images of {size[0]}x{size[1]} pixels are too small for the backbone; "
                f"each side must be at least {least}"
            )

    def _takes(self, size: tuple[int, int]) -> bool:
        height, width = (side + -side % self.granularity for side in size)
        try:
            run_on_meta(self.net, torch.empty(1, self.in_chans, height, width, device="meta"))
        except (RuntimeError, AssertionError, ValueError):
            return False
        return True

    def _channels_first(self, feature: Tensor) -> Tensor:
        return feature.permute(0, 3, 1, 2) if self._channels_come_last else feature


def create_backbone(
    name: str,
    *,
    pretrained: bool | str = False,
    in_chans: int = 3,
    more_chans: int = 0,
    strides: Sequence[int] | None = None,
    output_stride: int | None = None,
) -> Backbone:
    """Build a backbone; reads weights from the disk or the network if asked for them.

    Args:
        name: A timm name, with or without tag; alexnet and googlenet are among them.
        pretrained: False for random weights, True for the published ones, the tag of others,
            `hf-hub:OWNER/NAME`, or a local file or folder (see `fcn.weights_file`).
        in_chans: Channels of the images; weights for 3 are summed or repeated.
        more_chans: Further channels, whose filters start as the mean of those.
        strides: Of the features wanted; None for all. Deeper layers are left out.
        output_stride: Of the deepest features, where the family can dilate; None for its own.

    Raises:
        InputError: The name is unknown, a stride is not there, or the weights cannot be loaded.
    """
    abilities = find_abilities(name, output_stride)
    strides = _require_strides(name, strides, abilities.strides)
    net = create_net(
        name,
        strides,
        pretrained=pretrained,
        in_chans=in_chans,
        more_chans=more_chans,
        output_stride=output_stride,
    )
    channels = in_chans + more_chans
    try:
        return Backbone(net, strides, in_chans=channels, granularity=abilities.granularity)
    except RuntimeError as error:
        if not more_chans:
            raise
        raise InputError(  # a few networks take their images apart themselves, as three colours
            f"backbone {name!r} cannot take {channels} channels ({error}); use model.input_fusion "
            "late, or another backbone"
        ) from error


def create_backbone_and_classifier(
    name: str,
    *,
    pretrained: bool | str = False,
    in_chans: int = 3,
    more_chans: int = 0,
    strides: Sequence[int] | None = None,
    pad100: bool = False,
) -> tuple[Backbone, tuple[nn.Conv2d, ...]]:
    """Build a backbone as `create_backbone` does, and its classifier as convolutions.

    Args:
        name: alexnet, caffenet or a VGG of timm.
        pretrained: See `create_backbone`; of the classifier, too.
        in_chans: Channels of the images.
        more_chans: Further channels, whose filters start as the mean of those.
        strides: Of the features wanted; None for all.
        pad100: Pad and pool as the reference nets do, see `pad_as_reference`.

    Returns:
        The backbone; and fc6, fc7 and the layer of class scores, none of them padded.

    Raises:
        InputError: See `create_backbone`; or the backbone has no such classifier.
    """
    abilities = find_abilities(name)
    strides = _require_strides(name, strides, abilities.strides)
    net, classifier = create_net_and_classifier(
        name, strides, pretrained=pretrained, in_chans=in_chans, more_chans=more_chans
    )
    if pad100:
        pad_as_reference(net)
    channels = in_chans + more_chans
    backbone = Backbone(net, strides, in_chans=channels, granularity=abilities.granularity)
    return backbone, classifier


def pad_as_reference(net: nn.Module) -> None:
    """Change a plain stack of layers to the reference's: 100 pixels of padding, pools rounding up.

    The padding takes the place of that of the first convolution.

    Reference: net.py of voc-fcn32s, shelhamer/fcn.berkeleyvision.org.
    """
    first = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    first.padding = (100, 100)
    for module in net.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True


def list_backbones(pattern: str = "") -> list[str]:
    """Return the names of all backbones, or of those that match a pattern such as 'resnet*'."""
    names: list[str] = timm.list_models(pattern)
    return names


def list_strides(name: str, output_stride: int | None = None) -> tuple[int, ...]:
    """Return the strides of a backbone's features, from fine to coarse, without building it.

    Raises:
        InputError: The name is unknown, the network takes images of one size only, or it does not
            have that output stride.
    """
    return find_abilities(name, output_stride).strides


def _require_strides(
    name: str, wanted: Sequence[int] | None, available: Sequence[int]
) -> list[int]:
    strides = sorted(available if wanted is None else wanted)
    if missing := [stride for stride in strides if stride not in available]:
        raise InputError(
            f"backbone {name!r} has no features of stride {_listed(missing)}; "
            f"it has {_listed(available)}"
        )
    return strides


def _tap(stride: int, channels: int, geometry: Geometry) -> Tap:
    y, x = geometry
    if y == x and y.jump == stride:
        return Tap(stride, channels, y.centre, y.receptive_field)
    return Tap(stride, channels, (stride - 1) / 2, None)


def _listed(strides: Sequence[int]) -> str:
    return ", ".join(str(stride) for stride in strides)
