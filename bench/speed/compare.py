"""Training and evaluation: the limit, ours and the usual loop, in one process, in turns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

from bench.run.replay import WARM_UP, CudaRecorder
from bench.speed.loops import evaluate_ours, limit, ours
from bench.speed.section import Section
from bench.speed.timing import Side, Spread, choose_steps, interleave, speed_ratio
from bench.speed.usual import UsualEvaluation, UsualLoop, with_interpolation
from bench.speed.workload import Workload

TRAIN_NOTE = (
    "Milliseconds of a step, median and quartiles of rounds. limit: forward, loss, backward and "
    "update on one batch that lies on the device, launch by launch or as one graph, whichever is "
    "faster. ours: the loop of a run, with packed images, augmentation, loss, lease and log, after "
    "the checksums of the first epoch. script: torchvision's reference script as it is: DataLoader "
    "with PIL transforms, interpolate, cross-entropy, `.item()`. usual: the same at its best, with "
    "channels last, pinned memory and copies that do not block. Ratios are of speeds, round by "
    "round: above 1, the first is faster; limit ÷ usual is the most there is to gain. Their means "
    "are of medians over backbones."
)
EVALUATE_NOTE = (
    "Images per second, median and quartiles of passes over the test split. ours: what a run "
    "does at its end. script: torchvision's reference script as it is: DataLoader, one image at a "
    "time, full-size logits, argmax, a confusion matrix. usual: the same at its best, in batches "
    "and from pinned memory. Means are of medians over backbones."
)
COMPILED_NOTE = (
    "Milliseconds of a step, as above, where torch.compile fuses the backbone (`train.compile`), "
    "after it has: limit and ours are compiled, eager is the limit that is not. Compiling is not "
    "counted."
)
GROWTH_NOTE = (
    "As above, one setting changed at a time. A cost that grows faster than pixels × batch would "
    "show as a falling ratio."
)


@dataclass(frozen=True)
class Effort:
    """How long is measured."""

    rounds: int = 5
    """Blocks of each side."""
    block_seconds: float = 1.0
    """Length of a block, each side at its own pace; two steps at least."""
    workers: int = 0
    """Loading processes of the usual loop."""


def train_section(
    workloads: Iterable[Workload], scratch: Path, effort: Effort
) -> Iterator[Section]:
    """Time steps of training of each workload."""
    records = (compare_training(workload, scratch, effort) for workload in workloads)
    return Section("train", "Training steps", TRAIN_NOTE, ()).growing(records, add_means)


def compiled_section(
    workloads: Iterable[Workload], scratch: Path, effort: Effort
) -> Iterator[Section]:
    """Time steps of training of each workload whose backbone is compiled."""
    records = (compare_compiled(workload, scratch, effort) for workload in workloads)
    title = "Training steps, compiled"
    return Section("compiled", title, COMPILED_NOTE, ()).growing(records, add_means)


def growth_section(
    workloads: Iterable[Workload], scratch: Path, effort: Effort
) -> Iterator[Section]:
    """Time steps of training where one setting changes at a time."""
    records = (compare_training(workload, scratch, effort) for workload in workloads)
    title = "Growth with image size, classes and batch"
    return Section("growth", title, GROWTH_NOTE, ()).growing(records)


def evaluate_section(
    workloads: Iterable[Workload], scratch: Path, effort: Effort
) -> Iterator[Section]:
    """Time evaluation of each workload."""
    records = (compare_evaluation(workload, scratch, effort) for workload in workloads)
    return Section("evaluate", "Evaluation", EVALUATE_NOTE, ()).growing(records, add_means)


def compare_training(workload: Workload, scratch: Path, effort: Effort) -> dict[str, Any]:
    """Time steps of training.

    Args:
        workload: What is trained.
        scratch: Folder for files of the loops.
        effort: How long is measured.

    Returns:
        Settings, milliseconds of a step on each side, and ratios of speeds.
    """
    files = scratch / _files_name("train", workload)
    sides = {"limit": _side(limit(workload), workload)}
    if workload.device.type == "cuda":
        sides["limit, one graph"] = _side(limit(workload, CudaRecorder(workload.device)), workload)
    sides["ours"] = _side(ours(workload, scratch / "ours"), workload)
    for name in ("script", "usual"):
        loop = UsualLoop(workload, files, effort.workers, as_it_is=name == "script")
        sides[name] = Side(loop.step, workload.wait, 1 + loop.num_ready, settle=loop.settle)
    seconds = keep_better_limit(_time(sides, effort))
    record = describe(workload)
    record |= {f"{name} ms": Spread.of(seconds[name]).scaled(1e3) for name in seconds}
    for fast, slow in (
        ("ours", "limit"),
        ("ours", "script"),
        ("ours", "usual"),
        ("limit", "usual"),
    ):
        record[f"{fast} ÷ {slow}"] = speed_ratio(seconds, fast, slow)
    return record


def compare_compiled(workload: Workload, scratch: Path, effort: Effort) -> dict[str, Any]:
    """Time steps of training with a compiled backbone, beside those with the backbone as it is.

    Returns:
        Settings, milliseconds of a step on each side, and ratios of speeds.
    """
    fused = workload.with_train(compile=True)
    sides = {
        "eager": _side(limit(workload), workload),
        "limit": _side(limit(fused), workload),
        "ours": _side(ours(fused, scratch / "compiled"), workload),
    }
    seconds = _time(sides, effort)
    record = describe(workload)
    record |= {f"{name} ms": Spread.of(seconds[name]).scaled(1e3) for name in seconds}
    for fast, slow in (("ours", "limit"), ("limit", "eager")):
        record[f"{fast} ÷ {slow}"] = speed_ratio(seconds, fast, slow)
    return record


def _time(sides: Mapping[str, Side], effort: Effort) -> dict[str, list[float]]:
    """Return seconds of a step of each side, in each round."""
    for side in sides.values():
        for _ in range(WARM_UP + 1):  # memory is taken, kernels are chosen, a graph is made
            side.step()
    steps = {name: choose_steps(side, effort.block_seconds) for name, side in sides.items()}
    return interleave(sides, rounds=effort.rounds, steps=steps)


def keep_better_limit(seconds: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Return the seconds of all sides, of the limits the one that is faster by its median."""
    limits = [values for name, values in seconds.items() if name.startswith("limit")]
    others = {name: values for name, values in seconds.items() if not name.startswith("limit")}
    return {"limit": min(limits, key=median), **others}


