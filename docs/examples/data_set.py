"""A data set: images whose two classes differ in texture alone, as `data.dataset: stripes`.

A loader returns a `Dataset`: classes, splits, and how one image is read. This one draws its images;
yours reads files below `data_dir`, the folder given by `--data`. Options of the loader are keywords
with a type and a default, and are set by `data.options`.

A question that uses it, in question.yaml:

```yaml
question: Is a texture told as well when it is as fine as two pixels?
common:
  model: {backbone: resnet10t, skip: fcn8s, score_init: random}
  train: {steps: 300, batch_size: 8, optimizer: adamw, lr: 1e-3}
  data: {dataset: stripes}
variants:
  coarse: {data.options: {size: 64, period: 8}}
  fine: {data.options: {size: 64, period: 2}}
```

```console
$ fcn-bench run question.yaml --plugin docs/examples/data_set.py
```
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Dataset, spread_colours
from bench.data.registry import DATASETS

NUM_IMAGES = {"train": 64, "val": 16, "test": 16}


@DATASETS.register("stripes")
def load_stripes(data_dir: Path | None, *, size: int = 64, period: int = 4) -> Dataset:
    """Return the data set: images of `size` pixels a side, stripes that repeat every `period`."""
    return Stripes(
        name="stripes",
        class_names=("lying", "standing"),
        palette=spread_colours(2),
        ignore_index=255,
        splits={s: tuple(f"{s}-{i}" for i in range(n)) for s, n in NUM_IMAGES.items()},
        size=size,
        period=period,
    )


@dataclass(frozen=True)
class Stripes(Dataset):
    """Lying stripes, and a disc of standing ones at a place that depends on the image's name."""

    size: int
    period: int

    def read(self, split: str, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw the image (H, W, 3) and target (H, W) of one name."""
        rng = np.random.default_rng(list(name.encode()))
        rows, columns = np.indices((self.size, self.size))
        y, x = rng.uniform(0, self.size, 2)
        target = (rows - y) ** 2 + (columns - x) ** 2 < (self.size / 4) ** 2
        along = np.where(target, columns, rows)
        grey = np.where(along % self.period < self.period / 2, 80, 170)
        image = grey[..., None] + rng.normal(0, 10, (self.size, self.size, 3))
        return image.clip(0, 255).astype(np.uint8), target.astype(np.uint8)

    def content(self) -> list[object]:
        """Return what determines every pixel; it enters the ids of runs. Files: their digests."""
        return [self.size, self.period]
