"""Classifiers: the fully connected layers of a classification network as convolutions.

In: a whole network, weights and all. Out: its fully connected layers as convolutions, the scores
last. A layer that reads a window of 7 x 7 cells is a 7 x 7 convolution; the next are 1 x 1.

Reference: Long et al., 2015, section 3.1, arXiv:1411.4038.
"""

import math
from typing import Any

import timm
import torch
from timm.models.vgg import VGG
from torch import nn

from fcn.errors import InputError


def convolutionalize(net: nn.Module) -> tuple[nn.Conv2d, ...]:
    """Return the fully connected layers of `net` as convolutions that share their weights.

    Args:
        net: A VGG of timm, or a network whose `features` are followed by a stack of layers called
            `classifier`, the first of which reads a square window (AlexNet, CaffeNet).

    Returns:
        fc6, fc7 and the layer of class scores, none of them padded.

    Raises:
        InputError: The network has no such layers.
    """
    convolutions, channels = [], None
    for layer in fully_connected(net):
        inputs = channels if channels is not None else _num_channels(net)
        window = math.isqrt(layer.weight[0].numel() // inputs)
        with torch.device("meta"):  # its own weights would be drawn only to be thrown away
            convolution = nn.Conv2d(inputs, channels := layer.weight.shape[0], window)
        weight = layer.weight.detach().reshape(channels, inputs, window, window)
        convolution.weight, convolution.bias = nn.Parameter(weight), layer.bias
        convolutions.append(convolution)
    return tuple(convolutions)


def require_classifier(name: str) -> None:
    """Refuse a backbone whose classifier cannot become convolutions; builds it without values.

    Raises:
        InputError: It has not two fully connected layers before its scores.
    """
    try:
        with torch.device("meta"):
            convolutionalize(timm.create_model(name))
    except InputError:
        raise InputError(
            f"backbone {name!r} has not the two fully connected layers before its class scores "
            "that become convolutions; alexnet, caffenet and the VGGs have, and head 'linear' "
            "needs none"
        ) from None


def fully_connected(net: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Return the three fully connected layers of a network, the class scores last.

    Raises:
        InputError: It has not three.
    """
    if isinstance(net, VGG):  # timm keeps fc6 and fc7 as convolutions already
        return [net.pre_logits.fc1, net.pre_logits.fc2, net.head.fc]
    stack = getattr(net, "classifier", None)
    layers = list(stack) if isinstance(stack, nn.Sequential) else []
    connected = [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.Linear)]
    if len(connected) != 3:
        raise InputError(f"the network has {len(connected)} fully connected layers, not three")
    return connected


def _num_channels(net: nn.Module) -> int:
    """Return the channels of the last features."""
    info: Any = net.feature_info
    return int(info[-1]["num_chs"])
