"""A backbone: five plain stages of convolutions, as `model.backbone: plain_stages`.

Any network in timm's registry is a backbone. One of your own needs `feature_info`: which layers
give features, with how many channels, and at which stride. An FCN takes its skips from these.

A question that uses it, in question.yaml:

```yaml
question: Do residual connections help a network of this size, trained from scratch?
common:
  data: {dataset: shapes, options: {size: 64}}
  model: {skip: fcn8s, score_init: random}
  train: {steps: 300, batch_size: 8, optimizer: adamw, lr: 1e-3}
variants:
  plain: {model.backbone: plain_stages}
  residual: {model.backbone: resnet10t}
baseline: plain
```

```console
$ fcn-bench run question.yaml --plugin docs/examples/backbone.py
```
"""

from collections import OrderedDict
from typing import Any

import timm
from torch import nn

WIDTHS = (16, 32, 64, 128, 256)
"""Channels of the features, from stride 2 to stride 32."""


class PlainStages(nn.Sequential):
    """Stages that halve the grid one after the other: (N, in_chans, H, W) to (N, 256, H/32, W/32).

    Args:
        num_classes: Of a classifier, which this network has none of; timm gives it to every one.
        in_chans: Channels of the images.
    """

    def __init__(self, num_classes: int = 0, in_chans: int = 3) -> None:
        pairs = zip((in_chans, *WIDTHS), WIDTHS, strict=False)
        stages = {f"stage{i}": create_stage(*pair) for i, pair in enumerate(pairs)}
        super().__init__(OrderedDict(stages))
        self.feature_info = [
            {"module": name, "num_chs": width, "reduction": 2 ** (i + 1)}
            for i, (name, width) in enumerate(zip(stages, WIDTHS, strict=True))
        ]


def create_stage(channels: int, width: int) -> nn.Sequential:
    """Return two 3 x 3 convolutions, the first with stride 2."""
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


@timm.models.register_model
def plain_stages(pretrained: bool = False, **settings: Any) -> nn.Module:
    """Build the network, or its features alone, as `timm.create_model` asks for it."""
    features = {"out_indices": (0, 1, 2, 3, 4)}
    return timm.models.build_model_with_cfg(
        PlainStages, "plain_stages", pretrained, feature_cfg=features, **settings
    )
