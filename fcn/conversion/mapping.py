"""Mapping: the layers of a file put into a network, by order and shape, and nothing guessed.

In: a file's layers in order, and the network's. Out: the network's tensors, each with where it is
from. The k-th layer of the one is the k-th of the other; what does not fit is refused by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import timm
import torch
from torch import Tensor

from fcn.conversion.layouts import Layer, group_layers, rank_of, to_torch
from fcn.errors import InputError


@dataclass(frozen=True)
class Mapped:
    """One tensor of a network with where it is from."""

    name: str
    source: str
    """Name in the file."""
    stored: tuple[int, ...]
    """Shape in the file."""
    tensor: Tensor
    """As torch has it."""


def layers_of_network(backbone: str) -> list[Layer]:
    """Return the layers of a whole network of timm, classifier and all, without values."""
    with torch.device("meta"):
        return group_layers(timm.create_model(backbone).state_dict())


def map_layers(
    layers: Sequence[Layer], layout: str, backbone: str
) -> tuple[list[Mapped], list[str]]:
    """Put a file's layers into a network.

    Args:
        layers: Of the file, in order.
        layout: How their tensors are stored.
        backbone: A timm name.

    Returns:
        The tensors that the network gets, and the names of those that the file lacks, all of which
        come after them: a trunk without its classifier is a whole one.

    Raises:
        InputError: A layer of the file does not fit the network's in its place, or has none.
    """
    wanted = layers_of_network(backbone)
    mapped: list[Mapped] = []
    for place, layer in enumerate(layers):
        if place == len(wanted):
            left = ", ".join(repr(one.name) for one in layers[place : place + 8])
            raise InputError(
                f"backbone {backbone!r} has {len(wanted)} layers, and the file {len(layers)}: "
                f"nothing is left for {left}; leave out what is none of the network's with "
                "--without PATTERN"
            )
        fitting = _fit(layer, wanted[place], layout)
        if fitting is None:
            raise InputError(
                f"layer {place + 1} of the file, {layer.describe()}, does not fit layer "
                f"{place + 1} of backbone {backbone!r}, {wanted[place].describe()}; if it is none "
                "of the network's, leave it out with --without PATTERN; else layout or backbone "
                "are others"
            )
        mapped += fitting
    return mapped, [name for layer in wanted[len(layers) :] for name in layer.tensors]


def _fit(layer: Layer, wanted: Layer, layout: str) -> list[Mapped] | None:
    if len(layer.tensors) != len(wanted.tensors):
        return None
    found = []
    for (source, stored), (name, target) in zip(
        layer.tensors.items(), wanted.tensors.items(), strict=True
    ):
        tensor = to_torch(stored, layout, target.shape)
        # Mean and variance have one shape: where names say which is which, they must agree.
        if tensor is None or rank_of(source) not in (None, rank_of(name)):
            return None
        found.append(Mapped(name, source, tuple(stored.shape), tensor.to(target.dtype)))
    return found
