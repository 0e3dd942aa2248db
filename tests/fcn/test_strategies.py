"""Truncated nets, decoders, staged training and dilated backbones."""

import pytest
import torch
from torch import nn

from fcn import create_model, list_fusions
from fcn.backbones.taps import create_backbone, list_strides
from fcn.errors import InputError
from fcn.skips import SKIPS, SkipStrategy


@pytest.mark.parametrize(("skip", "stride"), [("pool5", 32), ("pool4", 16), ("pool3", 8)])
def test_truncated_nets_end_at_their_pool(skip, stride):
    with torch.device("meta"):
        model = create_model("vgg16", num_classes=21, skip=skip)
        trunk = create_backbone("vgg16", strides=(stride,))
    assert list(model.backbone.taps) == [stride]
    assert model.output_stride == stride
    assert len(model.skips) == 0
    names = [name for name, _ in model.backbone.named_parameters()]
    assert names == [name for name, _ in trunk.named_parameters()]
    assert len(names) == 2 * {32: 13, 16: 10, 8: 7}[stride]  # convolutions up to that pool


def test_a_truncated_net_scores_and_enlarges_its_features():
    model = create_model("resnet18", num_classes=3, skip="pool3", score_init="random").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        scores = model.head(model.backbone(images)[8])
        assert torch.equal(model(images), model.upsampling(scores, (64, 64)))


def test_a_user_adds_a_strategy_in_one_line():
    name = "two strides of a user"
    if name not in SKIPS:
        SKIPS.register(name)(SkipStrategy(strides=(8,), widths=(24, 16), refine=1))
    try:
        model = create_model("resnet18", num_classes=3, skip=name, score_init="random")
        assert model(torch.randn(2, 3, 64, 50)).shape == (2, 3, 64, 50)
        assert model.skips["8"].refine[0].weight.shape[:2] == (16, 24)
    finally:
        SKIPS._parts.pop(name)


def test_fpn_adds_maps_of_one_width_from_the_top_down():
    """The forward pass once more, with torch's interpolate on VGG's centred cells."""
    model = create_model("vgg11_bn", num_classes=3, skip="fpn", score_init="random").eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = model.backbone(images)
        finest = model.head(features[32])
        for stride in (16, 8, 4):
            finest = nn.functional.interpolate(finest, scale_factor=2, mode="bilinear")
            finest = finest + model.skips[str(stride)].score(features[stride])
        assert finest.shape[1] == 128
        logits = nn.functional.interpolate(model.scores(finest), scale_factor=4, mode="bilinear")
        torch.testing.assert_close(model(images), logits, atol=1e-5, rtol=1e-4)


def test_unet_stacks_whole_features_and_halves_its_width():
    model = create_model("resnet18", num_classes=3, skip="unet")
    shapes = [tuple(skip.refine[0].weight.shape[:2]) for skip in model.skips.values()]
    taps = model.backbone.taps
    assert shapes == [
        (256, 256 + taps[16].channels),
        (128, 256 + taps[8].channels),
        (64, 128 + taps[4].channels),
        (32, 64 + taps[2].channels),
    ]
    assert sum(isinstance(m, nn.Conv2d) for m in model.skips["16"].refine) == 2
    assert model.scores[-1].in_channels == 32


def test_hypercolumn_lays_all_depths_side_by_side():
    model = create_model("resnet18", num_classes=3, skip="hypercolumn", score_init="random").eval()
    seen = []
    model.scores.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    images = torch.randn(1, 3, 64, 96)
    model(images)
    (column,) = seen
    assert column.shape == (1, 4 * 64, 16, 24)
    finest = model.skips["4"].score(model.backbone(images)[4])
    torch.testing.assert_close(column[:, -64:], finest)


# max changes predictions where zero is larger, so it cannot be staged this way.
@pytest.mark.parametrize("fusion", sorted(set(list_fusions()) - {"max"}))
def test_a_finer_net_starts_with_the_predictions_of_the_coarser(fusion):
    """With nearest cells, two upsamplings one after the other are exactly one."""
    images, previous = torch.randn(2, 3, 64, 96), None
    for skip in ("fcn32s", "fcn16s", "fcn8s"):
        model = create_model(
            "vgg11_bn",
            num_classes=3,
            skip=skip,
            fusion=fusion,
            upsampling="nearest",
            score_init="zero" if previous else "random",
        ).eval()
        if previous:
            missing, unexpected = model.load_state_dict(previous[0], strict=False)
            assert unexpected == []
            newest = f"skips.{ {'fcn16s': 16, 'fcn8s': 8}[skip] }."
            assert all(name.startswith(newest) for name in missing)
            with torch.no_grad():
                torch.testing.assert_close(model(images), previous[1])
        with torch.no_grad():
            previous = model.state_dict(), model(images)


@pytest.mark.parametrize("padding", ["exact", "pad100"])
def test_the_papers_nets_share_their_names(padding):
    names = []
    for skip in ("fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce"):
        with torch.device("meta"):
            model = create_model(
                "vgg16", num_classes=21, skip=skip, head="convolutionalized", padding=padding
            )
        names.append(set(model.state_dict()))
    assert names[1] - names[0] == {"skips.16.score.weight", "skips.16.score.bias"}
    assert names[2] - names[1] == {"skips.8.score.weight", "skips.8.score.bias"}
    assert names[0] < names[1] < names[2] == names[3]


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilenetv3_small_100"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_families_that_dilate_keep_their_deepest_features_fine(name, output_stride):
    assert max(list_strides(name, output_stride)) == output_stride
    with torch.device("meta"):
        model = create_model(name, num_classes=3, skip="fcn32s", output_stride=output_stride)
        usual = create_model(name, num_classes=3, skip="fcn32s")
        tap = model.backbone.taps[output_stride]
        cells = model.backbone(torch.empty(1, 3, 128, 160))[output_stride].shape[-2:]
        assert model(torch.empty(1, 3, 97, 75)).shape == (1, 3, 97, 75)
    assert cells == (128 // output_stride, 160 // output_stride)
    assert tap.channels == usual.backbone.taps[32].channels
    assert tap.receptive_field is not None  # its cells were found where the windows put them
    shapes = ({k: v.shape for k, v in m.state_dict().items()} for m in (model, usual))
    assert next(shapes) == next(shapes)  # the same weights serve both


@pytest.mark.parametrize("name", ["vgg11", "alexnet", "densenet121", "deit_tiny_patch16_224"])
def test_families_that_cannot_dilate_say_what_they_have(name):
    own = ", ".join(map(str, list_strides(name)))
    with (
        torch.device("meta"),
        pytest.raises(
            InputError,
            match=rf"'{name}' cannot have output stride 4; it has features of stride {own}:",
        ),
    ):
        create_model(name, num_classes=3, skip="fcn32s", output_stride=4)


def test_the_usual_output_stride_may_be_named():
    assert list_strides("vgg11", 32) == list_strides("vgg11")
