"""A head: a dilated 3 x 3 convolution before the scores, as `model.head: dilated`.

A head maps the deepest features to logits on a grid as coarse. It may use any windows and paddings:
where its cells sit in the image is worked out from them.

A question that uses it, in question.yaml:

```yaml
question: Does it help to see more of the neighbourhood before the classes are scored?
common:
  data: {dataset: shapes, options: {size: 64}}
  model: {backbone: resnet10t, skip: fcn16s, score_init: random}
  train: {steps: 300, batch_size: 8, optimizer: adamw, lr: 1e-3}
variants:
  linear: {model.head: linear}
  dilated: {model.head: dilated}
baseline: linear
```

```console
$ fcn-bench run question.yaml --plugin docs/examples/head.py
```
"""

from torch import nn

from fcn.heads import HEADS, ScoreInit, create_score

WIDTH = 128


@HEADS.register("dilated")
def create_dilated(
    channels: int, num_classes: int, *, dropout: float, score_init: ScoreInit
) -> nn.Module:
    """Return layers from features (N, channels, h, w) to logits (N, num_classes, h, w)."""
    return nn.Sequential(
        nn.Conv2d(channels, WIDTH, kernel_size=3, padding=2, dilation=2),
        nn.ReLU(),
        nn.Dropout(dropout),
        create_score(WIDTH, num_classes, score_init),
    )
