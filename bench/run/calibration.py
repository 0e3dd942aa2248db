"""Calibration counts: how sure a network is, and how often it is right, image by image.

In: logits and targets. Out: for each image and bin of confidence the pixels, those that are right,
their confidence and their loss added up; `bench.metrics` makes ECE and NLL of them. Confidence is
the probability of the predicted class. It is counted in whole parts, so that sums are the same in
any order, on several devices and for batches of any size.

Reference: Guo et al., 2017, "On calibration of modern neural networks", sections 2 and 4,
arXiv:1706.04599.
"""

import torch
from torch import Tensor

from bench.metrics import CALIBRATION_BINS, CALIBRATION_UNITS


def count_calibration(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Count the labelled pixels of each image by confidence.

    Args:
        logits: (N, C, H, W), at the label's own size.
        target: True classes, (N, H, W); `ignore_index` is not counted.
        ignore_index: Target value of unlabelled pixels.

    Returns:
        (N, 4, `CALIBRATION_BINS`), int64: pixels, pixels that are right, confidence and negative
        log-likelihood in nats, the last two in parts of 1 / `CALIBRATION_UNITS`. Bins are of equal
        width, the last one holds a confidence of 1 too.
    """
    N, bins = len(target), CALIBRATION_BINS
    labelled = target != ignore_index
    known = target.where(labelled, 0)
    log_p = logits.float().log_softmax(1)
    most, pred = log_p.max(1)
    confidence = most.exp()
    loss = -log_p.gather(1, known[:, None])[:, 0]
    image = torch.arange(N, device=target.device).view(N, 1, 1)
    place = (confidence * bins).to(torch.int64).clamp_(max=bins - 1)
    cell = (image * bins + place).where(labelled, N * bins).flatten()  # what is ignored has its own
    numbers = (
        torch.ones_like(target),
        pred == known,
        (confidence * CALIBRATION_UNITS).round(),
        (loss * CALIBRATION_UNITS).round(),
    )
    sums = torch.zeros(4, N * bins + 1, dtype=torch.int64, device=target.device)
    for row, values in zip(sums, numbers, strict=True):
        row.index_add_(0, cell, values.to(torch.int64).flatten())
    return sums[:, :-1].view(4, N, bins).transpose(0, 1)
