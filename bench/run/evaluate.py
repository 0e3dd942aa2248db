"""Evaluation: a trained network to one confusion matrix per image.

Every image counts, at its label's own size: the last upsampling goes straight to that grid.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.data.layers import Target
from bench.metrics import CALIBRATION_BINS
from bench.run.boundary import count_boundary
from bench.run.calibration import count_calibration
from bench.run.chunking import MemoryFallback, chunks
from bench.run.confusion import count
from bench.run.environment import algorithms_kept
from bench.run.surface import count_surface
from bench.run.train import autocast
from bench.store.atomic import replacing
from fcn.model import Network
from fcn.targets import split_targets

NUM_KEPT = 64
"""Predictions kept per run, evenly spaced over the split, for the report's images."""


@dataclass(frozen=True)
class Evaluation:
    """Counts over a split, image by image."""

    names: list[str]
    """Names of the N images."""
    confusions: NDArray[np.int32]
    """Pixel counts, (N, C, C); rows are target, columns are prediction."""
    predictions: dict[str, NDArray[np.uint8]]
    """Predicted classes (H, W) of some images, by name."""
    boundaries: NDArray[np.int32] | None = None
    """Boundary pixels, (N, 2, C): intersections and unions; None unless asked for."""
    surfaces: NDArray[np.int64] | None = None
    """Distances between outlines and their pixels, (N, 2, C); None unless asked for."""
    calibrations: NDArray[np.int64] | None = None
    """Pixels by confidence, (N, 4, B) as `count_calibration` gives them; None unless asked for."""
    others: dict[str, "Evaluation"] = field(default_factory=dict)
    """Counts of further targets, by name."""

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
    targets: Sequence[Target],
    precision: str,
    boundary: bool = False,
    surface: bool = False,
    calibration: bool = False,
) -> Evaluation:
    """Count every image of a split.

    Args:
        model: Network on its device.
        batches: Names, images (N, K, h, w) and targets (N, H, W) at the label's own size; of
            several targets (N, T, H, W).
        kept: Names of the images whose predictions are kept.
        targets: The targets; the counts of the first have those of the others with them.
        precision: As in training, "fp32" or "bf16".
        boundary: Count boundary pixels too.
        surface: Add up distances between outlines too.
        calibration: Count pixels by confidence too.
    """
    classes = [len(target.class_names) for target in targets]
    predictor = Predictor(model, classes, precision)
    tallies = [_Tally(target, boundary, surface, calibration) for target in targets]
    names: list[str] = []

    def score(images: Tensor, target: Tensor) -> list[_Scored]:
        labels = [target] if len(targets) == 1 else target.unbind(1)
        sure: list[list[Tensor]] = [[] for _ in targets]

        def look(number: int, part: slice, logits: Tensor) -> None:
            ignored = targets[number].ignore_index
            sure[number].append(count_calibration(logits, labels[number][part], ignored))

        size = (target.shape[-2], target.shape[-1])
        preds = predictor.predict(images, size, look if calibration else None)
        each = zip(tallies, preds, labels, sure, strict=True)
        return [tally.score(pred, own, found) for tally, pred, own, found in each]

    with torch.inference_mode():
        for batch_names, images, target in batches:
            done = 0
            for scored in predictor.fallback(score, images, target):
                part = batch_names[done : done + len(scored[0].pred)]
                for tally, own in zip(tallies, scored, strict=True):
                    tally.add(part, own, kept)
                done += len(part)
            names += batch_names
    first, *others = (tally.finish(names) for tally in tallies)
    further = zip((target.name for target in targets[1:]), others, strict=True)
    return replace(first, others=dict(further))


class Predictor:
    """A network that says what it sees, as its run scores it and as `predict` writes it.

    Args:
        model: Network on its device; it is put into evaluation mode.
        classes: Number of classes of each target.
        precision: As in training, "fp32" or "bf16".
    """

    def __init__(self, model: Network, classes: Sequence[int], precision: str) -> None:
        self._model = model.eval()
        self._classes = classes
        self._precision = precision
        self.fallback = MemoryFallback()

    def predict(
        self, images: Tensor, size: tuple[int, int], look: "Look | None" = None
    ) -> list[Tensor]:
        """Return the class of each pixel, (N, *size) int64, by target; images (N, K, h, w)."""
        looks = () if look is None else (look,)
        context = autocast(images.device, self._precision)
        with torch.inference_mode(), algorithms_kept(), context:
            return predict_targets(self._model, images, size, self._classes, *looks)


class _Scored(NamedTuple):
    """What is said of some images, and how much of it is right."""

    pred: Tensor
    """(N, H, W)."""
    confusions: Tensor
    """(N, C, C)."""
    boundaries: Tensor | None
    """(N, 2, C), where they are asked for."""
    surfaces: Tensor | None
    """(N, 2, C), likewise."""
    calibrations: Tensor | None
    """(N, 4, B), likewise."""


