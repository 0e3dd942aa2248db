"""`fcn-bench speed`: what is measured, at which sizes, on which machine. Heavy imports wait."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.command import AsJson, DataDir, Device, show

if TYPE_CHECKING:
    from bench.speed.compare import Effort
    from bench.speed.section import Section
    from bench.speed.workload import Workload

app = typer.Typer(
    help="Throughput, memory and start-up, against the limit of the device and the usual loop."
)

BACKBONES = ("alexnet", "vgg16", "googlenet", "resnet50")

Backbones = Annotated[
    list[str] | None,
    typer.Option("--backbone", help="Any timm name; repeatable. " + ", ".join(BACKBONES)),
]
Skip = Annotated[str, typer.Option(help="Skip strategy.")]
Size = Annotated[
    str | None,
    typer.Option(help="HEIGHTxWIDTH of a training crop; 120x160 on a CPU, else 360x480."),
]
Batch = Annotated[int | None, typer.Option(help="Pictures in a batch; 4 on a CPU, else 16.", min=1)]
Precision = Annotated[str | None, typer.Option(help="fp32 or bf16; fp32 on a CPU, else bf16.")]
Classes = Annotated[
    int | None, typer.Option(help="Number of classes; the data's by default.", min=2)
]
DatasetName = Annotated[str | None, typer.Option("--dataset", help="shapes; with --data, camvid.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; torch's choice by default.")]
Workers = Annotated[
    int | None, typer.Option(help="Loading processes of the usual loop; one per core.", min=0)
]
Rounds = Annotated[int, typer.Option(help="Timed blocks of each side.", min=1)]
BlockSeconds = Annotated[float, typer.Option(help="Length of a block.", min=0.0)]


@dataclass(frozen=True)
class _Request:
    """The options that several commands share."""

    backbones: list[str] | None
    skip: str
    size: str | None
    batch: int | None
    precision: str | None
    classes: int | None
    device: str
    data: Path | None
    dataset: str | None
    threads: int | None = None

    @contextmanager
    def workloads(self) -> Iterator[tuple[Path, "Iterator[Workload]"]]:
        """Give a folder that is removed afterwards, and a workload for each backbone."""
        import torch

        from bench.profiles import parse_size
        from bench.run.environment import choose_device
        from bench.speed.workload import create_workload, open_data

        if self.threads:
            torch.set_num_threads(self.threads)
        on_cpu = choose_device(self.device).type == "cpu"
        size = parse_size(self.size or ("120x160" if on_cpu else "360x480"))
        dataset = self.dataset or ("camvid" if self.data else "shapes")
        with tempfile.TemporaryDirectory(prefix="fcn-bench-speed-") as name:
            pack = open_data(dataset, self.data, size, Path(name) / "store")
            yield (
                Path(name),
                (
                    create_workload(
                        pack,
                        backbone=backbone,
                        skip=self.skip,
                        size=size,
                        batch=self.batch or (4 if on_cpu else 16),
                        precision=self.precision or ("fp32" if on_cpu else "bf16"),
                        classes=self.classes,
                        device=self.device,
                    )
                    for backbone in self.backbones or BACKBONES
                ),
            )


@app.command()
def train(
    backbone: Backbones = None,
    skip: Skip = "fcn8s",
    size: Size = None,
    batch: Batch = None,
    precision: Precision = None,
    classes: Classes = None,
    device: Device = "auto",
    data: DataDir = None,
    dataset: DatasetName = None,
    threads: Threads = None,
    workers: Workers = None,
    rounds: Rounds = 5,
    block: BlockSeconds = 1.0,
    as_json: AsJson = False,
) -> None:
    """Time training steps: the limit, ours, and the usual loop."""
    from bench.speed.compare import compare_training

    request = _Request(
        backbone, skip, size, batch, precision, classes, device, data, dataset, threads
    )
    with request.workloads() as (scratch, workloads):
        effort = _effort(rounds, block, workers)
        records = [compare_training(workload, scratch, effort) for workload in workloads]
    _tell(_train_section(records), as_json)


@app.command()
def evaluate(
    backbone: Backbones = None,
    skip: Skip = "fcn8s",
    size: Size = None,
    precision: Precision = None,
    classes: Classes = None,
    device: Device = "auto",
    data: DataDir = None,
    dataset: DatasetName = None,
    threads: Threads = None,
    workers: Workers = None,
    rounds: Rounds = 5,
    block: BlockSeconds = 1.0,
    as_json: AsJson = False,
) -> None:
    """Time evaluation: ours against full-size logits, argmax and a matrix per batch."""
    from bench.speed.compare import compare_evaluation

    request = _Request(
        backbone, skip, size, None, precision, classes, device, data, dataset, threads
    )
    with request.workloads() as (scratch, workloads):
        effort = _effort(rounds, block, workers)
        records = [compare_evaluation(workload, scratch, effort) for workload in workloads]
    _tell(_evaluate_section(records), as_json)


def _train_section(records: list[dict[str, Any]]) -> "Section":
    from bench.speed.section import Section

    note = (
        "Milliseconds of a step, median and quartiles of the rounds. limit: forward, loss, "
        "backward and update on one batch that lies on the device. ours: the loop of a run, with "
        "packed pictures, augmentation, loss and log. usual: DataLoader with PIL transforms, "
        "interpolate, cross-entropy, .item(). Ratios are of speeds, round by round."
    )
    return Section("train", "Training steps", note, records)


def _evaluate_section(records: list[dict[str, Any]]) -> "Section":
    from bench.speed.section import Section

    note = (
        "Pictures per second, median and quartiles of passes over the test split. ours: what a run "
        "does at its end. usual: DataLoader, full-size logits, argmax, a matrix per batch."
    )
    return Section("evaluate", "Evaluation", note, records)


def _effort(rounds: int, block_seconds: float, workers: int | None) -> "Effort":
    from bench.speed.compare import Effort

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Effort(rounds, block_seconds, (cores or 1) if workers is None else workers)


def _tell(section: "Section", as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(section.to_json(), indent=1, ensure_ascii=False))
        return
    show(section.rows(), as_json=False)
