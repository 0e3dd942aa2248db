"""Layouts: how frameworks store the tensors of a layer, and what torch would have in their place.

In: tensors of a file by name. Out: its layers in order, each with its tensors as they are stored;
and a stored tensor in the shape that a tensor of torch has, where it is one.
Keras has kernels as (h, w, in, out) and dense layers as (in, out); Caffe and torch (out, in, h, w).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from fcn.errors import InputError
from fcn.registry import unknown_name

LAYOUTS = ("keras", "caffe", "torch")

_RANKS = {
    **dict.fromkeys(("weight", "kernel", "depthwise_kernel", "gamma", "W"), 0),
    **dict.fromkeys(("bias", "beta", "b"), 1),
    **dict.fromkeys(("running_mean", "moving_mean"), 2),
    **dict.fromkeys(("running_var", "moving_variance"), 3),
}
"""Place of a layer's tensors by what they are called; torch's own order, and that of Keras."""


@dataclass(frozen=True)
class Layer:
    """A layer of a file, or of a network."""

    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """By their whole names, in the order weight, bias, mean, variance."""

    def describe(self) -> str:
        """Name the layer with the shapes of its tensors."""
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in self.tensors.values())
        return f"{self.name!r} {shapes}"


def group_layers(tensors: Mapping[str, Tensor], without: Sequence[str] = ()) -> list[Layer]:
    """Group tensors by layer, in the order in which layers first come.

    Counters of batch norm (`num_batches_tracked`) say nothing and are left out.

    Args:
        tensors: By name, parts of names separated by dots or slashes.
        without: Patterns of names that are not wanted, such as `dsn*`.

    Raises:
        InputError: A pattern fits nothing.
    """
    for pattern in without:
        if not any(fnmatchcase(name, pattern) for name in tensors):
            raise InputError(f"--without: {unknown_name('tensor', pattern, tensors)}")
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, leaf = _split(name)
        if leaf != "num_batches_tracked" and not any(fnmatchcase(name, p) for p in without):
            layers.setdefault(layer, {})[name] = tensor
    return [
        Layer(name, dict(sorted(parts.items(), key=lambda part: _rank(part[0]))))
        for name, parts in layers.items()
    ]


def rank_of(name: str) -> int | None:
    """Return which tensor of its layer a name means: 0 the weight, ...; None if it does not say."""
    _, leaf = _split(name)
    plain = re.sub(r"(:\d+|_\d+)+$", "", leaf)  # as in conv1_W_1:0
    ranks = (rank for word, rank in _RANKS.items() if f"_{plain}".endswith(f"_{word}"))
    return next(ranks, None)


def to_torch(tensor: Tensor, layout: str, shape: torch.Size) -> Tensor | None:
    """Return a stored tensor as torch has it in a tensor of some shape; None if it is no such one.

    Fully connected layers become convolutions, where `shape` is one's: what they read is flattened
    channels first by Caffe and torch, and channels last by Keras.
    """
    if len(shape) < 2:
        is_vector = tensor.numel() == max(tensor.shape, default=1) == shape.numel()
        return tensor.reshape(shape) if is_vector else None
    forms = _forms_of_keras(tensor, shape) if layout == "keras" else _forms_of_torch(tensor, shape)
    return next((form.contiguous() for form in forms if form.shape == shape), None)


def _forms_of_keras(tensor: Tensor, shape: torch.Size) -> Iterator[Tensor]:
    if tensor.ndim == 4:
        height, width, channels, number = tensor.shape
        yield tensor.permute(3, 2, 0, 1)
        # A depthwise kernel has as many filters for each channel as it says last.
        yield tensor.permute(2, 3, 0, 1).reshape(channels * number, 1, height, width)
    elif tensor.ndim == 2:
        yield tensor.T
        if len(shape) == 4 and tensor.shape[1] == shape[0] and tensor.numel() == shape.numel():
            number, channels, height, width = shape
            yield tensor.reshape(height, width, channels, number).permute(3, 2, 0, 1)


def _forms_of_torch(tensor: Tensor, shape: torch.Size) -> Iterator[Tensor]:
    yield tensor
    # Early Caffe gives everything four axes.
    flat = tensor[0, 0] if tensor.ndim == 4 and tensor.shape[:2] == (1, 1) else tensor
    if flat.ndim == 2 and flat.shape[0] == shape[0] and flat.numel() == shape.numel():
        yield flat.reshape(shape)


def _rank(name: str) -> tuple[int, int]:
    """Return the place of a tensor in its layer: by its number, by its word, or last."""
    _, leaf = _split(name)
    if leaf.isdigit():
        return 0, int(leaf)
    rank = rank_of(name)
    return (0, rank) if rank is not None else (1, 0)


def _split(name: str) -> tuple[str, str]:
    """Split a name into that of its layer and what it is there."""
    parts = re.split(r"[./]", name)
    layer = name[: -len(parts[-1]) - 1] if len(parts) > 1 else name
    return layer, parts[-1]