class _Tally:
    """Counts of one target, as images come; on the device, which nobody waits for."""

    def __init__(self, target: Target, boundary: bool, surface: bool, calibration: bool) -> None:
        self._sizes = C, _ = len(target.class_names), target.ignore_index
        self._boundary, self._surface, self._calibration = boundary, surface, calibration
        self._confusions = [torch.zeros(0, C, C, dtype=torch.int32)]
        self._boundaries = [torch.zeros(0, 2, C, dtype=torch.int32)]
        self._surfaces = [torch.zeros(0, 2, C, dtype=torch.int64)]
        self._calibrations = [torch.zeros(0, 4, CALIBRATION_BINS, dtype=torch.int64)]
        self._predictions: dict[str, Tensor] = {}

    def score(self, pred: Tensor, target: Tensor, sure: Sequence[Tensor] = ()) -> _Scored:
        """Count images, which changes nothing: it may be tried again with fewer of them.

        `sure` is what was counted of their logits, some images after the others.
        """
        outlines = count_boundary(pred, target, *self._sizes) if self._boundary else None
        surfaces = count_surface(pred, target, *self._sizes) if self._surface else None
        calibrations = torch.cat(list(sure)) if sure else None
        counts = count(pred, target, *self._sizes)
        return _Scored(pred, counts, outlines, surfaces, calibrations)

    def add(self, names: list[str], scored: _Scored, kept: Collection[str]) -> None:
        """Add what was counted of images; keep the prediction of those in `kept`."""
        self._confusions.append(scored.confusions)
        if scored.boundaries is not None:
            self._boundaries.append(scored.boundaries)
        if scored.surfaces is not None:
            self._surfaces.append(scored.surfaces)
        if scored.calibrations is not None:
            self._calibrations.append(scored.calibrations)
        for name, pred in zip(names, scored.pred, strict=True):
            if name in kept:
                self._predictions[name] = pred.to(torch.uint8)

    def finish(self, names: list[str]) -> Evaluation:
        """Return the counts of all images."""
        predictions = _read_together(self._predictions)
        outlines = _together(self._boundaries) if self._boundary else None
        surfaces = _together(self._surfaces) if self._surface else None
        sure = _together(self._calibrations) if self._calibration else None
        return Evaluation(names, _together(self._confusions), predictions, outlines, surfaces, sure)


def _read_together(predictions: dict[str, Tensor]) -> dict[str, NDArray[np.uint8]]:
    """Read predictions (H, W) from the device in one copy."""
    if not predictions:
        return {}
    line = torch.cat([pred.flatten() for pred in predictions.values()]).cpu().numpy()
    ends = np.cumsum([pred.numel() for pred in predictions.values()])
    parts = np.split(line, ends[:-1])
    return {
        name: part.reshape(pred.shape)
        for (name, pred), part in zip(predictions.items(), parts, strict=True)
    }


def _together(counts: list[Tensor]) -> NDArray[Any]:
    first, *others = counts  # none of no image, on the CPU: there may be no other
    joined: NDArray[Any] = (torch.cat(others) if others else first).cpu().numpy()
    return joined


def choose_kept(names: Sequence[str]) -> list[str]:
    """Choose the images of a split whose predictions are kept, evenly spaced."""
    places = np.linspace(0, len(names) - 1, min(len(names), NUM_KEPT))
    return [names[i] for i in dict.fromkeys(round(place) for place in places)]


Look = Callable[[int, slice, Tensor], None]
"""Is shown the logits of some images, at full size: number of the target, which images, logits."""


def predict_targets(
    model: Network,
    images: Tensor,
    size: tuple[int, int],
    classes: Sequence[int],
    look: Look | None = None,
) -> list[Tensor]:
    """Return the class of the highest logit of each pixel, (N, *size) int64, by target.

    Full-size logits exist for a slice of the images at a time.

    Args:
        model: Network in evaluation mode.
        images: (N, K, h, w), normalised.
        size: Height and width of the prediction.
        classes: Number of classes of each target.
        look: Is shown all logits before they are gone.
    """
    cells = (images.shape[-2], images.shape[-1])

    def predict(number: int, scores: Tensor, up: nn.Module, part: slice) -> Tensor:
        logits: Tensor = up(scores[part], size, cells)
        if look is not None:
            look(number, part, logits)
        return logits.argmax(1)

    return [
        torch.cat([predict(number, scores, up, part) for part in chunks(scores, size)])
        for number, (scores, up) in enumerate(
            split_targets(model.score(images), model.upsampling, classes)
        )
    ]


def save_evaluation(path: Path, evaluation: Evaluation, groups: Sequence[str] = ()) -> None:
    """Write counts and kept predictions as one compressed .npz, atomically.

    Args:
        path: The file.
        evaluation: What to write.
        groups: What each image belongs to, such as its clip; none where it is not known.
    """
    arrays: dict[str, Any] = {
        "names": np.array(evaluation.names),
        "confusions": evaluation.confusions,
        "predicted_names": np.array(list(evaluation.predictions)),
    }
    if groups:
        arrays["groups"] = np.array(groups)
    if evaluation.boundaries is not None:
        arrays["boundary_intersections"] = evaluation.boundaries[:, 0]
        arrays["boundary_unions"] = evaluation.boundaries[:, 1]
    if evaluation.surfaces is not None:
        arrays["surface_distances"] = evaluation.surfaces[:, 0]
        arrays["surface_points"] = evaluation.surfaces[:, 1]
    if evaluation.calibrations is not None:
        arrays["calibration"] = evaluation.calibrations
    for target, other in evaluation.others.items():
        arrays[f"confusions.{target}"] = other.confusions
        if other.boundaries is not None:
            arrays[f"boundary_intersections.{target}"] = other.boundaries[:, 0]
            arrays[f"boundary_unions.{target}"] = other.boundaries[:, 1]
    arrays |= {f"pred_{i}": pred for i, pred in enumerate(evaluation.predictions.values())}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
