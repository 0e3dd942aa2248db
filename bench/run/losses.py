"""Losses: logits and target to one number, the same bits every time on every device."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def pixel_loss(
    logits: Tensor, target: Tensor, *, ignore_index: int, class_weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy over labelled pixels; zero (with zero gradient) where none is labelled.

    Per-pixel losses are summed here because torch's own mean adds with atomics on CUDA, and gives
    NaN for a crop that is all void.

    Args:
        logits: (N, C, H, W), any floating type.
        target: (N, H, W), int64, classes or `ignore_index`.
        ignore_index: Target value that is not counted.
        class_weights: Weight of each class, (C,); the mean is weighted by them.

    Returns:
        The loss, (), float32.
    """
    losses = F.cross_entropy(
        logits.float(), target, class_weights, ignore_index=ignore_index, reduction="none"
    )
    labelled = target != ignore_index
    if class_weights is None:
        total = labelled.sum().clamp(min=1)
    else:
        weights = class_weights[target.where(labelled, 0)].where(labelled, 0)
        total = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
    return losses.sum() / total


def resolve_class_weights(
    setting: Literal["none", "median_frequency"] | Sequence[float], counts: NDArray[np.int64]
) -> Tensor | None:
    """Turn the setting `train.class_weights` into weights, (C,), or None.

    Median frequency balancing: a class's frequency is its share of the labelled pixels of the
    pictures that show it; its weight is the median frequency over its own. A class that never
    occurs gets weight 1: it is never in a target.

    Args:
        setting: The setting.
        counts: Pixels of each class in each training picture, (N, C).

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
