"""Losses: logits and target to one number, the same bits every time on every device."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.data.layers import Target
from bench.data.packs.pack import Pack
from bench.run.chunking import chunks
from bench.spec import TrainSpec
from fcn.alignment import without_autocast
from fcn.model import Network
from fcn.targets import split_targets


def network_loss(
    model: Network,
    images: Tensor,
    target: Tensor,
    *,
    targets: Sequence[Target],
    class_weights: Sequence[Tensor | None] = (),
    target_weights: Sequence[float] = (),
    add_up: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Mean cross-entropy of a network over labelled pixels; see `pixel_loss`.

    Args:
        model: The network.
        images: (N, K, H, W), normalised.
        target: (N, H, W), int64, classes or `ignore_index`; (N, T, H, W) of several targets,
            whose losses are added up.
        targets: The targets.
        class_weights: For each target the weight of each class, (C,), by which its mean is
            weighted, or None; none for no weights.
        target_weights: Factor on each target's loss; none for 1 each, as in the reference.
        add_up: Adds up a number over the processes that share the batch.

    Returns:
        The loss, (), float32.
    """
    classes = [len(one.class_names) for one in targets]
    parts = split_targets(model.score(images), model.upsampling, classes)
    labels = [target] if len(targets) == 1 else target.unbind(1)
    losses = [
        pixel_loss(
            scores,
            own,
            upsampling,
            ignore_index=one.ignore_index,
            class_weights=weights,
            add_up=add_up,
        )
        for (scores, upsampling), own, one, weights in zip(
            parts, labels, targets, class_weights or [None] * len(targets), strict=True
        )
    ]
    if target_weights:
        losses = [weight * loss for weight, loss in zip(target_weights, losses, strict=True)]
    total, *others = losses
    for loss in others:
        total = total + loss
    return total


def pixel_loss(
    scores: Tensor,
    target: Tensor,
    upsampling: nn.Module,
    *,
    ignore_index: int,
    class_weights: Tensor | None = None,
    add_up: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Mean cross-entropy over labelled pixels; zero (with zero gradient) where none is labelled.

    Full-size logits exist for a slice of the images at a time, and their gradient is taken at
    once: less memory, and most of the time less time, than one pass over the batch.
    Per-pixel losses are summed here because torch's own mean adds with atomics on CUDA, and gives
    NaN for a crop that is all void.

    Args:
        scores: Logits on a coarse grid, (N, C, h, w), any floating type.
        target: (N, H, W), int64, classes or `ignore_index`.
        upsampling: (scores, (H, W)) -> logits (n, C, H, W).
        ignore_index: Target value that is not counted.
        class_weights: Weight of each class, (C,); the mean is weighted by them.
        add_up: Adds up a number over the processes that share the batch. The sum of losses of this
            process's pixels is divided by what the whole batch weighs: the losses of all processes
            add up to the batch's mean, however unevenly its void pixels fall to them.

    Returns:
        The loss, (), float32.
    """
    weights = (target != ignore_index).float()
    if class_weights is not None:
        weights *= class_weights[target.where(target != ignore_index, 0)]
    total = weights.sum() if add_up is None else add_up(weights.sum())
    weights /= total.clamp(min=torch.finfo(weights.dtype).tiny)
    parameters = [p for p in upsampling.parameters() if p.requires_grad]
    classes = target.where(target != ignore_index, 0)
    loss: Tensor = _ChunkedLoss.apply(scores, classes, weights, upsampling, *parameters)
    return loss


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


class _ChunkedLoss(torch.autograd.Function):
    """Weighted sum of per-pixel cross-entropies, whose gradient is computed along with it."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        classes: Tensor,
        weights: Tensor,
        upsampling: nn.Module,
        *parameters: Tensor,
    ) -> Tensor:
        size = (classes.shape[-2], classes.shape[-1])
        total = scores.new_zeros((), dtype=torch.float32)
        gradients = [torch.zeros_like(x) for x in (scores, *parameters)]
        for part in chunks(scores, size):
            with torch.enable_grad():
                coarse = scores[part].detach().requires_grad_()
                logits = upsampling(coarse, size)
            losses, grad_logits = _cross_entropy(
                logits.detach().float(), classes[part], weights[part]
            )
            total += losses
            with without_autocast(scores.device.type):  # else it would be in bf16 here
                found = torch.autograd.grad(
                    logits, (coarse, *parameters), grad_logits.to(logits.dtype)
                )
            gradients[0][part] = found[0]
            for gradient, more in zip(gradients[1:], found[1:], strict=True):
                gradient += more
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        scores, *parameters = (grad_output * gradient for gradient in ctx.saved_tensors)
        return scores, None, None, None, *parameters


def _cross_entropy(logits: Tensor, classes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sum over pixels, (), and its gradient, (n, C, H, W)."""
    at = classes[:, None]
    log_probability = logits.log_softmax(1)
    total = -(log_probability.gather(1, at)[:, 0] * weights).sum()
    grad_logits = log_probability.exp_()
    # Each place once: the same bits every time.
    grad_logits.scatter_(1, at, grad_logits.gather(1, at) - 1)
    return total, grad_logits.mul_(weights[:, None])
