"""Loss scale: the loss of fp16 scaled up, so that no small gradient is lost.

After gradients that are not finite it goes down, and their step is left out.
The scale lives in the optimiser's first group, so that checkpoints hold it as they hold momentum.

Reference: Micikevicius et al., 2018, section 3.2, arXiv:1710.03740; the arithmetic is torch's.
"""

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from bench.spec import TrainSpec

START = 2.0**16
"""torch's own."""

_SCALE, _STEPS = "loss_scale", "loss_scale_steps"


class LossScale:
    """Scales losses, and makes the steps that they allow; in other precisions it does nothing.

    Args:
        optimizer: Holds the scale that a checkpoint had.
        train: Takes `precision` from it.
        device: Where losses are.
    """

    def __init__(self, optimizer: Optimizer, train: TrainSpec, device: torch.device) -> None:
        self._optimizer = optimizer
        self._scaler = GradScaler(device.type, init_scale=START, enabled=train.precision == "fp16")
        if self._scaler.is_enabled():
            group = optimizer.param_groups[0]
            state = {"scale": group.get(_SCALE, START), "_growth_tracker": group.get(_STEPS, 0)}
            self._scaler.load_state_dict({**self._scaler.state_dict(), **state})

    def __call__(self, loss: Tensor) -> Tensor:
        """Return a loss as it goes backward."""
        return self._scaler.scale(loss) if self._scaler.is_enabled() else loss

    def unscale(self) -> None:
        """Give gradients their size, to be clipped."""
        if self._scaler.is_enabled():
            self._scaler.unscale_(self._optimizer)

    def step(self) -> None:
        """Make the optimiser's step, unless a gradient is not finite."""
        if not self._scaler.is_enabled():
            self._optimizer.step()
            return
        self._scaler.step(self._optimizer)
        self._scaler.update()
        state = self._scaler.state_dict()
        new = {_SCALE: float(state["scale"]), _STEPS: int(state["_growth_tracker"])}
        self._optimizer.param_groups[0].update(new)
