"""The contract of every skip on representative backbones; new skips are covered by registering."""

import pytest
import torch

from fcn import create_model, list_fusions, list_heads, list_skips, list_upsamplings
from fcn.backbones.taps import list_strides
from fcn.errors import InputError
from fcn.heads import HEADS
from fcn.skips import SKIPS

BACKBONES = [
    "alexnet",
    "caffenet",
    "googlenet",
    "googlenet_original",
    "vgg11_bn",
    "resnet18",
    "mobilenetv3_small_100",
    "convnext_atto",
    "mambaout_femto",
]


def _created(backbone, skip, **options):
    if SKIPS[skip].find_coarsest(list_strides(backbone)) is None:
        pytest.skip(f"{backbone} has no features for {skip}")
    return create_model(backbone, num_classes=5, skip=skip, score_init="random", **options)


@pytest.mark.parametrize(
    ("backbone", "skip"),
    [
        *((backbone, skip) for skip in list_skips() for backbone in ("resnet18", "alexnet")),
        *((backbone, skip) for skip in ("fcn32s", "fcn8s", "unet4s") for backbone in BACKBONES[1:]),
    ],
)
def test_contract(backbone, skip):
    model = _created(backbone, skip)
    for parameter in model.parameters():
        if not parameter.any():  # timm starts some norms at zero, which stops the gradient there
            torch.nn.init.normal_(parameter, std=0.1)
    for height, width in ((64, 64), (97, 75)):
        images = torch.randn(2, 3, height, width)
        logits = model(images)
        assert logits.shape == (2, 5, height, width)
        logits.square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("backbone", BACKBONES)
def test_weights_carry_a_model_whole(backbone):
    model, again = (_created(backbone, "fcn8s").eval() for _ in range(2))
    images = torch.randn(1, 3, 65, 80)
    with torch.no_grad():
        assert not torch.equal(model(images), again(images))
        again.load_state_dict(model.state_dict())
        assert torch.equal(model(images), again(images))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_builds_on_the_meta_device(backbone):
    with torch.device("meta"):
        model = _created(backbone, "fcn8s")
        assert all(p.is_meta for p in model.parameters())
        assert model(torch.empty(1, 3, 65, 97)).shape == (1, 5, 65, 97)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        *(("fusion", name) for name in list_fusions()),
        *(("upsampling", name) for name in list_upsamplings()),
        *(("head", name) for name in list_heads()),
    ],
)
def test_every_part_runs_and_repeats_its_bits(option, name):
    takes_classifier = option == "head" and getattr(HEADS[name], "needs_classifier", False)
    model = _created("caffenet" if takes_classifier else "resnet18", "fcn8s", **{option: name})
    model.eval()
    images = torch.randn(1, 3, 65, 50)
    results = []
    for _ in range(2):
        model.zero_grad()
        logits = model(images)
        logits.sum().backward()
        results.append([logits.detach(), *(p.grad.clone() for p in model.parameters())])
    assert results[0][0].shape == (1, 5, 65, 50)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_zero_scores_give_zero_logits_and_still_learn():
    model = create_model("resnet18", num_classes=3)
    logits = model(torch.randn(2, 3, 64, 64))
    assert not logits.any()
    (logits[:, 0] - logits[:, 1]).sum().backward()
    assert model.skips["8"].score.weight.grad.any()
    assert model.head[1].weight.grad.any()


def test_fcn8s_adds_each_score_on_its_grid():
    """The forward pass once more, written out with torch's interpolate on VGG's centred cells."""
    model = _created("vgg11_bn", "fcn8s").eval()
    images = torch.randn(1, 3, 96, 128)

    def up(logits, factor):
        return torch.nn.functional.interpolate(
            logits, scale_factor=factor, mode="bilinear", align_corners=False
        )

    with torch.no_grad():
        features = model.backbone(images)
        logits_s16 = up(model.head(features[32]), 2) + model.skips["16"].score(features[16])
        logits_s8 = up(logits_s16, 2) + model.skips["8"].score(features[8])
        torch.testing.assert_close(model(images), up(logits_s8, 8), atol=1e-5, rtol=1e-4)


