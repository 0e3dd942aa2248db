"""Rates: what changes from step to step, put where an optimiser reads it.

Learning rates and the decay of the average are numbers on a CPU. Where a step is one kernel that
reads them on the device (`fused`), they are tensors that stay where they are: the device is not
waited for, and a step can be replayed (`bench.run.replay`).
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from bench.run.ema import decay_at
from bench.run.schedules import lr_at
from bench.spec import TrainSpec


def fuse(optimizer: Optimizer) -> None:
    """Have torch's own SGD and AdamW make a step in one kernel, with rates on the device."""
    if type(optimizer) not in (SGD, AdamW):
        return
    for group in optimizer.param_groups:
        group.update(fused=True, foreach=False)
        if "capturable" in group:
            group["capturable"] = True
    if isinstance(optimizer, SGD):
        optimizer.register_step_pre_hook(_begin_momentum)


def _begin_momentum(optimizer: Optimizer, *_: Any) -> None:
    """Give momentum to parameters that have none yet.

    The kernel takes that of all of a group or of none: it knows no part that trains later.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            if parameter.grad is not None and "momentum_buffer" not in optimizer.state[parameter]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


class Rates:
    """Sets the rates of an optimiser, step by step; changes its groups.

    Args:
        optimizer: Whose checkpoint, if any, is loaded: that puts other groups in place.
        train: Settings.
        device: Where the parameters are.
    """

    def __init__(self, optimizer: Optimizer, train: TrainSpec, device: torch.device) -> None:
        self._optimizer, self._train = optimizer, train
        self._kept: list[tuple[Tensor, Tensor]] = []
        if all(group.get("fused") for group in optimizer.param_groups):
            for group in optimizer.param_groups:
                self._kept.append((torch.zeros((), device=device), torch.zeros((), device=device)))
                group["lr"], group["ema_decay"] = self._kept[-1]

    def set(self, step: int) -> float:
        """Set the rates of a step, from 1, and return its learning rate without factors."""
        lr, decay = lr_at(step, self._train), decay_at(step, self._train)
        for i, group in enumerate(self._optimizer.param_groups):
            own = lr * group.get("lr_scale", 1.0)
            if self._kept:
                self._kept[i][0].fill_(own)
                self._kept[i][1].fill_(decay)
            else:
                group.update(lr=own, ema_decay=decay)
        return lr
