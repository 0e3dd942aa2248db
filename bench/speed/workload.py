"""What all sides of a comparison share: the run's settings, the images, the device.

In: names and sizes. Out: a `Workload`, from which each side builds the same network.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bench.data.catalog import Catalog
from bench.data.layers import Target
from bench.data.packs.pack import Pack
from bench.run.environment import choose_device, configure_torch
from bench.spec import DataSpec, EvaluateSpec, ModelSpec, RunSpec, TrainSpec
from bench.store.runs import Store
from fcn.model import Network, create_model

ENDLESS = 10**6
"""Steps of a training that is measured and never ends."""

NUM_DRAWN = 64
"""Images of each split where they are drawn."""


@dataclass(frozen=True)
class Workload:
    """One network over one dataset on one device."""

    spec: RunSpec
    pack: Pack
    num_classes: int
    """Channels of the logits; may be more than the labels use."""
    device: torch.device

    def on_disk(self) -> tuple[Path, RunSpec, int, str]:
        """Return what `from_disk` takes: images by the folder they are packed in."""
        return self.pack.folder, self.spec, self.num_classes, str(self.device)

    @classmethod
    def from_disk(cls, folder: Path, spec: RunSpec, num_classes: int, device: str) -> "Workload":
        """Open a workload in another process."""
        return cls(spec, Pack(folder), num_classes, torch.device(device))

    def with_train(self, **settings: Any) -> "Workload":
        """Return the workload with other values under `train`."""
        train = self.spec.train.model_copy(update=settings)
        return replace(self, spec=self.spec.model_copy(update={"train": train}))

    @property
    def targets(self) -> tuple[Target]:
        """The mask, with as many classes as the network has."""
        names = tuple(str(c) for c in range(self.num_classes))
        return (replace(self.pack.targets[0], class_names=names),)

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of images and convolutions."""
        return torch.channels_last if self.spec.train.channels_last else torch.contiguous_format

    def create_network(self) -> Network:
        """Create the network, with the same weights each time, as a run does."""
        torch.manual_seed(self.spec.seed)
        model = create_model(**self.spec.model.model_dump(), num_classes=self.num_classes)
        return model.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def wait(self) -> None:
        """Return when the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def open_data(dataset: str, data: Path | None, size: tuple[int, int], scratch: Path) -> Pack:
    """Pack a dataset into a scratch store; `shapes` is drawn as large as `size`."""
    options: dict[str, int | float | str | bool] = {}
    if dataset == "shapes":
        options = {"size": max(size), "num_train": NUM_DRAWN, "num_val": 1, "num_test": NUM_DRAWN}
    return Catalog(Store(scratch), data).pack(DataSpec(dataset=dataset, options=options))


def create_workload(
    pack: Pack,
    *,
    backbone: str,
    skip: str,
    size: tuple[int, int],
    batch: int,
    precision: str,
    classes: int | None,
    device: str,
) -> Workload:
    """Put a workload together.

    Args:
        pack: The images.
        backbone: Any timm name.
        skip: Skip strategy.
        size: Height and width of a training crop.
        batch: Images in a batch.
        precision: "fp32" or "bf16".
        classes: Number of classes; None for that of the images.
        device: As torch spells it, or "auto".

    Raises:
        InputError: A name is unknown, or the device is not there.
    """
    chosen = choose_device(device)
    if chosen.type == "cuda":  # as in a run of fixed crops, for all sides
        configure_torch(None, deterministic=False, benchmark=True)
    train = {"steps": ENDLESS, "batch_size": batch, "crop": size, "scale": (0.5, 2.0)}
    spec = RunSpec(
        model=ModelSpec(backbone=backbone, skip=skip, score_init="random"),
        train=TrainSpec.model_validate({**train, "precision": precision, "lr": 1e-3}),
        evaluate=EvaluateSpec(split="test"),
    )
    return Workload(spec, pack, classes or pack.num_classes, chosen)
