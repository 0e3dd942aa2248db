"""What a person asks to have measured, and the workloads that follow from it.

Sizes that are not given depend on the device: a CPU gets what it can do in minutes.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from bench.run.environment import choose_device
from bench.speed.compare import Effort
from bench.speed.memory import CLASSES
from bench.speed.workload import Workload, create_workload, open_data

BACKBONES = ("alexnet", "vgg16", "googlenet", "resnet50")
GROWN = "resnet50"
"""The backbone whose costs are followed as settings grow."""
MEMORY_SIZE = (512, 512)


@dataclass(frozen=True)
class Request:
    """Settings of a measurement; None leaves a choice to the device."""

    backbones: tuple[str, ...] | None = None
    skips: tuple[str, ...] = ("fcn8s",)
    sizes: tuple[tuple[int, int], ...] | None = None
    batch: int | None = None
    precision: str | None = None
    classes: int | None = None
    device: str = "auto"
    data: Path | None = None
    dataset: str | None = None
    workers: int | None = None
    rounds: int = 5
    block_seconds: float | None = None

    @property
    def effort(self) -> Effort:
        """How long is measured."""
        affinity = getattr(os, "sched_getaffinity", None)
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        workers = cores if self.workers is None else self.workers
        # What is timed shares a CPU with the rest of the machine, whose pace drifts within seconds.
        block_seconds = self.block_seconds or (0.25 if self.on_cpu else 1.0)
        return Effort(self.rounds, block_seconds, workers)

    @property
    def on_cpu(self) -> bool:
        """Whether the device is a CPU."""
        return choose_device(self.device).type == "cpu"

    @property
    def crops(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths of training crops."""
        return self.sizes or (((120, 160) if self.on_cpu else (360, 480)),)

    @property
    def batch_size(self) -> int:
        """Images in a batch."""
        return self.batch or (4 if self.on_cpu else 16)

    def workloads(self, scratch: Path) -> Iterator[Workload]:
        """Yield a workload for each size, backbone and skip; packs images into `scratch`."""
        dataset = self.dataset or ("camvid" if self.data else "shapes")
        for size in self.crops:
            pack = open_data(dataset, self.data, size, scratch / "store")
            for backbone, skip in product(self.backbones or BACKBONES, self.skips):
                yield create_workload(
                    pack,
                    backbone=backbone,
                    skip=skip,
                    size=size,
                    batch=self.batch_size,
                    precision=self.precision or ("fp32" if self.on_cpu else "bf16"),
                    classes=self.classes,
                    device=self.device,
                )

    def growing(self, scratch: Path) -> Iterator[Workload]:
        """Yield workloads in which the size, the classes, then the batch grow, each alone."""
        one = replace(self, backbones=self.backbones or (GROWN,))
        requests = [
            replace(
                one, sizes=tuple((k * height // 2, k * width // 2) for height, width in self.crops)
            )
            for k in (1, 2, 3, 4)
        ]
        requests += [replace(one, classes=classes) for classes in CLASSES]
        requests += [replace(one, batch=self.batch_size * k) for k in (2, 4)]
        for request in requests:
            yield from request.workloads(scratch)

    def by_classes(self, scratch: Path) -> Iterator[Workload]:
        """Yield workloads whose peak memory is measured, by the number of classes."""
        usual = (GROWN,) if self.on_cpu else BACKBONES
        one = replace(
            self,
            backbones=self.backbones or usual,
            sizes=self.sizes or (MEMORY_SIZE,),
            batch=self.batch or (2 if self.on_cpu else 16),
        )
        for classes in (self.classes,) if self.classes else CLASSES:
            yield from replace(one, classes=classes).workloads(scratch)
