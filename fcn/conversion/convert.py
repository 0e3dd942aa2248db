"""Convert: a published file of another framework as tensors that a backbone of timm loads.

In: a file, the backbone, how the file is laid out, what its source does to images. Out: the
tensors by timm's names, for images as timm normalises them, and what came from where.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
from timm.models import get_pretrained_cfg
from torch import Tensor

from fcn.backbones.nets import require_known
from fcn.conversion.folding import Preprocessing, fold
from fcn.conversion.layouts import LAYOUTS, Layer, group_layers
from fcn.conversion.mapping import Mapped, map_layers
from fcn.errors import InputError
from fcn.registry import unknown_name
from fcn.tensors import read_tensors
from fcn.weights_state import UNREADABLE, why_unreadable


@dataclass(frozen=True)
class Converted:
    """Weights of another framework, converted."""

    state: dict[str, Tensor]
    """By timm's names."""
    mapped: tuple[Mapped, ...]
    """Where each tensor is from, before the preprocessing was folded in."""
    missing: tuple[str, ...]
    """Tensors of the network that the file lacks."""
    layers: tuple[Layer, ...]
    """Of the file, as they are stored."""
    mean: tuple[float, ...]
    """Of the images that the result wants: timm's own, of 0..1, red, green, blue."""
    std: tuple[float, ...]


def read_layers(path: Path, without: Sequence[str] = ()) -> list[Layer]:
    """Read the layers of a file of weights, see `fcn.tensors.read_tensors`.

    Raises:
        InputError: It cannot be read, or a pattern of `without` fits nothing in it.
    """
    try:
        tensors = read_tensors(path)
    except UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"weights file {str(path)!r} cannot be read: {why_unreadable(error)}"
        ) from error
    return group_layers(tensors, without)


def convert(
    path: Path,
    backbone: str,
    layout: str,
    source: Preprocessing | None,
    without: Sequence[str] = (),
) -> Converted:
    """Convert a file of weights; reads it.

    Args:
        path: The file.
        backbone: A timm name; its batch norms must have the source's epsilon.
        layout: keras, caffe or torch.
        source: What the source does to images; None if that is what timm does.
        without: Patterns of names that are not wanted.

    Raises:
        InputError: A name is unknown, the file cannot be read, or does not fit.
    """
    require_known(backbone)
    if layout not in LAYOUTS:
        raise InputError(unknown_name("layout", layout, LAYOUTS))
    layers = read_layers(path, without)
    if not layers:
        raise InputError(f"weights file {str(path)!r} holds no tensors")
    mapped, missing = map_layers(layers, layout, backbone)
    state = {one.name: one.tensor for one in mapped}
    mean, std = normalisation(backbone)
    if source is not None:
        state = fold(state, backbone, source, mean, std)
    return Converted(state, tuple(mapped), tuple(missing), tuple(layers), mean, std)


def normalisation(backbone: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of a backbone's images of 0..1, as timm has them."""
    config = get_pretrained_cfg(backbone) or timm.models.PretrainedCfg()
    return tuple(config.mean), tuple(config.std)
