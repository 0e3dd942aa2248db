"""One run over several processes: shares of a batch, sums over all, and DDP around the loss.

Every process draws the same batches and takes its share of each; losses are divided by what the
whole batch weighs, gradients and batch norm are those of the whole batch. So a step is that of a
single process but for rounding and for dropout, which draws from a stream of its own in each.
The first process alone writes: log, checkpoints, results.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bench.run.batch_norm import GroupedBatchNorm, require_known_statistics
from bench.spec import TrainSpec


@dataclass(frozen=True)
class Group:
    """The processes of one run, seen from one of them."""

    rank: int = 0
    """Number of this process."""
    size: int = 1
    """Number of processes."""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over all processes, in place, and return it."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Say whether the flag is set in any process; each gets the same answer."""
        return bool(self.sum(torch.tensor(int(flag)))) if self.size > 1 else flag

    def notes(self, dropout: float) -> tuple[str, ...]:
        """Say what a reader of the result must know."""
        if self.size == 1:
            return ()
        but = "rounding and dropout, which draws apart in each" if dropout else "rounding"
        return (f"trained by {self.size} processes: as by one but for {but}",)

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Let the first process through the block before the others: downloads, repairs."""
        if not self.is_first:
            self.any(False)
        yield
        if self.is_first:
            self.any(False)


ALONE = Group()
"""The group of a run that is one process."""


@contextmanager
def joined(rank: int, size: int, device: torch.device) -> Iterator[Group]:
    """Join the run's other processes, which torchrun started and told how to meet."""
    if size == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine: no name to look up
    # Flags and counts live on the CPU also where gradients do not.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    assert (dist.get_rank(), dist.get_world_size()) == (rank, size)
    yield Group(rank, size)
    dist.destroy_process_group()  # after an error the others may be gone: the process just ends


class SharedLoss:
    """The loss of a network on batches of which each process has a share.

    Args:
        model: The network; its parameters become those of the first process.
        loss_fn: (images, target) of the share -> the share's part of the batch's loss.
        train: Takes `batch_size` and `batch_norm_groups` from it.
        group: The processes.

    Raises:
        InputError: A layer's statistics cannot be those of the batch, or of its groups.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Callable[[Tensor, Tensor], Tensor],
        train: TrainSpec,
        group: Group,
    ) -> None:
        self._loss: nn.Module = _Loss(model, loss_fn)
        self._norm: AbstractContextManager[object] = nullcontext()
        self._group = group
        if group.size > 1:
            # Looking for unused parameters is needed by backbones of which an FCN uses a part. It
            # also keeps the buckets as they are: a resumed run adds up in the same order.
            self._loss = DistributedDataParallel(self._loss, find_unused_parameters=True)
        if group.size > 1 or train.batch_norm_groups > 1:
            require_known_statistics(model)
            self._norm = GroupedBatchNorm(
                *(train.batch_size, train.batch_norm_groups, (group.rank, group.size), group.sum)
            )

    def __call__(self, images: Tensor, target: Tensor) -> Tensor:
        """Return this process's part of the loss, (); the parts of all add up to it."""
        with self._norm:
            loss: Tensor = self._loss(images, target)
        return loss

    def backward(self, loss: Tensor) -> None:
        """Add the gradient to the parameters' own; on the last of a step's batches, everyone's."""
        (loss * self._group.size).backward()  # type: ignore[no-untyped-call]  # DDP takes the mean

    def accumulating(self, is_last: bool) -> AbstractContextManager[object]:
        """Return the context of forward and backward of a batch, the last of its step or not."""
        if isinstance(self._loss, DistributedDataParallel) and not is_last:
            return self._loss.no_sync()
        return nullcontext()


class _Loss(nn.Module):
    """Network and loss as one module: DDP follows what is called through its forward alone."""

    def __init__(self, model: nn.Module, loss_fn: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self._loss_fn = loss_fn

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        return self._loss_fn(images, target)
