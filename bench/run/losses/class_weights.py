"""Class weights: the setting `train.class_weights` as a weight of each class in the loss."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from bench.data.packs.pack import Pack
from bench.settings.calls import read_call, require_arguments
from bench.spec import TrainSpec
from fcn.errors import InputError
from fcn.registry import unknown_name


def find_class_weights(train: TrainSpec, pack: Pack, device: torch.device) -> list[Tensor | None]:
    """Return the loss weight of each class on the device, (C,), or None, by target of a pack."""
    settings = split_class_weights(train.class_weights, [len(t.class_names) for t in pack.targets])
    found = [
        resolve_class_weights(own, pack.image_class_counts(train.split, target.name))
        for own, target in zip(settings, pack.targets, strict=True)
    ]
    return [None if weights is None else weights.to(device) for weights in found]


def split_class_weights(
    setting: str | Sequence[float], classes: Sequence[int]
) -> list[str | Sequence[float]]:
    """Return the setting of each target: numbers are given one map after the other."""
    if isinstance(setting, str):
        return [setting] * len(classes)
    ends = [sum(classes[: t + 1]) for t in range(len(classes))]
    return [setting[end - number : end] for number, end in zip(classes, ends, strict=True)]


def resolve_class_weights(
    setting: str | Sequence[float], counts: NDArray[np.int64]
) -> Tensor | None:
    """Turn the setting `train.class_weights` into weights, (C,), or None.

    A class that never occurs gets weight 1: it is never in a target.

    Args:
        setting: The setting.
        counts: Pixels of each class in each training image, (N, C).

    Raises:
        InputError: There is no such way to weigh classes, or it does not take its arguments.
    """
    if not isinstance(setting, str):
        return torch.tensor([float(w) for w in setting])
    find, arguments = find_weighting(setting)
    if find is None:
        return None
    present = counts.sum(0) > 0
    weights = np.ones(counts.shape[1])
    weights[present] = find(counts[:, present], **arguments)
    return torch.tensor(weights, dtype=torch.float32)


def find_weighting(
    setting: str,
) -> tuple[Callable[..., NDArray[np.float64]] | None, Mapping[str, Any]]:
    """Return a way to weigh classes, None for `none`, with its arguments.

    Raises:
        InputError: There is no such way, or it does not take its arguments.
    """
    call = read_call(setting)
    if call.name not in WEIGHTINGS:
        raise InputError(unknown_name("value of train.class_weights", call.name, WEIGHTINGS))
    find = WEIGHTINGS[call.name]
    what = f"train.class_weights {call.name}: {{}}"
    require_arguments(what, find or _none, call.arguments, given=0 if find is None else 1)
    return find, call.arguments


def _none() -> None:
    """Take no arguments."""


def _median_frequency(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weigh by the median frequency over a class's own.

    A class's frequency is its share of the labelled pixels of the images that show it.

    Reference: Eigen and Fergus, 2015, section 6.3.2, arXiv:1411.4734.
    """
    labelled = counts.sum(1, keepdims=True)
    frequency = counts.sum(0) / np.where(counts > 0, labelled, 0).sum(0)
    return np.asarray(np.median(frequency) / frequency)


def _inverse(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weigh by one over a class's share of the labelled pixels; the mean of the weights is 1."""
    return _with_mean_1(counts.sum() / counts.sum(0))


def _effective_number(
    counts: NDArray[np.int64], *, beta: Annotated[float, Field(ge=0, lt=1)] = 0.99
) -> NDArray[np.float64]:
    """Weigh by one over the effective number of images that show a class; their mean is 1.

    Of images, not of pixels: those of one image are no new samples, and so many that all of these
    numbers would be the same.

    Reference: Cui et al., 2019, equation 2, arXiv:1901.05555.
    """
    shown = (counts > 0).sum(0)
    return _with_mean_1((1 - beta) / (1 - beta**shown))


def _with_mean_1(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(weights / weights.mean())


WEIGHTINGS: Mapping[str, Callable[..., NDArray[np.float64]] | None] = {
    "none": None,
    "median_frequency": _median_frequency,
    "inverse": _inverse,
    "effective_number": _effective_number,
}
"""Pixels of each class that occurs, in each training image, (N, C') -> weights, (C',)."""
