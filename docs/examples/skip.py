"""A skip strategy: stride 8 fused straight into stride 32, as `model.skip: fcn8s_direct`.

FCN-8s fuses the features of stride 16 and then those of stride 8. A strategy is data: the strides
of the finer features, from coarse to fine, and what `SkipStrategy` in `fcn/skips.py` has besides.

A question that uses it, in question.yaml:

```yaml
question: Is the skip at stride 16 needed, once there is one at stride 8?
common:
  data: {dataset: shapes, options: {size: 64}}
  model: {backbone: resnet10t, score_init: random}
  train: {steps: 300, batch_size: 8, optimizer: adamw, lr: 1e-3}
variants:
  both: {model.skip: fcn8s}
  stride_8_alone: {model.skip: fcn8s_direct}
baseline: both
```

```console
$ fcn-bench run question.yaml --plugin docs/examples/skip.py
```
"""

from fcn.skips import SKIPS, SkipStrategy

SKIPS.register("fcn8s_direct")(SkipStrategy(strides=(8,)))
