"""Windows: networks of one image size, made to take any without resampling a pixel.

In: a network of timm that is built for one size (position embeddings, fixed attention windows).
Out: the same for every multiple of that size; `Backbone` pads images to it.
Where the network takes such multiples as they are (MaxViT), nothing is done. Otherwise the image
is cut into windows of the network's own size, which know nothing of each other: weights, scale and
the place of every cell are kept, context beyond a window is not.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fcn.geometry import run_on_meta

REFUSALS = (RuntimeError, AssertionError, TypeError, ValueError, LookupError, AttributeError)
"""What timm's networks raise over a size or an option they do not take."""


@dataclass(frozen=True)
class OwnSize:
    """What a network of one size gives."""

    side: int
    """Of its images, in pixels."""
    indices: dict[int, int]
    """Stride -> timm's index of the last feature whose cells fill the side evenly."""
    takes_multiples: bool
    """Whether it takes images of several sides as they are."""


class Windows(nn.Module):
    """A network that sees an image in windows.

    Args:
        net: Maps images (N, C, side, side) to a list of feature maps.
        side: Of the windows, in pixels.
    """

    def __init__(self, net: Any, side: int) -> None:
        super().__init__()
        self.net = net
        self.side = side
        self.pretrained_cfg = net.pretrained_cfg
        self._strides = net.feature_info.reduction()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features (N, C_s, H / s, W / s) of images whose sides are multiples of `side`."""
        N, C, H, W = images.shape
        rows, columns, side = H // self.side, W // self.side, self.side
        cut = images.reshape(N, C, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
        features = self.net(cut.reshape(N * rows * columns, C, side, side))
        return [
            _joined(_channels_first(feature, side // stride), N, rows, columns)
            for stride, feature in zip(self._strides, features, strict=True)
        ]


def find_own_size(net: Any) -> OwnSize:
    """Find out, on the meta device, what a network gives at its own size.

    Raises:
        ValueError: Its own size is not square, or its cells do not fill it evenly.
    """
    height, width = net.pretrained_cfg["input_size"][1:]
    if height != width:
        raise ValueError(f"its own size, {height}x{width}, is not square")
    features = run_on_meta(net, torch.empty(1, 3, height, width, device="meta"))
    taps = list(zip(net.feature_info.reduction(), net.feature_info.out_indices, strict=True))
    indices = {
        stride: index
        for (stride, index), feature in zip(taps, features, strict=True)
        if height % stride == 0 and _fills(feature, height // stride, width // stride)
    }
    if not indices:
        shapes = ", ".join(f"{feature.shape[-2]}x{feature.shape[-1]}" for feature in features)
        raise ValueError(f"its {shapes} cells do not fill its own {height}x{width} pixels evenly")
    return OwnSize(height, indices, _takes_multiples(net, height, dict(taps)))


def _takes_multiples(net: Any, side: int, taps: dict[int, int]) -> bool:
    try:
        features = run_on_meta(net, torch.empty(1, 3, 2 * side, 3 * side, device="meta"))
    except REFUSALS:
        return False
    return all(
        side % stride == 0 and _fills(feature, 2 * side // stride, 3 * side // stride)
        for stride, feature in zip(taps, features, strict=True)
    )


def _fills(feature: Tensor, rows: int, columns: int) -> bool:
    if feature.ndim != 4:
        return False
    return (rows, columns) in (tuple(feature.shape[2:]), tuple(feature.shape[1:3]))


def _channels_first(feature: Tensor, cells: int) -> Tensor:
    is_first = feature.shape[2] == feature.shape[3] == cells
    return feature if is_first else feature.permute(0, 3, 1, 2)


def _joined(feature: Tensor, num_images: int, rows: int, columns: int) -> Tensor:
    """Put the features of all windows in their places."""
    _, C, h, w = feature.shape
    placed = feature.reshape(num_images, rows, columns, C, h, w).permute(0, 3, 1, 4, 2, 5)
    return placed.reshape(num_images, C, rows * h, columns * w)
