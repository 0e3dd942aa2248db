"""Confusion matrices: pixels counted by target class and predicted class, on the device.

In: predictions and targets. Out: whole numbers, for which nothing waits until they are read.
"""

import torch
from torch import Tensor


def count(pred: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Count pixels by (target class, predicted class), for each image.

    Args:
        pred: Predicted classes, (N, H, W), integers in [0, C).
        target: True classes, (N, H, W); `ignore_index` is not counted.
        num_classes: Number of classes C.
        ignore_index: Target value of unlabelled pixels.

    Returns:
        Pixel counts, (N, C, C), int32. Integer counting is exact and the same on every device.
    """
    N, C = len(pred), num_classes
    image = torch.arange(N, device=pred.device).view(N, 1, 1)
    # What is ignored gets a bin of its own: pixels left out would have to be counted first.
    cell = ((image * C + target) * C + pred).where(target != ignore_index, N * C * C)
    return count_numbers(cell, N * C * C + 1)[:-1].view(N, C, C)


def count_numbers(numbers: Tensor, length: int) -> Tensor:
    """Count how often each number is there.

    `bincount` reads the largest number first, for which a GPU has to be waited for; it is slower on
    a CPU, too.

    Args:
        numbers: Whole numbers in [0, length), of any shape, int64.
        length: How many numbers there are.

    Returns:
        (length,) int32.
    """
    counts = torch.zeros(length, dtype=torch.int32, device=numbers.device)
    return counts.index_add_(0, numbers.flatten(), counts.new_ones(()).expand(numbers.numel()))
