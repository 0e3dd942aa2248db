"""Networks of one image size: seen in windows, each as the network alone sees it."""

import pytest
import timm
import torch

from fcn import create_model
from fcn.backbones.nets import find_abilities
from fcn.backbones.taps import create_backbone
from fcn.backbones.windows import Windows, find_own_size
from fcn.errors import InputError
from fcn.geometry import run_on_meta

NAME = "visformer_tiny"  # convolutions, attention, and position embeddings for 224 pixels


def test_each_window_is_what_the_network_gives_for_it():
    backbone = create_backbone(NAME, strides=(8, 32)).eval()
    assert (backbone.granularity, backbone.net.side) == (224, 224)
    images = torch.randn(2, 3, 448, 672)
    with torch.no_grad():
        features = backbone(images)
        alone = backbone.net.net(images[1:, :, 224:, 224:448])
    for (stride, whole), part in zip(features.items(), alone, strict=True):
        cells = 224 // stride
        place = whole[1:, :, cells:, cells : 2 * cells]
        torch.testing.assert_close(place, part, atol=1e-4, rtol=1e-3)


def test_any_size_is_padded_to_windows_and_learns():
    model = create_model(NAME, num_classes=3, score_init="random")
    logits = model(torch.randn(2, 3, 65, 97))
    assert logits.shape == (2, 3, 65, 97)
    logits.square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []


def test_weights_are_loaded_under_their_own_names(tmp_path):
    path = tmp_path / "visformer.pth"
    net = timm.create_model(NAME)
    torch.save(net.state_dict(), path)
    backbone = create_backbone(NAME, pretrained=str(path))
    theirs = net.state_dict()
    ours = backbone.net.net.model.state_dict()
    assert len(ours) > 50
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def test_a_network_that_takes_multiples_of_its_size_sees_the_whole():
    abilities = find_abilities("maxvit_pico_rw_256")
    assert (abilities.granularity, abilities.window) == (256, None)
    assert abilities.strides == (2, 4, 8, 16, 32)


class Odd(torch.nn.Module):
    """Its cells do not fill its own size."""

    pretrained_cfg = {"input_size": (3, 30, 30)}

    class feature_info:  # noqa: N801 - timm's name
        out_indices = (0,)
        reduction = staticmethod(lambda: [4])

    def forward(self, images):
        return [images[:, :, ::4, ::4]]


def test_what_cannot_be_put_together_is_refused():
    with pytest.raises(ValueError, match="8x8 cells do not fill its own 30x30 pixels evenly"):
        find_own_size(Odd())
    with pytest.raises(InputError, match=r"gemma4_vit_167m.*no features for images of any size"):
        find_abilities("gemma4_vit_167m")


def test_channels_last_features_are_put_together_channels_first():
    class Last(Odd):
        pretrained_cfg = {"input_size": (3, 32, 32)}

        def forward(self, images):
            return [images[:, :, ::4, ::4].permute(0, 2, 3, 1)]

    images = torch.randn(1, 3, 64, 96)
    assert torch.equal(Windows(Last(), 32)(images)[0], images[:, :, ::4, ::4])


def test_a_layer_with_several_names_stays_where_it_is():
    """CoaT's blocks share one layer under three names; shapes are found on the meta device."""
    layer = torch.nn.Conv2d(3, 3, 1)
    net = torch.nn.ModuleDict({"one": layer, "two": layer, "tied": torch.nn.Conv2d(3, 3, 1)})
    net["tied"].weight = layer.weight
    net.forward = lambda images: net["tied"](net["two"](net["one"](images)))
    run_on_meta(net, torch.empty(1, 3, 4, 4, device="meta"))
    assert {p.device.type for p in net.parameters()} == {"cpu"}
    assert net["tied"].weight is layer.weight
    assert net(torch.randn(1, 3, 4, 4)).shape == (1, 3, 4, 4)
