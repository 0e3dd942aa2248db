"""Surface distances: how far the outlines of a prediction are from those of the target, in pixels.

In: predictions and targets. Out: for each image and class the distances of outline pixels to the
nearest of the other's outline, added up both ways, and how many they are;
`bench.metrics` divides (the average symmetric surface distance). Distances are exact, and counted
in whole parts of a pixel, so that sums are the same in any order and on every device.

Reference: Heimann et al., 2009, "Comparison and evaluation of methods for liver segmentation from
CT datasets", section IV (ASSD).
"""

import torch
from torch import Tensor

from bench.metrics import SURFACE_UNITS

POINTS_AT_ONCE = 2**22
"""Pairs of outline pixels whose distances exist at once: 32 MiB."""


def count_surface(pred: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Add up the distances between the outlines of each image by class.

    The outline of a class are its pixels beside which, in one of four directions, there is a
    labelled pixel of another class. Ignored pixels are on no outline and make none, and nor does
    the image's edge. Of a class that has an outline in but one of the two nothing is counted: that
    it was missed, or seen where it is not, is what IoU says.

    Args:
        pred: Predicted classes, (N, H, W), integers in [0, C).
        target: True classes, (N, H, W); `ignore_index` is not counted.
        num_classes: Number of classes C.
        ignore_index: Target value of unlabelled pixels.

    Returns:
        Distances in parts of a pixel (1 / `SURFACE_UNITS`) and numbers of outline pixels, both
        ways together, (N, 2, C), int64.
    """
    labelled = target != ignore_index
    counts = torch.zeros(len(target), 2, num_classes, dtype=torch.int64, device=target.device)
    sides = [(classes, _find_outlines(classes, labelled)) for classes in (target, pred)]
    for n in range(len(target)):
        own = [_list_points(classes[n], on[n]) for classes, on in sides]
        for c in range(num_classes):
            points = [where[which == c] for where, which in own]
            if all(map(len, points)):
                there, back = _measure(*points), _measure(*reversed(points))
                counts[n, 0, c] = there + back
                counts[n, 1, c] = sum(map(len, points))
    return counts


def _find_outlines(classes: Tensor, labelled: Tensor) -> Tensor:
    """Mark the labelled pixels beside a labelled one of another class, (N, H, W) bool."""
    on = torch.zeros_like(labelled)
    for dim in (1, 2):
        size = classes.shape[dim] - 1
        first, second = (classes.narrow(dim, start, size) for start in (0, 1))
        known = labelled.narrow(dim, 0, size) & labelled.narrow(dim, 1, size)
        differ = (first != second) & known
        on.narrow(dim, 0, size).logical_or_(differ)
        on.narrow(dim, 1, size).logical_or_(differ)
    return on


def _list_points(classes: Tensor, on: Tensor) -> tuple[Tensor, Tensor]:
    """Return places (P, 2) and classes (P,) of an image's outline pixels."""
    return torch.nonzero(on).to(torch.float64), classes[on]


def _measure(points: Tensor, others: Tensor) -> Tensor:
    """Add up how far each of `points`, (P, 2), is from the nearest of `others`, in whole parts."""
    total = torch.zeros((), dtype=torch.int64, device=points.device)
    for some in torch.split(points, max(1, POINTS_AT_ONCE // len(others))):
        squares = (some[:, None] - others[None]).square_().sum(-1).min(1).values
        total += (squares.sqrt() * SURFACE_UNITS).round().to(torch.int64).sum()
    return total
