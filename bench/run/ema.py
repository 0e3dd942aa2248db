"""Averaged weights: an exponential moving average of the parameters, for evaluation.

The average lives in the optimiser's state, so that checkpoints hold it as they hold momentum.
torch's AveragedModel and timm's ModelEmaV3 keep a second network beside it; of torch's is the
arithmetic alone.
Running statistics of batch norms are moving averages already and stay as they are.

Reference: Polyak and Juditsky, 1992; the warm-up of the decay is that of TensorFlow's
ExponentialMovingAverage.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bench.spec import TrainSpec

_AVERAGE = "average"


def keep_ema(optimizer: Optimizer, train: TrainSpec) -> None:
    """Have an optimiser update the average after each of its steps, where `train` asks for one."""
    if train.ema_decay:
        optimizer.register_step_post_hook(_update)


def decay_at(step: int, train: TrainSpec) -> float:
    """Share of the average that a step leaves as it was, rising to `train.ema_decay`.

    Args:
        step: The step, from 1.
        train: Settings.
    """
    return min(train.ema_decay, (1 + step) / (10 + step))


@contextmanager
def ema_applied(optimizer: Optimizer) -> Iterator[None]:
    """Put the averages in the place of the parameters for a while; without averages, do nothing."""
    swap_ema(optimizer)
    try:
        yield
    finally:
        swap_ema(optimizer)


def swap_ema(optimizer: Optimizer) -> None:
    """Exchange parameters and averages, in place."""
    for parameter in _parameters(optimizer):
        average = optimizer.state[parameter].get(_AVERAGE)
        if average is not None:
            current = parameter.detach().clone()
            parameter.data.copy_(average)
            average.copy_(current)


def _update(optimizer: Optimizer, *_: Any) -> None:
    moved = [p for p in _parameters(optimizer) if p.grad is not None]
    for parameter in moved:
        if _AVERAGE not in optimizer.state[parameter]:
            optimizer.state[parameter][_AVERAGE] = parameter.detach().clone()
    averages = [optimizer.state[parameter][_AVERAGE] for parameter in moved]
    decay = optimizer.param_groups[0]["ema_decay"]
    if isinstance(decay, Tensor):
        _average_by(decay, averages, moved)
    else:
        get_ema_multi_avg_fn(decay)(averages, moved, None)  # type: ignore[no-untyped-call]


@torch.no_grad()
def _average_by(decay: Tensor, averages: list[Tensor], moved: list[Tensor]) -> None:
    """Move the averages by a decay that lies on the device, and is not read here."""
    differences = torch._foreach_sub(moved, averages)
    torch._foreach_mul_(differences, 1 - decay)
    torch._foreach_add_(averages, differences)


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
