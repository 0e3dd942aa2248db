"""Folding: a foreign preprocessing moved into the first convolution, so that timm's serves.

In: tensors of a network that wants its images as their source did. Out: the same for images as timm
normalises them. Only beyond the border do the two differ, by a hair: each pads with its own zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn

from fcn.errors import InputError


@dataclass(frozen=True)
class Preprocessing:
    """What a network's source does to images: (range x image - mean) / std, channel by channel."""

    range: float = 255.0
    """Largest value of its images."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Red, green, blue, whatever the order of the channels; in its images' values."""
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    """Likewise."""
    bgr: bool = False
    """The network's channels are blue, green, red."""

    def apply(self, image: Tensor) -> Tensor:
        """Return an image (3, H, W) of 0..1, in red, green and blue, as the network wants it."""
        mean, std = (
            torch.tensor(v, dtype=image.dtype)[:, None, None] for v in (self.mean, self.std)
        )
        seen = (self.range * image - mean) / std
        return seen.flip(0) if self.bgr else seen


def fold(
    state: dict[str, Tensor],
    backbone: str,
    source: Preprocessing,
    mean: Sequence[float],
    std: Sequence[float],
) -> dict[str, Tensor]:
    """Fold a source's preprocessing into the first convolution of a network.

    With timm's z = (x - mean) / std, the source's channel is u = a z + b, where its own mean' and
    std' give a = range std / std' and b = (range mean - mean') / std'. The weights are multiplied
    by a; their sum times b goes to the bias, or comes off the mean of the batch norm that follows
    where there is no bias.

    Args:
        state: Tensors of the network by name, which want images as `source` says.
        backbone: A timm name.
        source: What the source does to images.
        mean: Of timm's normalisation, red, green, blue, of images of 0..1.
        std: Likewise.

    Raises:
        InputError: The network's first layer is no convolution of three channels, or neither it nor
            what follows takes a constant.
    """
    first, after = find_first(backbone)
    weight = state[f"{first}.weight"].double()
    if source.bgr:
        weight = weight.flip(1)
    ours, theirs = (
        torch.tensor(pair, dtype=torch.float64) for pair in ((mean, std), (source.mean, source.std))
    )
    factor = source.range * ours[1] / theirs[1]
    constant = (source.range * ours[0] - theirs[0]) / theirs[1]
    shift = (weight * constant[:, None, None]).sum((1, 2, 3))
    folded = {**state, f"{first}.weight": (weight * factor[:, None, None]).float()}
    key, sign = (f"{first}.bias", 1) if f"{first}.bias" in state else (f"{after}.running_mean", -1)
    if key not in state:
        raise InputError(
            f"the first convolution of backbone {backbone!r} has no bias, and no batch norm "
            "follows it: a foreign mean cannot be folded into it"
        )
    folded[key] = (state[key].double() + sign * shift).float()
    return folded


def find_first(backbone: str) -> tuple[str, str | None]:
    """Return the names of a network's first convolution, and of a batch norm that follows it.

    Raises:
        InputError: The first layer with weights is no convolution of three channels.
    """
    with torch.device("meta"):
        net = timm.create_model(backbone)
    layers = [
        (name, layer)
        for name, layer in net.named_modules()
        if list(layer.parameters(recurse=False))
    ]
    (name, first), (following, second) = layers[:2]
    if not isinstance(first, nn.Conv2d) or first.in_channels != 3:
        raise InputError(
            f"the first layer of backbone {backbone!r}, {name!r}, is no convolution of three "
            "channels, so nothing can be folded into it"
        )
    return name, following if isinstance(second, nn.BatchNorm2d) else None
