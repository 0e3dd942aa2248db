"""A loss, a schedule and an augmentation of one's own: poly-1, a triangle, and fog.

A question, in question.yaml, that uses the three:

```yaml
question: Do a loss, a schedule and an augmentation of my own help?
common:
  data: {dataset: shapes, options: {size: 64}}
  model: {backbone: resnet10t, score_init: random}
  train: {steps: 300, batch_size: 8, crop: [64, 64], optimizer: adamw, lr: 1e-3}
variants:
  usual: {}
  loss: {train.loss: poly1(epsilon=2)}
  schedule: {train.schedule: triangle}
  fog: {train.augment: [Fog(most=0.5)]}
baseline: usual
```

```console
$ fcn-bench run question.yaml --plugin docs/examples/levers.py
```
"""

import torch

from bench.data.augmentations import AUGMENTATIONS
from bench.run.losses import LOSSES, PerPixel
from bench.run.schedules import SCHEDULES


@LOSSES.register("poly1")
@PerPixel
def poly1(logits: torch.Tensor, classes: torch.Tensor, *, epsilon: float = 1.0) -> torch.Tensor:
    """Cross-entropy plus epsilon times (1 - p), by pixel (Leng et al., 2022, arXiv:2204.12511)."""
    log_p = logits.log_softmax(1).gather(1, classes[:, None])[:, 0]
    return epsilon * (1 - log_p.exp()) - log_p


@SCHEDULES.register("triangle")
def triangle(step: int, steps: int) -> float:
    """Rise to the learning rate until half of the steps are done, and fall to 0."""
    return 1 - abs(2 * (step + 1) / steps - 1)


@AUGMENTATIONS.register("Fog")
def create_fog(*, most: float = 0.5):
    """Return a transform that mixes an image with white, by at most that share."""

    def fog(image, maps):
        share = most * torch.rand(())
        return (image * (1 - share) + 255 * share).to(torch.uint8), maps

    return fog
