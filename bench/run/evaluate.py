"""Evaluation: a trained network to one confusion matrix per picture.

Every picture counts, at its label's own size: the last upsampling goes straight to that grid.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.atomic import replacing
from bench.data.layers import LabelMap
from bench.run.boundary import count_boundary
from bench.run.confusion import count
from bench.run.slices import slices
from bench.run.train import autocast
from fcn.model import Network
from fcn.targets import split_targets

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
    others: dict[str, "Evaluation"] = field(default_factory=dict)
    """Counts of further label maps, by name."""

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts over the whole split, (C, C), int64."""
        total: NDArray[np.int64] = self.confusions.sum(0, dtype=np.int64)
        return total


def evaluate(
    model: Network,
    batches: Iterable[tuple[list[str], Tensor, Tensor]],
    *,
    kept: Collection[str],
    targets: Sequence[LabelMap],
    precision: str,
    boundary: bool = False,
) -> Evaluation:
    """Count every picture of a split.

    Args:
        model: Network on its device.
        batches: Names, images (N, K, h, w) and targets (N, H, W) at the label's own size; of
            several label maps (N, T, H, W).
        kept: Names of the pictures whose predictions are kept.
        targets: The label maps; the counts of the first have those of the others with them.
        precision: As in training, "fp32" or "bf16".
        boundary: Count boundary pixels too.
    """
    model.eval()
    classes = [len(target.class_names) for target in targets]
    tallies = [_Tally(target, boundary) for target in targets]
    names: list[str] = []
    with torch.inference_mode():
        for batch_names, images, target in batches:
            labels = [target] if len(targets) == 1 else target.unbind(1)
            size = (target.shape[-2], target.shape[-1])
            with autocast(images.device, precision):
                preds = predict_targets(model, images, size, classes)
            chosen = [i for i, name in enumerate(batch_names) if name in kept]
            for tally, pred, own in zip(tallies, preds, labels, strict=True):
                tally.add(batch_names, pred, own, chosen)
            names += batch_names
    first, *others = (tally.finish(names) for tally in tallies)
    further = zip((target.name for target in targets[1:]), others, strict=True)
    return replace(first, others=dict(further))


class _Tally:
    """Counts of one label map, as pictures come; on the device, which nobody waits for."""

    def __init__(self, target: LabelMap, boundary: bool) -> None:
        self._sizes = C, _ = len(target.class_names), target.ignore_index
        self._boundary = boundary
        self._confusions = [torch.zeros(0, C, C, dtype=torch.int32)]
        self._boundaries = [torch.zeros(0, 2, C, dtype=torch.int32)]
        self._predictions: dict[str, Tensor] = {}

    def add(self, names: list[str], pred: Tensor, target: Tensor, kept: Iterable[int]) -> None:
        """Count a batch; of the pictures numbered in `kept`, keep the prediction."""
        self._confusions.append(count(pred, target, *self._sizes))
        if self._boundary:
            self._boundaries.append(count_boundary(pred, target, *self._sizes))
        for i in kept:
            self._predictions[names[i]] = pred[i].to(torch.uint8)

    def finish(self, names: list[str]) -> Evaluation:
        """Return the counts of all pictures."""
        predictions = {name: pred.cpu().numpy() for name, pred in self._predictions.items()}
        outlines = _together(self._boundaries) if self._boundary else None
        return Evaluation(names, _together(self._confusions), predictions, outlines)


def _together(counts: list[Tensor]) -> NDArray[np.int32]:
    first, *others = counts  # none of no picture, on the CPU: there may be no other
    joined: NDArray[np.int32] = (torch.cat(others) if others else first).cpu().numpy()
    return joined


def choose_kept(names: Sequence[str]) -> list[str]:
    """Choose the pictures of a split whose predictions are kept, evenly spaced."""
    places = np.linspace(0, len(names) - 1, min(len(names), NUM_KEPT))
    return [names[i] for i in dict.fromkeys(round(place) for place in places)]


def predict_targets(
    model: Network, images: Tensor, size: tuple[int, int], classes: Sequence[int]
) -> list[Tensor]:
    """Return the class of the highest logit of each pixel, (N, *size) int64, by label map.

    Full-size logits exist for a slice of the pictures at a time.

    Args:
        model: Network in evaluation mode.
        images: (N, K, h, w), normalised.
        size: Height and width of the prediction.
        classes: Number of classes of each label map.
    """
    cells = (images.shape[-2], images.shape[-1])
    return [
        torch.cat([up(scores[part], size, cells).argmax(1) for part in slices(scores, size)])
        for scores, up in split_targets(model.score(images), model.upsampling, classes)
    ]


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
    for target, other in evaluation.others.items():
        arrays[f"confusions.{target}"] = other.confusions
        if other.boundaries is not None:
            arrays[f"boundary_intersections.{target}"] = other.boundaries[:, 0]
            arrays[f"boundary_unions.{target}"] = other.boundaries[:, 1]
    arrays |= {f"pred_{i}": pred for i, pred in enumerate(evaluation.predictions.values())}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
