"""The one training loop: a generator that makes a step and yields its log.

Everything random in step k is drawn from (seed, k), so a loop that starts at step k+1 from a
checkpoint of step k goes on with the same bits as one that was never stopped.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.run.distributed import ALONE, Group, SharedLoss
from bench.run.freezing import Freezer
from bench.run.loss_scale import LossScale
from bench.run.outcome import NonFiniteLossError
from bench.run.rates import Rates
from bench.run.replay import Replay, find_recorder
from bench.spec import TrainSpec
from fcn.model import Network


class BatchSource(Protocol):
    """Where batches come from: a pure function of the batch's number."""

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Return images (N, K, H, W) and target (N, H, W), or (N, T, H, W) of T targets."""
        ...


@dataclass(frozen=True)
class StepLog:
    """What one step did."""

    step: int
    """Number of the step, from 1."""
    loss: Tensor
    """Mean loss of the step's whole batches, (), still on the device: reading it would wait."""
    lr: float
    """Learning rate of the step."""


def fit(
    model: nn.Module,
    batches: BatchSource,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    optimizer: Optimizer,
    train: TrainSpec,
    *,
    seed: int,
    after: int = 0,
    group: Group = ALONE,
) -> Iterator[StepLog]:
    """Train up to `train.steps`, yielding a log after each step.

    Args:
        model: Network on its device.
        batches: Source of batches; step k uses batches (k-1)*n to k*n - 1, n = grad_accum_steps.
        loss_fn: (images, target) -> loss of the model.
        optimizer: Holds the model's parameters.
        train: Settings; `steps` must be resolved.
        seed: The run's seed.
        after: Step already made (that of the checkpoint); 0 for a fresh start.
        group: The processes that share each batch.
    """
    assert train.steps is not None
    freezer = Freezer(model, train)
    freezer.set_step(after + 1)
    shared = SharedLoss(model, loss_fn, train, group)
    device = next(model.parameters()).device
    scale = LossScale(optimizer, train, device)
    rates = Rates(optimizer, train, device)

    def make_step(given: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        losses = []
        for number, (images, target) in enumerate(given, start=1):
            with shared.accumulating(is_last=number == train.grad_accum_steps):
                with autocast(images.device, train.precision):
                    loss = shared(images, target) / train.grad_accum_steps
                shared.backward(scale(loss))
            losses.append(loss.detach())
        if train.clip_grad_norm is not None:
            scale.unscale()
            nn.utils.clip_grad_norm_(model.parameters(), train.clip_grad_norm)
        scale.step()
        return torch.stack(losses).sum()

    replay = Replay(make_step, find_recorder(optimizer, train, device, group.size))
    for step in range(after + 1, train.steps + 1):
        if not model.training:  # the caller may have evaluated since the last step
            model.train()
            freezer.hold_statistics()
        if freezer.set_step(step):  # of several processes, all must learn whose gradients come
            shared = SharedLoss(model, loss_fn, train, group)
            replay.forget()
        seed_step(seed, step, device, group.rank)
        lr = rates.set(step)
        numbers = range((step - 1) * train.grad_accum_steps, step * train.grad_accum_steps)
        loss = replay(batches.batch(k) for k in numbers)
        yield StepLog(step=step, loss=group.sum(loss), lr=lr)


def place(model: Network, train: TrainSpec, device: torch.device) -> None:
    """Move a network to a device, in the memory layout of its run, which decides the last bits."""
    layout = torch.channels_last if train.channels_last else torch.contiguous_format
    model.to(device=device, memory_format=layout)  # type: ignore[call-overload]


def require_finite(model: nn.Module) -> None:
    """See that training has left numbers: a loss is that of the weights before its step.

    Raises:
        NonFiniteLossError: A weight is NaN or infinite.
    """
    named = dict(model.named_parameters())
    finite = torch.stack([weight.isfinite().all() for weight in named.values()])  # waits once
    for name, is_finite in zip(named, finite.tolist(), strict=True):
        if not is_finite:
            raise NonFiniteLossError(
                f"{name} is NaN or infinite after the last step; lower train.lr, raise "
                "train.warmup_steps, or set train.clip_grad_norm"
            )


def seed_step(seed: int, step: int, device: torch.device, rank: int = 0) -> None:
    """Set torch's generators (dropout) to a state that depends on (seed, step, rank) alone.

    Rank 0 draws what a single process draws: numpy's entropy is filled up with zeros.
    """
    entropy = np.random.SeedSequence([seed, step, rank])
    drawn = int(entropy.generate_state(1, np.uint64)[0])
    # Those of the run alone: torch.manual_seed goes through every kind of device, and keeps a trace
    # of who seeded those that are not there, 0.3 ms a step.
    torch.default_generator.manual_seed(drawn)
    if device.type == "cuda":
        own = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[own].manual_seed(drawn)
    elif device.type == "mps":
        torch.mps.manual_seed(drawn)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context of `train.precision`: autocast to bf16 or fp16, or nothing."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision in ("bf16", "fp16"))
