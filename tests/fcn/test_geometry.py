"""Receptive fields known from the paper, and centres found by differentiating real networks."""

import functools

import pytest
import timm
import torch
from torch import nn

from fcn import create_model
from fcn.backbones.normalisation import LocalResponseNormalisation
from fcn.backbones.taps import create_backbone
from fcn.geometry import run_on_meta, trace_geometry


def test_vgg16_through_fc6_sees_404_pixels_at_stride_32():
    with torch.device("meta"):
        vgg = timm.create_model("vgg16")
    ((_, (y, x)),) = trace_geometry(
        nn.Sequential(vgg.features, vgg.pre_logits.fc1), (1, 3, 224, 224)
    )
    assert y == x
    assert (y.receptive_field, y.jump) == (404, 32)  # Long et al., 2015, table 1


def test_caffenet_through_fc6_sees_355_pixels_at_stride_32():
    convolution, pool = nn.Conv2d, functools.partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
    caffenet = nn.Sequential(
        convolution(3, 8, 11, stride=4),
        pool(),
        convolution(8, 8, 5, padding=2, groups=2),
        pool(),
        convolution(8, 8, 3, padding=1),
        convolution(8, 8, 3, padding=1),
        convolution(8, 8, 3, padding=1),
        pool(),
        convolution(8, 8, 6),
    )
    ((_, (y, _)),) = trace_geometry(caffenet, (1, 3, 500, 500))
    assert (y.receptive_field, y.jump) == (355, 32)  # Long et al., 2015, table 1


def test_axes_are_traced_apart_with_dilation_and_one_sided_padding():
    net = nn.Sequential(
        nn.ConstantPad2d((3, 0, 1, 0), 0.0),
        nn.Conv2d(1, 1, (3, 5), stride=(2, 1), padding=(0, 2), dilation=(2, 1)),
        nn.AvgPool2d((1, 2)),
    )
    ((_, (y, x)),) = trace_geometry(net, (1, 1, 40, 40))
    assert (y.jump, y.centre, y.receptive_field) == (2, 1.0, 5)
    assert (x.jump, x.centre, x.receptive_field) == (2, -2.5, 6)


def test_a_strided_1x1_window_moves_the_cells_although_it_sees_one_pixel():
    ((_, (y, _)),) = trace_geometry(nn.Conv2d(1, 1, 1, stride=4), (1, 1, 16, 16))
    assert (y.jump, y.centre, y.receptive_field) == (4, 0, 1)


def test_a_run_on_meta_leaves_the_network_as_it_was():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    net[1].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert run_on_meta(net, torch.empty(1, 3, 8, 8, device="meta")).shape == (1, 4, 6, 6)
    assert [module.training for module in net] == [True, False, True]
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def _linearise(net: nn.Module) -> nn.Module:
    """Make every window a plain average, so that gradients show geometry alone."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, pool)
            elif isinstance(child, nn.BatchNorm2d | LocalResponseNormalisation):
                setattr(module, name, nn.Identity())
        if isinstance(module, nn.Conv2d):
            # In and out channels are averaged too: sums would overflow after fifty layers.
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net.double().eval()


def _narrow_classifier(net: nn.Module) -> tuple[nn.Conv2d, ...]:
    return nn.Conv2d(256, 8, 6), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)


@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        "caffenet",
        "googlenet",
        "vgg11_bn",
        "resnet18",
        pytest.param("googlenet_original", marks=pytest.mark.slow),
    ],
)
def test_the_gradient_of_a_cell_is_centred_where_its_tap_says(name):
    backbone = _linearise(create_backbone(name, strides=(8, 16, 32)))
    side = int(max(tap.receptive_field for tap in backbone.taps.values())) + 128
    images = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    features = backbone(images)
    for stride, tap in backbone.taps.items():
        feature = features[stride][0].sum(0)  # GoogLeNet's branches see windows of several sizes
        i = feature.shape[0] // 2
        (gradient,) = torch.autograd.grad(feature[i, i + 1], images, retain_graph=True)
        for axis, cell in ((0, i), (1, i + 1)):
            weight = gradient[0].sum(0).sum(1 - axis)
            centroid = (weight * torch.arange(side)).sum() / weight.sum()
            assert centroid.item() == pytest.approx(tap.offset + stride * cell, abs=1e-6)
            assert (weight > 0).sum() == tap.receptive_field


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("alexnet", {}),
        ("googlenet", {}),
        ("vgg11_bn", {}),
        ("resnet18", {}),
        ("resnet18", {"upsampling": "learned"}),
        pytest.param("resnet18", {"skip": "fcn32s", "output_stride": 8}, marks=pytest.mark.slow),
        ("caffenet", {"head": "convolutionalized"}),  # fc6 is 6 x 6: even, without a middle
    ],
)
def test_an_impulse_comes_back_where_it_went_in(name, options, monkeypatch):
    """The whole linear network only blurs: logits of a ramp are the ramp, to the pixel."""
    # A whole fc6 in double precision would take seconds and change nothing.
    monkeypatch.setattr("fcn.backbones.nets.convolutionalize", _narrow_classifier)
    model = create_model(name, num_classes=1, **{"skip": "fcn8s"} | options)
    _linearise(model)
    for score in [model.head, *(step.score for step in model.skips.values())]:
        for module in score.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.constant_(module.weight, 1 / module.weight.numel())
    side = int(max(tap.receptive_field for tap in model.backbone.taps.values())) + 160
    side += 160 * (options.get("head") is not None)  # fc6 sees 160 more
    ramp = torch.arange(side, dtype=torch.float64)
    with torch.no_grad():
        flat = model(torch.ones(1, 3, side, side, dtype=torch.float64))
        down = model(ramp[:, None].expand(1, 3, side, side))
        across = model(ramp.expand(1, 3, side, side))
    middle = slice(side // 2 - 20, side // 2 + 20)
    gain = flat[0, 0, middle, middle]
    torch.testing.assert_close(down[0, 0, middle, middle] / gain, ramp[middle, None].expand(40, 40))
    torch.testing.assert_close(across[0, 0, middle, middle] / gain, ramp[middle].expand(40, 40))
