"""Profile: what an FCN costs and how far it sees, counted and measured, beside the paper's numbers.

In: the names of a network's parts and an image size. Out: a `Profile`.
The receptive field is found twice: by the rule of window sizes, and as the pixels whose gradient
is not zero. `note` says why the two differ where they do.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fcn.counting import Counts, count, count_depth
from fcn.geometry import trace_geometry
from fcn.latency import Latency, measure_latency
from fcn.model import FCN, create_model
from fcn.table1 import PUBLISHED, RELATIVES, Table1Column

LARGEST_PX = 1536
"""Longest side of the image on which the gradient's support is measured."""


@dataclass(frozen=True)
class Profile:
    """What an FCN costs and how far it sees."""

    backbone: str
    skip: str
    head: str
    num_classes: int
    size: tuple[int, int]
    """Height and width of the images, in pixels."""
    counts: Counts
    depth: int
    """Convolutions one after another, up to the coarsest score."""
    strides: dict[int, int]
    """Stride -> channels of the features that the network uses."""
    output_stride: int
    receptive_field: float | None
    """Of the coarsest score, in pixels, by the rule of window sizes; None if untraceable."""
    empirical_receptive_field: int | None
    """Side of the square of pixels whose gradient is not zero; None if not measured."""
    note: str
    latency: Latency | None
    published: Table1Column | None
    """The paper's numbers, where it has this network."""


class CoarsestScore(nn.Module):
    """A model up to its coarsest logits: the path that Table 1 describes."""

    def __init__(self, model: FCN) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, C, h, w) on the coarsest grid."""
        features = self.model.backbone(images)
        logits: Tensor = self.model.head(features[self.model.output_stride])
        return logits


def profile(
    backbone: str,
    *,
    size: tuple[int, int] = (500, 500),
    skip: str = "fcn32s",
    head: str | None = None,
    num_classes: int = 21,
    device: torch.device | None = None,
    see: bool = True,
) -> Profile:
    """Profile an FCN with random weights.

    Args:
        backbone: Any timm name.
        size: Height and width of the images, in pixels.
        skip: Skip strategy.
        head: What scores the coarsest features; None for linear, but the paper's where this is one
            of its FCN-32s.
        num_classes: Number of classes C, background included.
        device: Where to time forward passes; None to count only.
        see: Measure the receptive field too, by a backward pass on the CPU.

    Raises:
        InputError: The parts do not fit together, or the images are too small.
    """
    name = backbone.partition(".")[0]
    published = PUBLISHED.get(name) if skip == "fcn32s" else None
    head = head or (published.head if published else "linear")
    # Zero scores, the paper's start, would stop the gradient.
    model = create_model(
        backbone, num_classes=num_classes, skip=skip, head=head, score_init="random"
    ).eval()
    assert isinstance(model, FCN)  # no `external` was asked for
    shape = (1, model.backbone.in_chans, *size)
    counts = count(model, shape)
    coarsest = CoarsestScore(model)
    rule = find_receptive_field(coarsest, model)
    seen = measure_receptive_field(coarsest, model, rule) if see else None
    if published and (published.head, 21) != (head, num_classes):
        published = None  # the same backbone made into another network
    remark = published.note if published else RELATIVES.get(name, "")
    return Profile(
        backbone=backbone,
        skip=skip,
        head=head,
        num_classes=num_classes,
        size=size,
        counts=counts,
        depth=count_depth(coarsest, shape),
        strides={stride: tap.channels for stride, tap in model.backbone.taps.items()},
        output_stride=model.output_stride,
        receptive_field=rule,
        empirical_receptive_field=seen,
        note="; ".join(filter(None, [_explain(rule, seen), remark])),
        latency=None if device is None else measure_latency(model, shape, device),
        published=published,
    )


def find_receptive_field(coarsest: nn.Module, model: FCN) -> float | None:
    """Return the receptive field of a coarsest score by the rule, in pixels, if it can be had."""
    side = _ample_side(model, 0)
    ((_, (y, x)),) = trace_geometry(coarsest, (1, model.backbone.in_chans, side, side))
    return y.receptive_field if y == x and y.jump == model.output_stride else None


def measure_receptive_field(coarsest: nn.Module, model: FCN, rule: float | None) -> int:
    """Return the side of the square of pixels that a central score depends on.

    One pass forward and one back, on the CPU, on noise large enough for `rule`; global random state
    is drawn from, and norms that start at zero are set to one, because they close their branches.
    What the support of one gradient misses is said in `Profile.note`.
    """
    for name, parameter in coarsest.named_parameters():
        if name.endswith("weight") and not parameter.any():
            nn.init.ones_(parameter)
    side = _ample_side(model, rule)
    images = torch.randn(1, model.backbone.in_chans, side, side, requires_grad=True)
    needing = [p for p in coarsest.parameters() if p.requires_grad]
    for parameter in needing:
        parameter.requires_grad_(False)  # half of the arithmetic
    try:
        logits = coarsest(images)
        row, column = (cells // 2 for cells in logits.shape[-2:])
        (gradient,) = torch.autograd.grad(logits[0, :, row, column].sum(), images)
    finally:
        for parameter in needing:
            parameter.requires_grad_(True)
    touched = gradient[0].abs().sum(0) > 0
    return max(_extent(touched.any(1)), _extent(touched.any(0)))


def _explain(rule: float | None, seen: int | None) -> str:
    """Say in a sentence why the two receptive fields differ; nothing where they do not."""
    if seen is None or seen == rule:
        return ""
    if rule is None:
        return "the rule cannot follow pixels that become channels or tokens; the gradient can"
    if seen > rule:
        return (
            "the gradient reaches beyond the windows: gates, attention or norms over the whole "
            "image carry it"
        )
    if rule > LARGEST_PX:
        return f"the gradient was measured on an image of {LARGEST_PX} pixels only"
    return (
        "the gradient does not reach the rim of the rule's square: few paths lead there, and the "
        "ReLUs and max pools on them let none through for this image and these weights"
    )


def _ample_side(model: FCN, receptive_field: float | None) -> int:
    """Return the side of an image whose central cell sees none of its borders."""
    step = max(model.backbone.granularity, model.output_stride)
    wanted = max(8 * step, min(LARGEST_PX, int(receptive_field or 0) + 3 * step))
    return wanted + -wanted % step


def _extent(touched: Tensor) -> int:
    places = touched.nonzero()
    return int(places.max() - places.min() + 1) if len(places) else 0
