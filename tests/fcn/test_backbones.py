"""Backbones against hooks on the networks they are made of."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from fcn.backbones.taps import create_backbone, list_strides
from fcn.errors import InputError


def _hooked(net: nn.Module, names: list[str], images: torch.Tensor) -> list[torch.Tensor]:
    """Return what the named layers gave, cloned before an in-place layer can change it."""
    seen = {}
    for name in names:
        net.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: seen.update({name: output.clone()})
        )
    with torch.no_grad():
        net.eval()(images)
    return [seen[name] for name in names]


TORCHVISION = {
    "alexnet": (
        torchvision.models.alexnet,
        ["features.1", "features.4", "features.11", "features.12"],
    ),
    "googlenet": (
        lambda: torchvision.models.googlenet(aux_logits=True, init_weights=False),
        ["conv1", "conv3", "inception3b", "inception4e", "inception5b"],
    ),
}


@pytest.fixture(scope="module", params=sorted(TORCHVISION))
def published(request, tmp_path_factory):
    """A network of torchvision with its weights in a file, as torchvision publishes them."""
    create, layers = TORCHVISION[request.param]
    torch.manual_seed(1)
    net = create()
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.pth"
    torch.save(net.state_dict(), path)
    return request.param, net.eval(), layers, path


def test_our_networks_give_torchvisions_features_from_its_file(published):
    name, net, layers, path = published
    images = torch.randn(1, 3, 97, 131)
    features = create_backbone(name, pretrained=str(path)).eval()(images)
    assert tuple(features) == list_strides(name)
    for ours, theirs in zip(features.values(), _hooked(net, layers, images), strict=True):
        assert torch.equal(ours, theirs.relu() if name == "alexnet" else theirs)


def test_timm_itself_builds_our_networks(published):
    name, net, _, path = published
    images = torch.randn(2, 3, 224, 224)
    ours = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    with torch.no_grad():
        theirs = net(images)
        torch.testing.assert_close(ours.eval()(images), theirs)
        assert ours.forward_head(ours.forward_features(images), pre_logits=True).shape == (
            2,
            ours.head_hidden_size,
        )
        ours.reset_classifier(7)
        assert ours(images).shape == (2, 7)
        assert ours.get_classifier().out_features == 7
        ours.reset_classifier(0)
        assert ours(images).shape == (2, ours.head_hidden_size)


@pytest.mark.parametrize("in_chans", [1, 4])
def test_weights_for_three_channels_are_adapted_to_others(published, in_chans):
    name, net, layers, path = published
    backbone = create_backbone(name, pretrained=str(path), in_chans=in_chans).eval()
    assert len(backbone.mean) == len(backbone.std) == in_chans
    features = backbone(torch.randn(1, in_chans, 97, 75))
    assert all(feature.isfinite().all() for feature in features.values())
    if in_chans == 1:  # a grey image equals one whose three channels are the same
        grey = torch.randn(1, 1, 97, 75)
        deepest = _hooked(net, layers[-1:], grey.expand(1, 3, 97, 75))[0]
        torch.testing.assert_close(list(backbone(grey).values())[-1], deepest, atol=1e-5, rtol=1e-4)


def test_googlenet_normalises_as_torchvision_does_inside_the_network():
    images = torch.rand(1, 3, 32, 32)
    backbone = create_backbone("googlenet")
    usual = create_backbone("resnet18")
    net = torchvision.models.googlenet(transform_input=True, init_weights=False, aux_logits=False)
    ours = (images - _column(backbone.mean)) / _column(backbone.std)
    theirs = net._transform_input((images - _column(usual.mean)) / _column(usual.std))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def _column(values):
    return torch.tensor(values)[:, None, None]


def test_vgg_features_are_its_pools():
    backbone = create_backbone("vgg11_bn").eval()
    net = torchvision.models.vgg11_bn().features
    net.load_state_dict(backbone.net.layers.state_dict())
    images = torch.randn(1, 3, 97, 75)
    pools = [name for name, layer in net.named_children() if isinstance(layer, nn.MaxPool2d)]
    features = backbone(images)
    assert list(features) == [2, 4, 8, 16, 32]
    for ours, theirs in zip(features.values(), _hooked(net, pools, images), strict=True):
        assert torch.equal(ours, theirs)


def test_vgg16_has_the_papers_parameters_and_none_of_its_classifier():
    with torch.device("meta"):
        backbone = create_backbone("vgg16")
    assert sum(p.numel() for p in backbone.parameters()) == 14_714_688
    assert [(tap.stride, tap.channels) for tap in backbone.taps.values()] == [
        (2, 64), (4, 128), (8, 256), (16, 512), (32, 512),
    ]  # fmt: skip


def test_channels_last_networks_give_channels_first_features():
    backbone = create_backbone("mambaout_femto", strides=(8, 32))
    features = backbone(torch.randn(1, 3, 64, 96))
    assert {s: f.shape[1:] for s, f in features.items()} == {8: (96, 8, 12), 32: (288, 2, 3)}


def test_networks_whose_cells_move_with_the_size_see_padded_images():
    backbone = create_backbone("tf_mobilenetv3_small_minimal_100", strides=(8, 32)).eval()
    assert backbone.granularity == 32
    images = torch.randn(1, 3, 97, 75)
    padded = nn.functional.pad(images, (0, 21, 0, 31))
    for stride, feature in backbone(images).items():
        assert torch.equal(feature, backbone(padded)[stride])


def test_a_vision_transformer_built_for_one_size_takes_any():
    backbone = create_backbone("deit_tiny_patch16_224", strides=(16,))
    assert backbone.taps[16].offset == 7.5
    assert backbone(torch.randn(1, 3, 50, 75))[16].shape == (1, 192, 4, 5)


def test_a_network_registered_by_a_user_is_a_backbone_at_once():
    class Plain(nn.Module):
        def __init__(self, num_classes=1000, in_chans=3):
            super().__init__()
            self.stem = nn.Conv2d(in_chans, 4, 3, stride=4)
            self.deep = nn.Conv2d(4, 6, 2, stride=4)
            self.feature_info = [
                {"num_chs": 4, "reduction": 4, "module": "stem"},
                {"num_chs": 6, "reduction": 16, "module": "deep"},
            ]

    def plain_network_of_a_user(pretrained=False, **options):
        return timm.models.build_model_with_cfg(
            Plain, "plain", pretrained, feature_cfg={"out_indices": (0, 1)}, **options
        )

    timm.models.register_model(plain_network_of_a_user)
    backbone = create_backbone("plain_network_of_a_user", in_chans=2)
    assert [(t.stride, t.channels, t.offset) for t in backbone.taps.values()] == [
        (4, 4, 1.0),
        (16, 6, 3.0),
    ]
    assert backbone(torch.randn(1, 2, 65, 33))[16].shape == (1, 6, 4, 2)
    with pytest.raises(InputError, match="no published weights"):
        create_backbone("plain_network_of_a_user", pretrained=True)


def test_layers_deeper_than_needed_are_left_out():
    whole = sum(p.numel() for p in create_backbone("resnet18").parameters())
    part = sum(p.numel() for p in create_backbone("resnet18", strides=(8,)).parameters())
    assert part < whole / 10


@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("resnet18", "missing.safetensors", "no weights file 'missing.safetensors'"),
        ("resnet18", "a1_in1", "did you mean 'a1_in1k'"),
        ("resnet10t.nonsense", False, "unknown tag of backbone 'resnet10t'"),
        ("resnet19", False, "did you mean 'resnet1"),
        ("gemma4_vit_167m", False, "images of any size"),
    ],
)
def test_what_cannot_be_built_is_refused(name, pretrained, message):
    with torch.device("meta"), pytest.raises(InputError, match=message):
        create_backbone(name, pretrained=pretrained)


def test_a_stride_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InputError, match="no features of stride 2, 64; it has 4, 8, 16, 32"):
        create_backbone("alexnet", strides=(2, 64, 32))


@pytest.mark.parametrize(("name", "least"), [("alexnet", 63), ("vgg11_bn", 32), ("resnet18", 1)])
def test_the_least_size_is_found(name, least):
    backbone = create_backbone(name).eval()
    assert backbone.find_least_size() == least
    backbone(torch.randn(1, 3, least, least))


def test_images_that_are_too_small_are_refused_with_the_least_size():
    backbone = create_backbone("alexnet")
    with pytest.raises(InputError, match=r"100x62 pixels are too small.*at least 63"):
        backbone(torch.randn(1, 3, 100, 62))
    with pytest.raises(InputError, match=r"4 channels.*built for 3"):
        backbone(torch.randn(1, 4, 100, 100))
