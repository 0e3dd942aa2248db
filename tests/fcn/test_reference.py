"""Padding of 100 pixels: the reference's sizes and crops, held against exact alignment."""

import functools

import pytest
import timm
import torch

from fcn import create_model
from fcn.alignment import IMAGE_GRID, FixedUpsampling, Grid
from fcn.backbones.taps import create_backbone_and_classifier
from fcn.errors import InputError

SKIPS = ("fcn32s", "fcn16s", "fcn8s")


@functools.cache
def _created(backbone, skip, **options):
    with torch.device("meta"):
        return create_model(
            backbone,
            num_classes=21,
            skip=skip,
            head="convolutionalized",
            padding="pad100",
            **options,
        ).eval()


@pytest.mark.parametrize(
    ("backbone", "skip", "crops", "kernels"),
    [  # net.py of voc-fcn32s, -16s, -8s and -alexnet in shelhamer/fcn.berkeleyvision.org
        ("vgg16", "fcn32s", [19], [64]),
        ("vgg16", "fcn16s", [5, 27], [4, 32]),
        ("vgg16", "fcn8s", [5, 9, 31], [4, 4, 16]),
        ("caffenet", "fcn32s", [18], [63]),
    ],
)
def test_offsets_and_kernels_are_the_references(backbone, skip, crops, kernels):
    model = _created(backbone, skip)
    stages = [step.upsampling for step in model.skips.values()] + [model.upsampling.deconvolution]
    assert [step.crop for step in model.skips.values()] + [model.upsampling.crop] == crops
    assert [stage.kernel_size for stage in stages] == kernels


@pytest.mark.parametrize(
    ("side", "pools", "fc6", "outputs"),
    [
        (500, [349, 175, 88, 44, 22], 16, [544, 560, 568]),
        (360, [279, 140, 70, 35, 18], 12, [416, 432, 440]),
        (480, [339, 170, 85, 43, 22], 16, [544, 560, 568]),
    ],
)
def test_sizes_are_the_references(side, pools, fc6, outputs):
    with torch.device("meta"):
        backbone, (first, *_) = create_backbone_and_classifier("vgg16", pad100=True)
        images = torch.empty(1, 3, side, side)
        features = backbone(images)
        assert [feature.shape[-1] for feature in features.values()] == pools
        assert first(features[32]).shape[-1] == fc6
        for skip, output in zip(SKIPS, outputs, strict=True):
            seen = []
            model = _created("vgg16", skip)
            model.upsampling.deconvolution.register_forward_hook(
                lambda _, __, result, seen=seen: seen.append(tuple(result.shape[-2:]))
            )
            assert model(images).shape[-2:] == (side, side)
            assert seen == [(output, output)]


@pytest.mark.parametrize("size", [(32, 375), (500, 33), (1199, 224), (97, 1023)])
def test_every_size_fits(size):
    with torch.device("meta"):
        for skip in SKIPS:
            assert _created("vgg16", skip)(torch.empty(1, 3, *size)).shape == (1, 21, *size)


def test_a_size_that_does_not_fit_is_refused():
    model = _created("vgg16", "fcn32s")
    with torch.device("meta"), pytest.raises(InputError, match="outside of what padding 'pad100'"):
        model.upsampling(torch.empty(1, 21, 2, 2), (500, 500))


@pytest.fixture
def narrow(monkeypatch, no_start):
    """Models with a thin fc6: sizes and places stay, and the weights take no time."""
    create = timm.create_model

    def create_thin(name, **options):
        thin = {"mlp_ratio": 1 / 1024} if name == "vgg11" else {}
        return create(name, **thin, **options)

    monkeypatch.setattr(timm, "create_model", create_thin)
    return functools.partial(create_model, num_classes=1, head="convolutionalized")


@pytest.mark.parametrize(
    ("backbone", "skip"), [*(("vgg11", skip) for skip in SKIPS), ("caffenet", "fcn32s")]
)
def test_an_impulse_comes_out_where_exact_alignment_puts_it(narrow, backbone, skip):
    """Scores of the skips are zero: what goes in after fc7 comes out cropped, stage by stage."""
    model = narrow(backbone, skip=skip, padding="pad100").eval()
    images = torch.zeros(1, 3, 96, 128)
    impulse = torch.zeros_like(model.head(model.backbone(images)[32]))
    impulse[0, 0, 1, 2] = 1
    model.head.forward = lambda _: impulse
    with torch.no_grad():
        response = model(images)[0, 0].double()
    fc6 = model.head.fc6.kernel_size[0]
    offset = model.backbone.taps[32].offset + 32 * (fc6 - 1) / 2
    for axis, cell in ((0, 1), (1, 2)):
        line = response.sum(1 - axis)
        centroid = (line * torch.arange(len(line))).sum() / line.sum()
        assert centroid.item() == pytest.approx(offset + 32 * cell, abs=1e-4)
    if skip == "fcn32s":
        exact = FixedUpsampling(Grid(32, offset), IMAGE_GRID)(impulse, (96, 128))[0, 0]
        torch.testing.assert_close(response.float(), exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("upsampling", ["bilinear", "learned", "learned_random"])
def test_deconvolutions_are_learned_only_where_asked(narrow, upsampling):
    model = narrow("vgg11", skip="fcn8s", padding="pad100", upsampling=upsampling)
    learned = {name for name, _ in model.named_parameters() if "upsampling" in name}
    assert len(learned) == (0 if upsampling == "bilinear" else 3)
    assert not any("upsampling" in name for name in model.state_dict()) or learned
    assert model(torch.randn(2, 3, 37, 45), size=(50, 60)).shape == (2, 1, 50, 60)


def test_learned_deconvolutions_start_as_the_fixed_ones(narrow):
    fixed, learned = (
        narrow("vgg11", skip="fcn8s", padding="pad100", upsampling=name, score_init="random").eval()
        for name in ("bilinear", "learned")
    )
    learned.load_state_dict(fixed.state_dict(), strict=False)
    images = torch.randn(1, 3, 37, 45)
    torch.testing.assert_close(fixed(images), learned(images), atol=1e-5, rtol=1e-4)
