"""More than an image in: early and late fusion, over every family, against networks for one."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from fcn import create_model, list_skips
from fcn.errors import InputError
from fcn.hub import from_pretrained, save_pretrained
from fcn.inputs import widen_filters
from fcn.targets import split_targets

FAMILIES = {
    "alexnet": {},
    "caffenet": {"head": "convolutionalized", "padding": "pad100"},
    "googlenet": {},
    "vgg11": {},
    "resnet10t": {},
    "convnext_atto": {},
    "tresnet_m": {},  # moves 4 x 4 pixels into channels before its first filters
    "pvt_v2_b0": {},
    "mobilenetv3_small_100": {},
}
INPUTS = {"rgb": 3, "depth": 1}


def _created(backbone, **options):
    torch.manual_seed(0)
    options = {"skip": "fcn16s", "num_classes": 3, "score_init": "random", **options}
    return create_model(backbone, **options).eval()


@pytest.mark.usefixtures("no_start")
@pytest.mark.parametrize(("backbone", "options"), FAMILIES.items(), ids=FAMILIES)
def test_depth_enters_early_as_a_third_of_each_colour(backbone, options):
    """The mean of three filters over depth is what the three see of a third of it, each."""
    plain = _created(backbone, **options)
    early = _created(backbone, **options, inputs=INPUTS)
    colour, depth = torch.randn(1, 3, 96, 96), torch.randn(1, 1, 96, 96)
    with torch.no_grad():
        theirs = plain(colour + depth / 3)
        ours = early(torch.cat([colour, depth], dim=1))
    assert theirs.std() > 0
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
    assert len(early.mean) == len(early.std) == 4
    assert early.mean[:3] == plain.mean


def test_published_filters_are_kept_and_averaged(tmp_path):
    """solve.py of nyud-fcn32s-color-d: the colour's filters, and their mean for depth."""
    published = timm.create_model("resnet10t").state_dict()
    save_file(published, tmp_path / "resnet.safetensors")
    options = {"num_classes": 3, "pretrained": str(tmp_path / "resnet.safetensors")}
    early = create_model("resnet10t", inputs=INPUTS, **options)
    ours = early.backbone.net.state_dict()
    old, new = published["conv1.0.weight"], ours["conv1.0.weight"]
    assert torch.equal(new[:, :3], old)
    torch.testing.assert_close(new[:, 3], old.mean(1))
    assert all(torch.equal(ours[n], published[n]) for n in ours if n != "conv1.0.weight")
    late = create_model("resnet10t", inputs={"rgb": 3, "hha": 3}, input_fusion="late", **options)
    for stream in late.streams.values():
        assert torch.equal(stream.backbone.net.conv1[0].weight, old)


def test_filters_over_blocks_of_pixels_keep_each_pixels_channels_together():
    weight = torch.arange(12.0).view(1, 12, 1, 1)  # four pixels of three channels
    wide = widen_filters(weight, (1, 16, 1, 1), 3).flatten().tolist()
    assert wide == [0, 1, 2, 1, 3, 4, 5, 4, 6, 7, 8, 7, 9, 10, 11, 10]


def test_a_backbone_that_changes_otherwise_is_refused():
    with pytest.raises(InputError, match="input_fusion late"):
        widen_filters(torch.zeros(2, 3, 1, 1), (4, 4, 1, 1), 3)


@pytest.mark.parametrize("skip", list_skips())
def test_late_fusion_is_the_mean_of_networks_for_one_input(skip):
    """In the reference a sum with the factor 1/2 (net.py of nyud-fcn32s-color-hha)."""
    late = _created("resnet10t", skip=skip, inputs=INPUTS, input_fusion="late")
    images = torch.randn(2, 4, 65, 70)
    alone = []
    with torch.no_grad():
        for (name, channels), part in zip(INPUTS.items(), images.split([3, 1], 1), strict=True):
            one = _created("resnet10t", skip=skip, inputs={name: channels})
            one.load_state_dict(late.streams[name].state_dict())
            alone.append(one(part, size=(80, 81)))
        assert alone[0].std() > 0
        torch.testing.assert_close(late(images, size=(80, 81)), (alone[0] + alone[1]) / 2)
    assert len(late.mean) == len(late.std) == 4


def test_late_fusion_learns_in_every_stream_and_starts_the_first_as_if_alone():
    late = _created("resnet10t", inputs=INPUTS, input_fusion="late").train()
    alone = _created("resnet10t")
    stream = late.streams["rgb"].state_dict()
    assert all(torch.equal(stream[name], tensor) for name, tensor in alone.state_dict().items())
    for parameter in late.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    late(torch.randn(2, 4, 64, 64)).square().mean().backward()
    without = [name for name, p in late.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_one_input_that_is_no_colour():
    depth = _created("resnet10t", inputs={"depth": 1}, input_fusion="late")
    assert depth(torch.randn(1, 1, 64, 64)).shape == (1, 3, 64, 64)
    assert depth.mean == (pytest.approx((0.485 + 0.456 + 0.406) / 3),)


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_an_input_may_have_statistics_of_its_own(fusion, tmp_path):
    own = {"depth": [[0.3], [19.0]]}
    model = _created("resnet10t", inputs=INPUTS, input_fusion=fusion, statistics=own)
    assert model.mean == (0.485, 0.456, 0.406, 0.3)
    assert model.std[3] == 19.0
    again = from_pretrained(save_pretrained(model, tmp_path / "kept"))
    images = torch.randn(1, 4, 64, 64)
    assert torch.equal(again(images), model(images))
    assert again.mean == model.mean


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_fusion": "middle"}, "'early' or 'late'"),
        ({"inputs": {}}, "channels"),
        ({"inputs": {"rgb": 3, "depth": 0}}, "channels 3, 0"),
        ({"external": "torchvision/fcn_resnet50", "input_fusion": "late"}, "leave one"),
        ({"external": "torchvision/fcn_resnet50", "inputs": INPUTS}, "3 channels, not 4"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        create_model("resnet10t", num_classes=2, **options)


@pytest.mark.filterwarnings("ignore:CSATv2 is designed for 3-channel")  # timm's own word on it
def test_a_backbone_that_takes_colours_apart_is_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"'csatv2' cannot take 4 channels.*input_fusion late"):
        create_model("csatv2", num_classes=2, inputs=INPUTS)


def test_another_librarys_network_takes_further_channels_and_targets_where_it_can():
    name = "torchvision/lraspp_mobilenet_v3_large"
    model = create_model("any", num_classes=4, more_classes=(3,), external=name, inputs={"hha": 3})
    images = torch.randn(1, 3, 64, 64)
    assert model.eval()(images).shape == (1, 7, 64, 64)
    parts = split_targets(model.score(images), model.upsampling, (4, 3))
    assert [scores.shape[1] for scores, _ in parts] == [4, 3]


def test_images_of_other_channels_are_refused():
    late = _created("resnet10t", inputs=INPUTS, input_fusion="late")
    with pytest.raises(InputError, match=r"3 channels; the streams rgb, depth take 3 \+ 1"):
        late(torch.randn(1, 3, 64, 64))
