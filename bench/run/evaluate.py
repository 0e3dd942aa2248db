"""Evaluation: a trained network to one confusion matrix per picture.

Every picture counts, at its label's own size: the last upsampling goes straight to that grid.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.atomic import replacing
from bench.run.boundary import count_boundary
from bench.run.slices import slices
from bench.run.train import autocast
from fcn.model import Network

NUM_KEPT = 64
"""Predictions kept per run, evenly spaced over the split, for the report's pictures."""


@dataclass(frozen=True)
class Evaluation:
    """Counts over a split, picture by picture."""

    names: list[str]
    """Names of the N pictures."""
    confusions: NDArray[np.int32]
    """Pixel counts, (N, C, C); rows are target, columns are prediction."""
    predictions: dict[str, NDArray[np.uint8]]
    """Predicted classes (H, W) of some pictures, by name."""
    boundaries: NDArray[np.int32] | None = None
    """Boundary pixels, (N, 2, C): intersections and unions; None unless asked for."""

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts over the whole split, (C, C), int64."""
        total: NDArray[np.int64] = self.confusions.sum(0, dtype=np.int64)
        return total


def evaluate(
    model: Network,
    batches: Iterable[tuple[list[str], Tensor, Tensor]],
    *,
    num_images: int,
    num_classes: int,
    ignore_index: int,
    precision: str,
    boundary: bool = False,
) -> Evaluation:
    """Count every picture of a split.

    Args:
        model: Network on its device.
        batches: Names, images (N, 3, h, w) and targets (N, H, W) at the label's own size.
        num_images: Pictures in all, to space out the predictions that are kept.
        num_classes: Number of classes C.
        ignore_index: Target value that is not counted.
        precision: As in training, "fp32" or "bf16".
        boundary: Count boundary pixels too.
    """
    model.eval()
    kept = {round(i) for i in np.linspace(0, num_images - 1, min(num_images, NUM_KEPT))}
    names: list[str] = []
    confusions: list[Tensor] = []
    boundaries: list[Tensor] = []
    predictions: dict[str, NDArray[np.uint8]] = {}
    with torch.inference_mode():
        for batch_names, images, target in batches:
            with autocast(images.device, precision):
                pred = predict_classes(model, images, (target.shape[1], target.shape[2]))
            confusions.append(count(pred, target, num_classes, ignore_index).cpu())
            if boundary:
                boundaries.append(count_boundary(pred, target, num_classes, ignore_index).cpu())
            for i, name in enumerate(batch_names):
                if len(names) in kept:
                    predictions[name] = pred[i].to(torch.uint8).cpu().numpy()
                names.append(name)
    outlines = torch.cat(boundaries).numpy().astype(np.int32) if boundary else None
    return Evaluation(names, torch.cat(confusions).numpy().astype(np.int32), predictions, outlines)


def predict_classes(model: Network, images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the class of the highest logit of each pixel, (N, *size), int64.

    Full-size logits exist for a slice of the pictures at a time.

    Args:
        model: Network in evaluation mode.
        images: (N, 3, h, w), normalised.
        size: Height and width of the prediction.
    """
    scores = model.score(images)
    cells = (images.shape[-2], images.shape[-1])
    parts = [model.upsampling(scores[part], size, cells).argmax(1) for part in slices(scores, size)]
    return torch.cat(parts)


def count(pred: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Count pixels by (target class, predicted class), for each picture.

    Args:
        pred: Predicted classes, (N, H, W), integers in [0, C).
        target: True classes, (N, H, W); `ignore_index` is not counted.
        num_classes: Number of classes C.
        ignore_index: Target value of unlabelled pixels.

    Returns:
        Pixel counts, (N, C, C), int64. Integer counting is exact and the same on every device.
    """
    N, C = len(pred), num_classes
    picture = torch.arange(N, device=pred.device).view(N, 1, 1)
    # What is ignored gets a bin of its own: twice as fast as leaving its pixels out.
    cell = ((picture * C + target) * C + pred).where(target != ignore_index, N * C * C)
    return torch.bincount(cell.flatten(), minlength=N * C * C + 1)[:-1].view(N, C, C)


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write counts and kept predictions as one compressed .npz, atomically."""
    arrays: dict[str, Any] = {
        "names": np.array(evaluation.names),
        "confusions": evaluation.confusions,
        "predicted_names": np.array(list(evaluation.predictions)),
    }
    if evaluation.boundaries is not None:
        arrays["boundary_intersections"] = evaluation.boundaries[:, 0]
        arrays["boundary_unions"] = evaluation.boundaries[:, 1]
    arrays |= {f"pred_{i}": pred for i, pred in enumerate(evaluation.predictions.values())}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
