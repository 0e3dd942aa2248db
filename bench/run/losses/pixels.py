"""Losses of single pixels: cross-entropy, focal, one-vs-rest, and the hardest pixels alone."""

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from bench.run.losses.kinds import LOSSES, Labels, PerImage, PerPixel

EPS = 1e-7
"""Least share of a focal loss: a power below 1 has no finite slope at 0."""


def sum_cross_entropies(logits: Tensor, classes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of the cross-entropies of pixels, (), and its gradient."""
    at = classes[:, None]
    log_probability = logits.log_softmax(1)
    total = -(log_probability.gather(1, at)[:, 0] * weights).sum()
    grad_logits = log_probability.exp_()
    # Each place once: the same bits every time.
    grad_logits.scatter_(1, at, grad_logits.gather(1, at) - 1)
    return total, grad_logits.mul_(weights[:, None])


def cross_entropy(
    logits: Tensor,
    classes: Tensor,
    class_weights: Tensor | None = None,
    *,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Tensor:
    """Cross-entropy; smoothed as torch does it.

    Args:
        logits: (n, C, H, W).
        classes: (n, H, W).
        class_weights: (C,).
        label_smoothing: Share of the target that is spread over all classes.

    Reference: Szegedy et al., 2016, section 7, arXiv:1512.00567.
    """
    log_probability = logits.log_softmax(1)
    nll = -log_probability.gather(1, classes[:, None])[:, 0]
    if class_weights is None:
        spread = -log_probability.mean(1)
    else:
        nll = nll * class_weights[classes]
        spread = -(log_probability * class_weights[:, None, None]).mean(1)
    return (1 - label_smoothing) * nll + label_smoothing * spread


LOSSES.register("cross_entropy")(PerPixel(cross_entropy, fused=sum_cross_entropies))


@LOSSES.register("focal")
@PerPixel
def focal(
    logits: Tensor,
    classes: Tensor,
    *,
    gamma: Annotated[float, Field(ge=0)] = 2.0,
    one_vs_rest: bool = False,
) -> Tensor:
    """Cross-entropy times (1 - p)^gamma, p the probability of the true class.

    Args:
        logits: (n, C, H, W).
        classes: (n, H, W).
        gamma: How much pixels that are right already are played down.
        one_vs_rest: Of each class against the rest, the mean over classes; else of all classes.

    Reference: Lin et al., 2017, equation 4, arXiv:1708.02002.
    """
    if one_vs_rest:
        log_probability = -_binary_cross_entropies(logits, classes)
    else:
        log_probability = logits.log_softmax(1).gather(1, classes[:, None])
    wrong = (1 - log_probability.exp()).clamp(min=EPS)
    return (-(wrong**gamma) * log_probability).mean(1)


@LOSSES.register("bce")
@PerPixel
def bce(logits: Tensor, classes: Tensor) -> Tensor:
    """Binary cross-entropy of each class against the rest, the mean over classes."""
    return _binary_cross_entropies(logits, classes).mean(1)


@LOSSES.register("ohem")
@PerImage
def ohem(
    logits: Tensor,
    labels: Labels,
    *,
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7,
    min_kept: Annotated[float, Field(ge=0, le=1)] = 0.0625,
) -> Tensor:
    """Cross-entropy of the hardest pixels of each image: online hard example mining.

    Args:
        logits: (n, C, H, W).
        labels: Of the images.
        threshold: Pixels whose true class has less probability than this are hard.
        min_kept: Least share of an image's labelled pixels that counts, the hardest first.

    Reference: Shrivastava et al., 2016, arXiv:1604.03540; by pixels, with a threshold and a least
    number of 1/16, as in BiSeNet.
    """
    losses = cross_entropy(logits, labels.classes).flatten(1)
    labelled = labels.labelled.flatten(1)
    ranked = losses.detach().where(labelled, -1.0).sort(1, descending=True).values
    last = (labelled.sum(1, keepdim=True) * min_kept).ceil().long().clamp(min=1) - 1
    hardest = ranked.gather(1, last)  # the easiest of those that count in any case
    kept = (losses.detach() >= hardest.clamp(max=-math.log(threshold))) & labelled
    weights = labels.pixel_weights().flatten(1) * kept
    return (losses * weights).sum(1) / weights.sum(1).clamp(min=EPS)


def _binary_cross_entropies(logits: Tensor, classes: Tensor) -> Tensor:
    """Return (n, C, H, W)."""
    wanted = F.one_hot(classes, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
