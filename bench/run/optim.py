"""Optimisers, and the learning rate as a pure function of the step."""

import math

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from bench.run.ema import keep_ema
from bench.spec import TrainSpec


def create_optimizer(model: nn.Module, train: TrainSpec) -> Optimizer:
    """Create the optimiser of `train`; vectors (biases, norms) are not decayed.

    With `train.ema_decay` it keeps a moving average of the parameters too.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer: Optimizer
    if train.optimizer == "adamw":
        optimizer = AdamW(groups, lr=train.lr, betas=(train.momentum, 0.999))
    else:
        optimizer = SGD(groups, lr=train.lr, momentum=train.momentum)
    keep_ema(optimizer, train)
    return optimizer


def lr_at(step: int, train: TrainSpec) -> float:
    """Learning rate of a step.

    Args:
        step: The step, from 1 to `train.steps`.
        train: Settings; `steps` must be resolved.
    """
    assert train.steps is not None
    if step <= train.warmup_steps:
        return train.lr * step / train.warmup_steps
    done = (step - 1 - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
    if train.schedule == "poly":
        return float(train.lr * (1 - done) ** train.power)
    if train.schedule == "cosine":
        return train.lr * (1 + math.cos(math.pi * done)) / 2
    return train.lr
