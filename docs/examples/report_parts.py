"""A score and a section of the report of one's own: F2 of each class, and the classes it misses.

A question, in question.yaml, that decides by the one; the other is on its page by itself:

```yaml
question: Does a deeper backbone find more of each class?
score: {primary: f2, also: [dice], exclude_classes: [ground]}
common:
  data: {dataset: shapes, options: {size: 64}}
  model: {score_init: random}
  train: {steps: 300, batch_size: 8, crop: [64, 64], optimizer: adamw, lr: 1e-3}
variants:
  shallow: {model.backbone: resnet10t}
  deep: {model.backbone: resnet18}
baseline: shallow
claims: [deep > shallow by 0.01 f2]
```

```console
$ fcn-bench run question.yaml --plugin docs/examples/report_parts.py
```
"""

from bench.metrics import METRICS, divide, per_class
from reports.sections import SECTIONS, section


@METRICS.register("f2")
@per_class("mean F2", of_class="F2")
def f2(hit, in_target, in_pred):
    """F2 of each class: recall counts four times as much as precision; mean over classes."""
    return divide(5 * hit, 4 * in_target + in_pred)


@SECTIONS.register("missed")
@section("Missed classes", after="classes")
def missed(study):
    """Return the mean F2 of each class over all runs, the lowest first, as a table."""
    means = study.classes.groupby("class_name")["f2"].mean()
    return means.sort_values().rename_axis("class").reset_index()
