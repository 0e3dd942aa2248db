"""A fusion, an upsampling and an optimiser of one's own: a mean, a softened one, and sign descent.

A question, in question.yaml, that uses the three:

```yaml
question: Do a fusion, an upsampling and an optimiser of my own help?
common:
  data: {dataset: shapes, options: {size: 64}}
  model: {backbone: resnet10t, score_init: random}
  train: {steps: 300, batch_size: 8, crop: [64, 64], optimizer: adamw, lr: 1e-3}
variants:
  usual: {}
  fusion: {model.fusion: mean}
  upsampling: {model.upsampling: softened}
  optimizer: {train.optimizer: signs(beta=0.9), train.lr: 3e-4}
baseline: usual
```

```console
$ fcn-bench run question.yaml --plugin docs/examples/joints.py
```
"""

import torch
from torch import nn

from bench.run.optim import OPTIMIZERS
from fcn.fusions import FUSIONS
from fcn.upsampling import UPSAMPLINGS, FixedUpsampling


@FUSIONS.register("mean")
class MeanFusion(nn.Module):
    """The mean of coarse and fine logits."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, coarser: torch.Tensor, finer: torch.Tensor) -> torch.Tensor:
        """Return logits like `finer`, from two of one shape (N, C, h, w)."""
        return (coarser + finer) / 2


@UPSAMPLINGS.register("softened")
class Softened(FixedUpsampling):
    """Bilinear, and then a convolution of each channel by itself, which starts as nothing."""

    def __init__(self, channels: int, from_grid, to_grid) -> None:
        super().__init__(from_grid, to_grid)
        self.soften = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        nn.init.dirac_(self.soften.weight, groups=channels)

    def forward(self, logits, size, cells=None):
        """Return logits of `size` (H, W), as `FixedUpsampling` places them."""
        return self.soften(super().forward(logits, size, cells))


@OPTIMIZERS.register("signs")
class Signs(torch.optim.Optimizer):
    """Steps of one length along the sign of the mean gradient."""

    def __init__(self, groups, lr: float, *, beta: float = 0.9) -> None:
        super().__init__(groups, {"lr": lr, "beta": beta, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        """Make one step; the means are part of the state, so a checkpoint has them."""
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is None:
                    continue
                state = self.state[weights]
                mean = state.setdefault("mean", torch.zeros_like(weights))
                mean.lerp_(weights.grad, 1 - group["beta"])
                weights.mul_(1 - group["lr"] * group["weight_decay"])
                weights.sub_(mean.sign(), alpha=group["lr"])
