"""Inputs: more than a colour image, fused before the network or after it.

In: images of several kinds (rgb, depth, HHA), their channels side by side, (N, sum of K, H, W).
Early fusion is one network whose first filters are as deep; late fusion is a network per input
whose scores are averaged before the last upsampling.

Reference: Long et al., 2015, section 5 (NYUDv2), arXiv:1411.4038; solve.py of nyud-fcn32s-color-d
and net.py of nyud-fcn32s-color-hha in shelhamer/fcn.berkeleyvision.org.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fcn.errors import InputError

InputFusion = Literal["early", "late"]
RGB = "rgb"
"""Name of the input that every dataset has, and every network takes unless told otherwise."""

Statistics = Mapping[str, Sequence[Sequence[float]]]
"""By input: mean and standard deviation of each channel, for images scaled to 0..1; either may
be empty, for those of the weights."""


LATE_EXTERNAL = (
    "model.input_fusion is late, which joins the scores of FCNs, and model.external names a "
    "network of another library: leave one of the two out"
)


class LateFusion(nn.Module):
    """Networks side by side, one per input, whose scores are averaged.

    The paper sums them; the reference's sum has the factor 1/2, which is the mean. What follows,
    the last upsampling, is that of the first stream.

    Args:
        streams: By input, in the order of the channels: networks with `score`, built alike.
        channels: Of each input.
    """

    def __init__(self, streams: Mapping[str, nn.Module], channels: Sequence[int]) -> None:
        super().__init__()
        self.streams: Any = nn.ModuleDict(streams)
        self.channels = list(channels)
        first: Any = next(iter(self.streams.values()))
        self.upsampling: nn.Module = first.upsampling
        for stream in self.streams.values():
            del stream.upsampling  # one is left, and no weight without a use

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of images scaled to 0..1: subtracted from the images beforehand."""
        return tuple(value for stream in self.streams.values() for value in stream.mean)

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of images scaled to 0..1: the images are divided by it beforehand."""
        return tuple(value for stream in self.streams.values() for value in stream.std)

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return logits, (N, C, *size), as an FCN does."""
        cells = (images.shape[-2], images.shape[-1])
        result: Tensor = self.upsampling(self.score(images), size or cells, cells)
        return result

    def score(self, images: Tensor) -> Tensor:
        """Return the mean of the streams' logits on the finest grid, (N, C, h, w)."""
        if images.shape[1] != sum(self.channels):
            raise InputError(
                f"images have {images.shape[1]} channels; the streams "
                f"{', '.join(self.streams)} take {' + '.join(map(str, self.channels))}"
            )
        parts = torch.split(images, self.channels, dim=1)
        scores = [stream.score(p) for stream, p in zip(self.streams.values(), parts, strict=True)]
        return torch.stack(scores).mean(0)


def widen(net: nn.Module, wide: nn.Module, in_chans: int) -> None:
    """Deepen the filters of a network that read the image, for further channels, in place.

    Each further channel starts with the mean of the filters over the channels there are, whether
    these are published or random, as the reference does for depth.

    Args:
        net: The network.
        wide: The same for all channels, on the meta device: it tells which tensors change.
        in_chans: Channels that the network takes now.

    Raises:
        InputError: The networks differ in more than channels.
    """
    shapes = {name: tensor.shape for name, tensor in wide.state_dict().items()}
    for name, tensor in net.state_dict().items():
        if tensor.shape == shapes[name]:
            continue
        path, _, leaf = name.rpartition(".")
        layer = net.get_submodule(path)
        weight = widen_filters(tensor, shapes[name], in_chans)
        setattr(layer, leaf, nn.Parameter(weight))
        if isinstance(layer, nn.Conv2d):
            layer.in_channels = weight.shape[1]


def widen_filters(weight: Tensor, shape: Sequence[int], in_chans: int) -> Tensor:
    """Return filters (O, r * K, ...) as (O, r * L, ...) = `shape`, the further ones the mean of K.

    r is above 1 where a network moves pixels into channels first, those of each pixel together.

    Raises:
        InputError: More differs than the number of channels.
    """
    same = (weight.shape[0], *weight.shape[2:]) == (shape[0], *shape[2:])
    repeats, rest = divmod(weight.shape[1], in_chans)
    more = shape[1] // max(repeats, 1) - in_chans
    if not same or rest or more < 0 or shape[1] != repeats * (in_chans + more):
        raise InputError(
            f"filters of shape {tuple(weight.shape)} would have to become {tuple(shape)}: this "
            "backbone cannot take further channels; use model.input_fusion late"
        )
    filters = weight.reshape(len(weight), repeats, in_chans, *weight.shape[2:])
    mean = filters.mean(2, keepdim=True)
    return torch.cat([filters, *[mean] * more], dim=2).flatten(1, 2)


def channel_statistics(
    mean: Sequence[float],
    std: Sequence[float],
    inputs: Mapping[str, int],
    statistics: Statistics | None,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of every channel: an input's own, or those of the weights.

    Args:
        mean: Of the weights, per channel.
        std: Likewise.
        inputs: Channels of each input.
        statistics: Of the inputs that have their own.
    """
    chosen: list[list[float]] = [[], []]
    for name, number in inputs.items():
        own = (statistics or {}).get(name, [(), ()])
        for found, given, usual in zip(chosen, own, (mean, std), strict=True):
            # Of many channels, those of a network for several inputs, three are a colour's.
            found.extend(given or per_channel(usual[:3], number))
    return tuple(chosen[0]), tuple(chosen[1])


def per_channel(values: Sequence[float], number: int) -> tuple[float, ...]:
    """Return one number per channel, by timm's rule for weights: one averages, more repeat."""
    if number == 1:
        return (sum(values) / len(values),)
    return tuple(values[channel % len(values)] for channel in range(number))
