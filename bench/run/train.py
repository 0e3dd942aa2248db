"""The one training loop: a generator that makes a step and yields its log.

Everything random in step k is drawn from (seed, k), so a loop that starts at step k+1 from a
checkpoint of step k goes on with the same bits as one that was never stopped.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.run.average import decay_at
from bench.run.optim import lr_at
from bench.spec import TrainSpec


class BatchSource(Protocol):
    """Where batches come from: a pure function of the batch's number."""

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Return images (N, 3, H, W) and target (N, H, W)."""
        ...


@dataclass(frozen=True)
class StepLog:
    """What one step did."""

    step: int
    """Number of the step, from 1."""
    loss: Tensor
    """Mean loss of the step's batches, (), still on the device: reading it would wait for it."""
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
) -> Iterator[StepLog]:
    """Train up to `train.steps`, yielding a log after each step.

    Args:
        model: Network on its device.
        batches: Source of batches; step k uses batches (k-1)*accumulate to k*accumulate - 1.
        loss_fn: (images, target) -> loss of the model.
        optimizer: Holds the model's parameters.
        train: Settings; `steps` must be resolved.
        seed: The run's seed.
        after: Step already made (that of the checkpoint); 0 for a fresh start.
    """
    assert train.steps is not None
    for step in range(after + 1, train.steps + 1):
        model.train()  # the caller may have evaluated since the last step
        seed_step(seed, step)
        lr = lr_at(step, train)
        for group in optimizer.param_groups:
            group.update(lr=lr, ema_decay=decay_at(step, train))

        optimizer.zero_grad(set_to_none=True)
        losses = []
        for k in range((step - 1) * train.accumulate, step * train.accumulate):
            images, target = batches.batch(k)
            with autocast(images.device, train.precision):
                loss = loss_fn(images, target) / train.accumulate
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())

        if train.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), train.clip_grad_norm)
        optimizer.step()
        yield StepLog(step=step, loss=torch.stack(losses).sum(), lr=lr)


def seed_step(seed: int, step: int) -> None:
    """Set torch's global generators (dropout) to a state that depends on (seed, step) alone."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context of `train.precision`: autocast to bf16, or nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
