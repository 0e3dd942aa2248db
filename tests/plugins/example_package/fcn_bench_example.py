"""A plugin: one part of every kind, each in a few lines."""

import numpy as np
import timm
import torch
from torch import nn

from bench.data.dataset import Dataset, spread_colours
from bench.data.registry import DATASETS
from bench.metrics import METRICS, divide, per_class
from fcn.fusions import FUSIONS
from fcn.heads import HEADS, create_score
from fcn.skips import SKIPS, SkipStrategy
from fcn.upsampling import UPSAMPLINGS, FixedUpsampling
from reports.sections import SECTIONS, section


class Plain(nn.Module):
    """Two convolutions; `feature_info` says which layers are features, and of what stride."""

    def __init__(self, num_classes=1000, in_chans=3):
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 8, kernel_size=4, stride=4)
        self.deep = nn.Conv2d(8, 16, kernel_size=4, stride=4)
        self.feature_info = [
            {"num_chs": 8, "reduction": 4, "module": "stem"},
            {"num_chs": 16, "reduction": 16, "module": "deep"},
        ]


@timm.models.register_model
def example_plain(pretrained=False, **options):
    return timm.models.build_model_with_cfg(
        Plain, "example_plain", pretrained, feature_cfg={"out_indices": (0, 1)}, **options
    )


SKIPS.register("example_stride4")(SkipStrategy(strides=(4,)))


@FUSIONS.register("example_mean")
class MeanFusion(nn.Module):
    def __init__(self, num_classes):
        super().__init__()

    def forward(self, coarser, finer):
        return (coarser + finer) / 2


@HEADS.register("example_wide")
def create_wide(channels, num_classes, *, dropout, score_init, **_):
    score = create_score(32, num_classes, score_init)
    return nn.Sequential(nn.Conv2d(channels, 32, 1), nn.ReLU(), nn.Dropout(dropout), score)


@UPSAMPLINGS.register("example_softened")
class Softened(FixedUpsampling):
    """Bilinear, halved."""

    def __init__(self, channels, from_grid, to_grid, **_):
        super().__init__(from_grid, to_grid)

    def forward(self, logits, size, cells=None):
        return super().forward(logits, size, cells) / 2


@DATASETS.register("example_halves")
def load_halves(data_dir, *, size: int = 32):
    """Images whose left half is dark and whose right half is bright."""
    splits = {split: tuple(f"{split}{i}" for i in range(4)) for split in ("train", "val", "test")}
    names = ("dark", "bright")
    return Halves("example_halves", names, spread_colours(2), 255, splits, size)


class Halves(Dataset):
    def __init__(self, name, class_names, palette, ignore_index, splits, size):
        object.__setattr__(self, "size", size)
        super().__init__(name, class_names, palette, ignore_index, splits)

    def read(self, split, name):
        target = np.zeros((self.size, self.size), dtype=np.uint8)
        target[:, self.size // 2 :] = 1
        noise = torch.Generator().manual_seed(sum(name.encode()))
        image = torch.randint(0, 100, (self.size, self.size, 3), generator=noise).numpy()
        return (image + 100 * target[..., None]).astype(np.uint8), target

    def content(self):
        return [self.size]


@METRICS.register("example_f2")
@per_class("mean F2", of_class="F2")
def f2(hit, in_target, in_pred):
    """F2 of each class; mean over classes."""
    return divide(5 * hit, 4 * in_target + in_pred)


@SECTIONS.register("example-note")
@section("A note of the example", after="summary")
def note(study):
    return f"There are {len(study.runs)} runs."
