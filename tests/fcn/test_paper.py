"""Facts of the paper, each counted on the models that are built here.

Source: Long et al., 2015, table 1 and section 4, arXiv:1411.4038; parameters by arithmetic.
"""

import pytest
import torch
from torch import nn

from fcn import create_model
from fcn.backbones.normalisation import LocalResponseNormalisation
from fcn.backbones.taps import create_backbone
from fcn.geometry import trace_geometry

HEADS = {"caffenet": "convolutionalized", "vgg16": "convolutionalized"}


def _created(backbone, skip="fcn32s", **options):
    with torch.device("meta"):
        head = HEADS.get(backbone, "linear")
        return create_model(backbone, num_classes=21, skip=skip, head=head, **options)


@pytest.mark.parametrize("padding", ["exact", "pad100"])
@pytest.mark.parametrize(
    ("backbone", "skip", "number"),
    [
        ("vgg16", "fcn32s", 134_346_581),
        ("vgg16", "fcn16s", 134_346_581 + 10_773),
        ("vgg16", "fcn8s", 134_346_581 + 10_773 + 5_397),
        ("caffenet", "fcn32s", 56_954_261),
    ],
)
def test_learnable_parameters(backbone, skip, number, padding):
    model = _created(backbone, skip, padding=padding)
    assert sum(p.numel() for p in model.parameters()) == number


def test_fcn_googlenet_has_6_million_parameters():
    number = sum(p.numel() for p in _created("googlenet_original").parameters())
    assert round(number / 1e6) == 6


@pytest.mark.parametrize(
    ("backbone", "layers"), [("caffenet", 8), ("vgg16", 16), ("googlenet_original", 22)]
)
def test_convolutional_layers(backbone, layers):
    """The longest way from pixels to scores, walked back along the graph of gradients."""
    model = _created(backbone)
    images = torch.empty(1, 3, 224, 224, device="meta")
    logits = model.head(model.backbone(images)[32])
    assert _count_convolutions(logits.grad_fn) == layers


def _count_convolutions(last):
    longest, stack = {}, [last]
    while stack:
        node = stack[-1]
        inputs = [n for n, _ in node.next_functions if n is not None]
        waiting = [n for n in inputs if n not in longest]
        if waiting:
            stack += waiting
            continue
        own = "ConvolutionBackward" in node.name()
        longest[stack.pop()] = own + max((longest[n] for n in inputs), default=0)
    return longest[last]


@pytest.mark.parametrize(("backbone", "pixels"), [("caffenet", 355), ("vgg16", 404)])
def test_receptive_field(backbone, pixels):
    model = _created(backbone)

    class Coarsest(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images):
            return self.model.head(self.model.backbone(images)[32])

    ((_, (y, x)),) = trace_geometry(Coarsest(), (1, 3, 500, 500))
    assert y == x
    assert (y.receptive_field, y.jump) == (pixels, 32)


def test_receptive_field_of_googlenet_counts_the_average_pool():
    with torch.device("meta"):
        tap = create_backbone("googlenet_original", strides=(32,)).taps[32]
    assert tap.receptive_field + 6 * 32 == 907  # that pool has 7 x 7 cells


def test_googlenet_has_the_papers_channels():
    with torch.device("meta"):
        backbone = create_backbone("googlenet_original")
    assert [(tap.stride, tap.channels) for tap in backbone.taps.values()] == [
        (2, 64), (4, 192), (8, 480), (16, 832), (32, 1024),
    ]  # fmt: skip
    kinds = {type(module) for module in backbone.modules()}
    assert LocalResponseNormalisation in kinds
    assert nn.BatchNorm2d not in kinds
    sizes = {m.kernel_size for m in backbone.modules() if isinstance(m, nn.Conv2d)}
    assert sizes == {(1, 1), (3, 3), (5, 5), (7, 7)}


def test_local_response_normalisation_is_torchs():
    features = (10 * torch.randn(2, 7, 3, 4, dtype=torch.float64)).requires_grad_()
    ours = LocalResponseNormalisation()(features)
    theirs = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)(features)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(r.square().sum(), features)[0] for r in (ours, theirs)]
    torch.testing.assert_close(*gradients)
