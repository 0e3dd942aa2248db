"""Class weights: the setting `train.class_weights` as a weight of each class in the loss."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.packs.pack import Pack
from bench.spec import TrainSpec


def find_class_weights(train: TrainSpec, pack: Pack, device: torch.device) -> list[Tensor | None]:
    """Return the loss weight of each class on the device, (C,), or None, by target of a pack."""
    settings = split_class_weights(train.class_weights, [len(t.class_names) for t in pack.targets])
    found = [
        resolve_class_weights(own, pack.image_class_counts(train.split, target.name))
        for own, target in zip(settings, pack.targets, strict=True)
    ]
    return [None if weights is None else weights.to(device) for weights in found]


def split_class_weights(
    setting: Literal["none", "median_frequency"] | Sequence[float], classes: Sequence[int]
) -> list[Literal["none", "median_frequency"] | Sequence[float]]:
    """Return the setting of each target: numbers are given one map after the other."""
    if isinstance(setting, str):
        return [setting] * len(classes)
    ends = [sum(classes[: t + 1]) for t in range(len(classes))]
    return [setting[end - number : end] for number, end in zip(classes, ends, strict=True)]


def resolve_class_weights(
    setting: Literal["none", "median_frequency"] | Sequence[float], counts: NDArray[np.int64]
) -> Tensor | None:
    """Turn the setting `train.class_weights` into weights, (C,), or None.

    Median frequency balancing: a class's frequency is its share of the labelled pixels of the
    images that show it; its weight is the median frequency over its own. A class that never
    occurs gets weight 1: it is never in a target.

    Args:
        setting: The setting.
        counts: Pixels of each class in each training image, (N, C).

    Reference: Eigen and Fergus, 2015, section 6.3.2, arXiv:1411.4734.
    """
    if setting == "none":
        return None
    if setting != "median_frequency":
        return torch.tensor([float(w) for w in setting])
    labelled = counts.sum(1, keepdims=True)
    shown_in = np.where(counts > 0, labelled, 0).sum(0)
    present = shown_in > 0
    frequency = np.ones(counts.shape[1])
    frequency[present] = counts.sum(0)[present] / shown_in[present]
    balanced = np.where(present, np.median(frequency[present]) / frequency, 1.0)
    return torch.tensor(balanced, dtype=torch.float32)