def test_fcn8s_atonce_scales_its_features():
    plain, scaled = (_created("resnet18", skip).eval() for skip in ("fcn8s", "fcn8s-atonce"))
    state = plain.state_dict()
    state["skips.16.score.weight"] = state["skips.16.score.weight"] * 0.01
    state["skips.8.score.weight"] = state["skips.8.score.weight"] * 0.0001
    scaled.load_state_dict(plain.state_dict())
    plain.load_state_dict(state)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(scaled(images), plain(images))


def test_a_skip_starts_from_the_weights_of_the_coarser_model():
    """With zero scores, FCN-16s after FCN-32s differs from it by two bilinear steps only."""
    coarse = _created("resnet18", "fcn32s")
    fine = create_model("resnet18", num_classes=5, skip="fcn16s")
    missing, unexpected = fine.load_state_dict(coarse.state_dict(), strict=False)
    assert missing == ["skips.16.score.weight", "skips.16.score.bias"]
    assert unexpected == []


def test_logits_can_be_had_at_the_size_of_the_target():
    model = _created("resnet18", "fcn8s").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert model(images, size=(97, 33)).shape == (1, 5, 97, 33)
        assert torch.equal(model(images, size=(64, 64)), model(images))


def test_an_impulse_in_the_features_comes_out_at_its_place():
    model = _created("resnet18", "fcn32s").eval()
    tap = model.backbone.taps[32]
    logits = torch.zeros(1, 5, 8, 8)
    logits[0, 2, 3, 4] = 1
    peak = model.upsampling(logits, (256, 256), (256, 256))[0, 2].argmax()
    assert divmod(peak.item(), 256) == (tap.offset + 32 * 3, tap.offset + 32 * 4)


def test_dropout_is_in_the_head():
    model = _created("resnet18", "fcn32s", dropout=0.5)
    images = torch.randn(2, 3, 64, 64)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_logits_stay_fp32_under_autocast():
    model = _created("resnet18", "fcn8s").eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.randn(1, 3, 64, 64)).dtype == torch.float32


def test_mean_and_std_are_those_of_the_weights():
    model = create_model("googlenet", num_classes=2, skip="fcn32s")
    assert model.mean == model.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet81"}, "unknown backbone 'resnet81'"),
        ({"skip": "fcn9s"}, "unknown skip 'fcn9s'; did you mean"),
        ({"head": "liner"}, "did you mean 'linear'"),
        ({"fusion": "summ"}, "did you mean 'sum'"),
        ({"backbone": "deit_tiny_patch16_224"}, "stride 16 only; with it, use fcn32s"),
        ({"score_init": "ones"}, "'zero' or 'random'"),
        ({"num_classes": 0}, "num_classes 0"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"upsampling_last": "bilinar"}, "did you mean 'bilinear'"),
        (
            {"head": "convolutionalized"},
            "'resnet18' has not the two fully connected.*head 'linear'",
        ),
        (
            {"backbone": "vgg11", "head": "convolutionalized", "skip": "pool4"},
            "cuts the backbone before the layers",
        ),
        ({"skip": "unet", "fusion": "max"}, "'unet' stacks its maps.*'max'"),
        ({"padding": "pad99"}, "'exact' or 'pad100'"),
        ({"padding": "pad100"}, "with head 'convolutionalized'.*not with 'linear'"),
        (
            {
                "backbone": "caffenet",
                "head": "convolutionalized",
                "padding": "pad100",
                "upsampling": "carafe",
            },
            "'carafe' is no deconvolution",
        ),
        ({"backbone": "convnext_atto", "skip": "unet"}, "use .*unet4s"),
        (
            {"backbone": "resnet18", "output_stride": 16},
            "'fcn8s' fuses strides 16, 8 into stride 16",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    options = {"backbone": "resnet18", "num_classes": 2} | options
    with torch.device("meta"), pytest.raises(InputError, match=message):
        create_model(options.pop("backbone"), **options)


def test_too_small_a_image_is_refused():
    model = create_model("alexnet", num_classes=2)
    with pytest.raises(InputError, match="at least 63"):
        model(torch.randn(1, 3, 62, 62))
