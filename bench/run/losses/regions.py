"""Losses of regions: overlaps of each class with its prediction, over a batch or an image.

A class that no pixel shows has no region, and no part in the mean over classes.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from bench.run.losses.kinds import LOSSES, Labels, OfSums, PerImage, Whole

NotNegative = Annotated[float, Field(ge=0)]

EPS = 1e-7
"""Least denominator."""


def sum_overlaps(logits: Tensor, labels: Labels) -> Tensor:
    """Return, by class, what prediction and target share, and how large each is, (3, C).

    A prediction is the probability of a class; all are sums over labelled pixels.
    """
    labelled = labels.labelled[:, None]
    probability = logits.softmax(1) * labelled
    shown = _one_hot(labels, logits)
    return torch.stack([part.sum((0, 2, 3)) for part in (probability * shown, probability, shown)])


def tversky_of(
    overlaps: Tensor,
    class_weights: Tensor | None,
    *,
    alpha: NotNegative = 0.5,
    beta: NotNegative = 0.5,
    gamma: Annotated[float, Field(gt=0)] = 1.0,
    smooth: NotNegative = 0.0,
) -> Tensor:
    """One minus the Tversky index, its mean over the classes that are shown.

    Args:
        overlaps: As `sum_overlaps` gives them.
        class_weights: (C,), by which the mean is weighted.
        alpha: Cost of what is predicted and not there.
        beta: Cost of what is there and not predicted.
        gamma: Exponent of the mean; above 1 it is gentle where the overlap is good.
        smooth: Added to both sides of the fraction, in pixels.

    Reference: Salehi et al., 2017, arXiv:1706.05721; gamma: Abraham and Khan, arXiv:1810.07842.
    """
    shared, predicted, shown = overlaps
    false_positive, false_negative = predicted - shared, shown - shared
    costs = alpha * false_positive + beta * false_negative
    index = (shared + smooth) / (shared + costs + smooth).clamp(min=EPS)
    mean = _mean_over_shown(1 - index, shown > 0, class_weights)
    return mean if gamma == 1 else mean.clamp(min=EPS) ** gamma * (shown > 0).any()


def dice_of(overlaps: Tensor, class_weights: Tensor | None, *, smooth: NotNegative = 0.0) -> Tensor:
    """One minus Dice's coefficient, 2 |A and B| / (|A| + |B|).

    Args:
        overlaps: As `sum_overlaps` gives them.
        class_weights: (C,), by which the mean over classes is weighted.
        smooth: Added to both sides of the fraction |A and B| / ((|A| + |B|) / 2), in pixels.

    Reference: Milletari et al., 2016, arXiv:1606.04797.
    """
    return tversky_of(overlaps, class_weights, smooth=smooth)


def jaccard_of(
    overlaps: Tensor, class_weights: Tensor | None, *, smooth: NotNegative = 0.0
) -> Tensor:
    """One minus the soft IoU, |A and B| / |A or B|; arguments as for `dice_of`.

    Reference: Rahman and Wang, 2016, ISVC.
    """
    return tversky_of(overlaps, class_weights, alpha=1.0, beta=1.0, smooth=smooth)


LOSSES.register("dice")(OfSums(sum_overlaps, dice_of))
LOSSES.register("jaccard")(OfSums(sum_overlaps, jaccard_of))
LOSSES.register("tversky")(OfSums(sum_overlaps, tversky_of))


@LOSSES.register("lovasz")
@PerImage
def lovasz(logits: Tensor, labels: Labels) -> Tensor:
    """Lovász-softmax of each image: a convex surface through its IoU losses.

    Reference: Berman et al., 2018, equation 8, arXiv:1705.08790.
    """
    probability, shown = logits.softmax(1), _one_hot(labels, logits)
    errors = (shown - probability).abs() * labels.labelled[:, None]
    return _lovasz_of(errors.flatten(2), shown.flatten(2), labels.class_weights)


@LOSSES.register("lovasz_batch")
@Whole
def lovasz_batch(logits: Tensor, labels: Labels) -> Tensor:
    """Lovász-softmax of the batch as if it were one large image: nearer to a dataset's mIoU."""
    n, C, H, W = logits.shape
    at_once = Labels(
        labels.classes.reshape(1, n * H, W),
        labels.labelled.reshape(1, n * H, W),
        labels.class_weights,
    )
    return lovasz.function(logits.movedim(1, 0).reshape(1, C, n * H, W), at_once)[0]


def _lovasz_of(errors: Tensor, shown: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return (n,) from errors and what is shown, 0 or 1, (n, C, pixels).

    What is not labelled has error 0 and is not shown: it comes last, and adds nothing.
    """
    ranked, order = errors.sort(2, descending=True)
    # Counted in whole numbers: the same bits every time, on every device.
    found = shown.gather(2, order).long()
    total = found.sum(2, keepdim=True)
    shared = total - found.cumsum(2)
    union = total + (1 - found).cumsum(2)
    loss = 1 - shared / union.clamp(min=1)
    steps = torch.cat([loss[..., :1], loss[..., 1:] - loss[..., :-1]], 2).to(errors.dtype)
    return _mean_over_shown((ranked * steps).sum(2), total[..., 0] > 0, class_weights)


def _mean_over_shown(losses: Tensor, is_shown: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the weighted mean of (..., C) over the classes that are shown; 0 where none is."""
    weights = is_shown.to(losses.dtype)
    if class_weights is not None:
        weights = weights * class_weights
    return (losses * weights).sum(-1) / weights.sum(-1).clamp(min=EPS)


def _one_hot(labels: Labels, logits: Tensor) -> Tensor:
    """Return (n, C, H, W) of 0 and 1: what is labelled, by class."""
    shown = torch.zeros_like(logits, requires_grad=False)
    return shown.scatter_(1, labels.classes[:, None], labels.labelled[:, None].to(logits.dtype))
