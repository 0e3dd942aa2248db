"""Classifiers as convolutions: against the classifiers themselves, fed window by window."""

import pytest
import timm
import torch
from torch import nn

from fcn import create_model
from fcn.errors import InputError
from fcn.heatmap import compute_heatmap, create_heatmap_model

NETS = {"alexnet": 224, "caffenet": 227, "vgg11": 224}


@pytest.fixture(params=["alexnet", "caffenet", pytest.param("vgg11", marks=pytest.mark.slow)])
def whole(request, monkeypatch, no_start):
    """A classification network, from which the heatmap model under test is made."""
    # A thin fc6 makes the same statement as one of 4096 channels, in a tenth of the time.
    thin = {"mlp_ratio": 1 / 64} if request.param == "vgg11" else {}
    net = timm.create_model(request.param, num_classes=7, **thin).eval()
    if not thin:
        first, second, _ = (i for i, m in enumerate(net.classifier) if isinstance(m, nn.Linear))
        net.classifier[first] = nn.Linear(256 * 6 * 6, 64)
        net.classifier[second] = nn.Linear(64, 48)
        net.classifier[6] = nn.Linear(48, 7)
    for layer in net.modules():  # torch's own start fades on the way to the scores
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=(2 / layer.weight[0].numel()) ** 0.5)
            nn.init.normal_(layer.bias)
    monkeypatch.setattr("fcn.backbones.nets.create_with_weights", lambda *_, **__: net)
    return request.param, net, NETS[request.param]


def test_at_the_classifiers_own_size_the_map_is_its_logits(whole):
    name, net, side = whole
    model = create_heatmap_model(name)
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        scores, logits = model(images), net(images)
    assert scores.shape == (2, 7, 1, 1)
    torch.testing.assert_close(scores[..., 0, 0], logits, atol=1e-5, rtol=1e-4)


def test_the_map_is_the_classifier_slid_over_the_image(whole):
    """Without padding a crop cannot tell that it is one: each cell is the classifier's answer."""
    name, net, _ = whole
    window = {"alexnet": 355, "caffenet": 355, "vgg11": 342}[name]  # what fc6 then sees
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding = (0, 0)
    model = create_heatmap_model(name)
    image = torch.rand(3, window + 32, window + 64)
    scores, positions = compute_heatmap(model, image)
    assert scores.shape == (7, 2, 3)
    mean, std = (torch.tensor(v)[:, None, None] for v in (model.backbone.mean, model.backbone.std))
    for i, j in ((0, 0), (1, 1), (0, 2)):
        crop = image[:, 32 * i : 32 * i + window, 32 * j : 32 * j + window]
        with torch.no_grad():
            logits = net(((crop - mean) / std)[None])[0]
        torch.testing.assert_close(scores[:, i, j], logits, atol=1e-5, rtol=1e-3)
        centre = [(window - 1) / 2 + 32 * i, (window - 1) / 2 + 32 * j]
        assert positions[i, j].tolist() == centre


def test_a_image_smaller_than_the_window_is_refused(whole):
    name, _, side = whole
    model = create_heatmap_model(name)
    with pytest.raises(InputError, match=f"image of {side - 32}x400 pixels.*by 32 pixels"):
        compute_heatmap(model, torch.rand(3, side - 32, 400))


def test_a_network_without_fully_connected_layers_has_no_heatmap():
    with pytest.raises(InputError, match="'resnet18' has not the two fully connected layers"):
        create_heatmap_model("resnet18")


@pytest.mark.parametrize("name", timm.list_models("vgg*", module="vgg"))
def test_every_vgg_of_timm_has_the_papers_head(name):
    with torch.device("meta"):
        model = create_model(name, num_classes=3, head="convolutionalized", skip="fcn32s")
    sizes = [(layer.in_channels, layer.kernel_size) for layer in (model.head.fc6, model.head.fc7)]
    assert sizes == [(512, (7, 7)), (4096, (1, 1))]


def test_the_head_has_the_published_weights_of_fc6_and_fc7(tmp_path, no_start):
    path = tmp_path / "alexnet.pth"
    net = timm.create_model("alexnet")
    torch.save(net.state_dict(), path)
    model = create_model(
        "alexnet", num_classes=3, skip="fcn16s", head="convolutionalized", pretrained=str(path)
    )
    fc6 = net.classifier[1].weight.unflatten(1, (256, 6, 6))
    assert torch.equal(model.head.fc6.weight, fc6)
    assert torch.equal(model.head.fc7.weight[..., 0, 0], net.classifier[4].weight)
    assert torch.equal(model.head.fc7.bias, net.classifier[4].bias)
    assert torch.equal(model.backbone.net.features_0.weight, net.features[0].weight)
    assert model.head.score.weight.shape == (3, 4096, 1, 1)
    assert not model.head.score.weight.any()


def test_a_convolutionalized_model_shares_its_names_with_a_linear_one(no_start):
    models = [
        create_model("caffenet", num_classes=3, skip="fcn16s", head=head)
        for head in ("linear", "convolutionalized")
    ]
    names = [{key for key in m.state_dict() if not key.startswith("head.")} for m in models]
    assert names[0] == names[1]


def test_dropout_follows_fc6_and_fc7():
    model = create_model("caffenet", num_classes=3, head="convolutionalized", dropout=0.5)
    masks = []
    model.head.dropout.register_forward_hook(lambda _, args, output: masks.append(output == 0))
    model.train()
    model(torch.randn(1, 3, 100, 100))
    assert [mask.shape[1] for mask in masks] == [4096, 4096]
    assert all(mask.float().mean() > 0.5 for mask in masks)  # half dropped, and what ReLU cut
