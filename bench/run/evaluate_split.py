"""A split scored: batches in turn to the run's processes, and their counts put together.

Batches are those of a single process, whoever takes them: the same weights give the same counts.
Each process fills in the rows of its own images, and the sum over all is the whole: each image
once, in the order of the split.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.layers import Target
from bench.data.packs.pack import Pack
from bench.data.scoring_batches import eval_batches
from bench.run.distributed import ALONE, Group
from bench.run.evaluate import Evaluation, choose_kept, evaluate
from bench.spec import RunSpec
from bench.store.records import TargetCounts
from fcn.model import Network

BATCH_SIZE = 8
"""Most images scored at once."""

BATCH_PIXELS = BATCH_SIZE * 480 * 640
"""Most pixels scored at once, as the network sees them or at the label's size; one image may have
more. A training batch has about as many."""

GPU_TIMES = 4
"""How many times as many a GPU has, which 8 small images do not keep busy."""


Integer = TypeVar("Integer", np.int32, np.int64)


def evaluate_split(
    model: Network,
    pack: Pack,
    split: str,
    spec: RunSpec,
    device: torch.device,
    *,
    targets: Sequence[Target] = (),
    boundary: bool = False,
    surface: bool = False,
    calibration: bool = False,
    group: Group = ALONE,
    after_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Count every image of a split.

    Args:
        model: Network on the device.
        pack: Decoded images.
        split: Name of the split.
        spec: The run's settings.
        device: Where to compute.
        targets: The targets; none for those of the pack.
        boundary: Count boundary pixels too.
        surface: Add up distances between outlines too.
        calibration: Count pixels by confidence too.
        group: The processes that share the work.
        after_batch: Called after each batch: a split may take longer than a run may be silent.

    Returns:
        The whole, in every process.
    """
    indices = pack.indices(split)
    names = [pack.name(i) for i in indices]
    kept = choose_kept(names)
    counted = evaluate(
        model,
        _each(named_batches(model, pack, split, spec, device, group), after_batch),
        kept=kept,
        targets=targets or pack.targets,
        precision=spec.train.precision,
        boundary=boundary,
        surface=surface,
        calibration=calibration,
    )
    return gather(counted, names, [pack.size(i) for i in indices], kept, group)


def named_batches(
    model: Network,
    pack: Pack,
    split: str,
    spec: RunSpec,
    device: torch.device,
    group: Group = ALONE,
) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """Yield the images of a split that are this process's, with their names."""
    times = GPU_TIMES if device.type == "cuda" else 1
    batches = eval_batches(
        pack,
        split,
        input_scale=spec.data.input_scale,
        mean=model.mean,
        std=model.std,
        device=device,
        batch_size=times * BATCH_SIZE,
        batch_pixels=times * BATCH_PIXELS,
        part=(group.rank, group.size),
    )
    for indices, images, target in batches:
        yield [pack.name(i) for i in indices], images, target


def _each(
    batches: Iterator[tuple[list[str], Tensor, Tensor]], after_batch: Callable[[], None]
) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    for batch in batches:
        yield batch
        after_batch()


def describe_others(evaluation: Evaluation, targets: Sequence[Target]) -> dict[str, TargetCounts]:
    """Return what a record holds of further targets."""
    return {
        target.name: {
            "class_names": target.class_names,
            "palette": target.palette,
            "confusion": evaluation.others[target.name].confusion.tolist(),
        }
        for target in targets[1:]
    }


def gather(
    evaluation: Evaluation,
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    kept: Sequence[str],
    group: Group,
) -> Evaluation:
    """Put together what the processes counted, each image once, in the order of the split.

    Args:
        evaluation: What this process counted.
        names: Names of all N images of the split, in order.
        sizes: Height and width of each.
        kept: Names of those whose prediction is kept, in order.
        group: The processes.

    Returns:
        The whole, in every process.
    """
    if group.size == 1 and evaluation.names == list(names):
        return evaluation
    place = {name: i for i, name in enumerate(names)}
    rows = [place[name] for name in evaluation.names]

    def whole(counts: NDArray[Integer]) -> NDArray[Integer]:
        own = torch.from_numpy(counts)
        table = torch.zeros(len(names), *counts.shape[1:], dtype=own.dtype)
        table[rows] = own
        result: NDArray[Integer] = group.sum(table).numpy()
        return result

    boundaries, surfaces = evaluation.boundaries, evaluation.surfaces
    calibrations = evaluation.calibrations
    return Evaluation(
        names=list(names),
        confusions=whole(evaluation.confusions),
        predictions=_gather_predictions(
            evaluation.predictions, {name: sizes[place[name]] for name in kept}, group
        ),
        boundaries=None if boundaries is None else whole(boundaries),
        surfaces=None if surfaces is None else whole(surfaces),
        calibrations=None if calibrations is None else whole(calibrations),
        others={
            name: gather(other, names, sizes, kept, group)
            for name, other in evaluation.others.items()
        },
    )


def _gather_predictions(
    predictions: dict[str, NDArray[np.uint8]], sizes: dict[str, tuple[int, int]], group: Group
) -> dict[str, NDArray[np.uint8]]:
    """Lay all predictions end to end, each process its own, and add up."""
    ends = np.cumsum([height * width for height, width in sizes.values()])
    line = torch.zeros(int(ends[-1]), dtype=torch.uint8)
    parts = {
        name: line[end - height * width : end].view(height, width)
        for (name, (height, width)), end in zip(sizes.items(), ends, strict=True)
    }
    for name, pred in predictions.items():
        parts[name].copy_(torch.from_numpy(pred))
    group.sum(line)
    return {name: part.numpy() for name, part in parts.items()}
