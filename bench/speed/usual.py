"""The usual loop: torchvision's reference script as it is, and the same at its best.

A DataLoader with a worker per core, logits interpolated to full size, cross-entropy, `.item()` at
each step, convolutions chosen by trial (`cudnn.benchmark`). Network, precision and optimiser are
ours, so that what differs is the loop. At its best the script has besides what people who know
their GPU add: pinned memory, copies that do not block, the layout of channels last, and images
scored in batches; as it is, it has none of these and scores one image at a time.
"""

import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import PolynomialLR
from torch.utils.data import DataLoader, RandomSampler

from bench.run.evaluate_split import BATCH_SIZE
from bench.run.optim import create_optimizer
from bench.run.train import autocast
from bench.speed.image_files import (
    EvaluateTransform,
    FileDecoded,
    Files,
    TrainTransform,
    write_files,
)
from bench.speed.workload import ENDLESS, Workload
from fcn.model import FCN, Network

PREFETCH = 2
"""Batches that each worker holds ready: torch's default."""


class Interpolation(nn.Module):
    """The last way up as everyone writes it: coarse logits to the pixels by `interpolate`."""

    def forward(self, logits: Tensor, size: tuple[int, int], cells: tuple[int, int]) -> Tensor:
        """Return logits (N, C, *size)."""
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


class UsualLoop:
    """Training as usual, a step at a time.

    Args:
        workload: What is trained.
        folder: Where the images are written as files.
        workers: Processes that load them; 0 loads them here.
        as_it_is: The script as it is, and not at its best.
        total_steps: Steps over which the rate falls.
        interpolated: Whether logits reach the pixels by `interpolate`, as in the script, or by the
            network's own way: where its finest grid reaches beyond the image, the script's is off
            by more the larger the image, which costs no time but score.
    """

    def __init__(
        self,
        workload: Workload,
        folder: Path,
        workers: int,
        *,
        as_it_is: bool = False,
        total_steps: int | None = None,
        interpolated: bool = True,
    ) -> None:
        self._workload = workload = _laid_out(workload, as_it_is)
        self._pinned = workload.device.type == "cuda" and not as_it_is
        model = workload.create_network()
        self.model = (with_interpolation(model) if interpolated else model).train()
        self._optimizer = create_optimizer(self.model, workload.spec.train)
        self._schedule = PolynomialLR(
            self._optimizer, total_iters=total_steps or ENDLESS, power=0.9
        )
        files = self._open_files(folder)
        batch_size = workload.spec.train.batch_size
        start = time.perf_counter()
        for i in range(batch_size):
            files[i % len(files)]
        self._refill_seconds = 1.5 * PREFETCH * (time.perf_counter() - start) if workers else 0.0
        loader = DataLoader(
            files,
            batch_size,
            sampler=RandomSampler(files, num_samples=ENDLESS * batch_size),
            num_workers=workers,
            prefetch_factor=PREFETCH if workers else None,
            pin_memory=self._pinned,
            drop_last=True,
        )
        self.num_ready = PREFETCH * workers
        """Batches that are loaded ahead: a timed block must not begin with them."""
        self._batches = iter(loader)

    def step(self) -> float:
        """Make one step and return its loss."""
        images, target = to_device(next(self._batches), self._workload, pinned=self._pinned)
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            with autocast(images.device, self._workload.spec.train.precision):
                logits = self.model(images)
                loss = F.cross_entropy(
                    logits, target, ignore_index=self._workload.pack.ignore_index
                )
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._schedule.step()
        return loss.item()

    def settle(self) -> None:
        """Wait until the workers have loaded ahead what they may, so that others are timed alone.

        A worker refills its share one batch after another; the time of one was measured.
        """
        time.sleep(self._refill_seconds)

    def _open_files(self, folder: Path) -> Files:
        pack, train = self._workload.pack, self._workload.spec.train
        assert train.crop is not None
        transform = TrainTransform(
            train.crop, train.scale, self.model.mean, self.model.std, pack.ignore_index
        )
        return Files(write_files(pack, train.split, folder), transform)


class UsualEvaluation:
    """Evaluation as usual: full-size logits, argmax, a confusion matrix that batches add to.

    Args:
        workload: What is evaluated.
        model: The network; its last way up is used as it is.
        folder: Where the images are written as files.
        workers: Processes that load them, kept between passes; 0 loads them here.
        suffix: Kind of file; ".png" keeps every pixel.
        as_it_is: The script as it is, and not at its best.
    """

    def __init__(
        self,
        workload: Workload,
        model: Network,
        folder: Path,
        workers: int,
        *,
        suffix: str = ".jpg",
        as_it_is: bool = False,
    ) -> None:
        self._workload = workload = _laid_out(workload, as_it_is)
        self.model = model.to(memory_format=workload.memory_format)
        self._pinned = workload.device.type == "cuda" and not as_it_is
        pack, split = workload.pack, workload.spec.evaluate.split
        files = Files(
            write_files(pack, split, folder, suffix=suffix),
            EvaluateTransform(model.mean, model.std),
        )
        of_one_size = len({pack.size(i) for i in pack.indices(split)}) == 1
        self._loader: DataLoader[FileDecoded] = DataLoader(
            files,
            BATCH_SIZE if of_one_size and not as_it_is else 1,
            num_workers=workers,
            prefetch_factor=PREFETCH if workers else None,
            persistent_workers=workers > 0,
            pin_memory=self._pinned,
        )

    def run(self) -> Tensor:
        """Score every image of the split once; return the counts, (C, C) int64."""
        device, C = self._workload.device, self._workload.num_classes
        ignore_index = self._workload.pack.ignore_index
        confusion = torch.zeros(C, C, dtype=torch.int64, device=device)
        self.model.eval()
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=True),
        ):
            for batch in self._loader:
                images, target = to_device(batch, self._workload, pinned=self._pinned)
                with autocast(device, self._workload.spec.train.precision):
                    logits = self.model(images)
                confusion += count_all(logits.argmax(1), target, C, ignore_index)
        return confusion.cpu()


def to_device(batch: FileDecoded, workload: Workload, *, pinned: bool) -> FileDecoded:
    """Copy a batch to the device in the network's memory layout; pinned, without waiting."""
    layout = workload.memory_format
    images = batch[0].to(workload.device, non_blocking=pinned, memory_format=layout)
    return images, batch[1].to(workload.device, non_blocking=pinned)


def count_all(pred: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Count pixels of a batch by (target class, predicted class), (C, C) int64."""
    labelled = target != ignore_index
    cells = num_classes * target[labelled] + pred[labelled]
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def _laid_out(workload: Workload, as_it_is: bool) -> Workload:
    """Return a workload with the memory layout of the script, which is torch's own, or of ours."""
    return workload.with_train(channels_last=workload.spec.train.channels_last and not as_it_is)


def with_interpolation(model: Network) -> Network:
    """Have a network interpolate its logits to the pixels as everyone does; changes it."""
    if isinstance(model, FCN):
        model.upsampling = Interpolation()
    return model