def compare_evaluation(workload: Workload, scratch: Path, effort: Effort) -> dict[str, Any]:
    """Time passes over the test split.

    Returns:
        Settings, images per second of ours and of the script, as it is and at its best, and ratios.
    """
    model, files = workload.create_network(), scratch / _files_name("test", workload)
    num_images = len(workload.pack.indices(workload.spec.evaluate.split))
    sides = {"ours": Side(lambda: evaluate_ours(workload, model), workload.wait, warm_up=0)}
    for name in ("script", "usual"):
        own = with_interpolation(workload.create_network())
        as_it_is = name == "script"
        usual = UsualEvaluation(workload, own, files, effort.workers, as_it_is=as_it_is)
        usual.run()  # its workers start; ours is timed below, which warms it up
        sides[name] = Side(usual.run, workload.wait, warm_up=0)
    steps = {
        name: choose_steps(side, effort.block_seconds, at_least=1) for name, side in sides.items()
    }
    seconds = interleave(sides, rounds=effort.rounds, steps=steps)
    record = describe(workload)
    height, width = workload.pack.size(workload.pack.indices("test")[0])
    record |= {"pixels": f"{height}x{width}", "images": num_images}
    record.pop("batch")
    for name, values in seconds.items():
        record[f"{name} images/s"] = Spread.of([num_images / value for value in values])
    for name in ("script", "usual"):
        record[f"ours ÷ {name}"] = speed_ratio(seconds, "ours", name)
    return record


def add_means(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Add rows with the geometric means of ratios over backbones that share all other settings."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        settings = (v for k, v in record.items() if k != "backbone" and not isinstance(v, Spread))
        groups.setdefault(tuple(settings), []).append(record)
    return [*records, *(_mean(group) for group in groups.values() if len(group) > 1)]


def _mean(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mean: dict[str, Any] = {**group[0], "backbone": f"geometric mean of {len(group)}"}
    for name, value in group[0].items():
        if isinstance(value, Spread):
            is_ratio = "÷" in name
            medians = [record[name].median for record in group]
            mean[name] = geometric_mean(medians) if is_ratio else None
    return mean


def describe(workload: Workload) -> dict[str, Any]:
    """Return the settings that tell workloads apart."""
    spec = workload.spec
    assert spec.train.crop is not None
    return {
        "backbone": spec.model.backbone,
        "skip": spec.model.skip,
        "pixels": "x".join(map(str, spec.train.crop)),
        "batch": spec.train.batch_size,
        "classes": workload.num_classes,
        "precision": spec.train.precision,
    }


def _side(loop: Iterator[None], workload: Workload) -> Side:
    return Side(lambda: next(loop), workload.wait)


def _files_name(split: str, workload: Workload) -> str:
    return f"{split}-{workload.pack.fingerprint[:16]}"
