"""External networks: built, resized, trained and loaded as an FCN is, or refused."""

import sys
import types

import pytest
import torch
import torchvision
from torch import nn

from fcn import create_model
from fcn.errors import InputError
from fcn.external import External
from fcn.libraries import create_external, list_externals
from fcn.weights import find_loaded


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "fcn_resnet50"])
def test_torchvisions_networks_give_what_torchvision_gives(name):
    model = create_model("any", num_classes=4, external=f"torchvision/{name}").eval()
    net = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=4)
    net.load_state_dict(model.net.state_dict())
    images = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        theirs = net.eval()(images)["out"]
        torch.testing.assert_close(model(images), theirs)
        assert model(images, size=(33, 50)).shape == (1, 4, 33, 50)
    model.train()(torch.randn(2, 3, 64, 64)).mean().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert f"torchvision/{name}" in list_externals()


def test_logits_of_any_size_are_resized_as_torch_does():
    model = External(nn.Conv2d(3, 2, 4, stride=4), num_classes=2)
    images = torch.randn(1, 3, 32, 48)
    for size in ((32, 48), (31, 77), (5, 9)):
        expected = nn.functional.interpolate(
            model.net(images), size, mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(model(images, size), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"out": x, "aux": 0}, lambda x: [x, 0]])
def test_a_network_may_answer_in_three_ways(wrap):
    class Net(nn.Module):
        def forward(self, images):
            return wrap(images[:, :2])

    images = torch.randn(1, 3, 8, 9)
    assert torch.equal(External(Net(), num_classes=2)(images), images[:, :2])
    with pytest.raises(InputError, match=r"\(1, 2, 8, 9\); .*\(N, 3, h, w\)"):
        External(Net(), num_classes=3)(images)


@pytest.fixture
def library(monkeypatch):
    """A module of a user, importable as users_networks."""

    class Own(nn.Conv2d):
        mean, std = (0.1, 0.2, 0.3), (1.0, 1.0, 1.0)

    module = types.ModuleType("users_networks")
    module.plain = lambda num_classes, in_chans=3: nn.Conv2d(in_chans, num_classes, 3, padding=1)
    module.own = lambda num_classes: Own(3, num_classes, 1)
    module.none = lambda num_classes: None
    monkeypatch.setitem(sys.modules, "users_networks", module)


def test_any_callable_is_a_network(library):
    model = create_model("any", num_classes=3, external="users_networks:plain", in_chans=4)
    assert model(torch.randn(1, 4, 9, 8)).shape == (1, 3, 9, 8)
    assert model.mean == (0.485, 0.456, 0.406, 0.485)
    assert create_external("users_networks:own", num_classes=2).mean == (0.1, 0.2, 0.3)
    with torch.device("meta"):
        assert create_external("users_networks:plain", num_classes=2).net.weight.is_meta


def test_its_weights_come_from_a_file_and_are_all_there(library, tmp_path):
    path = tmp_path / "own.pth"
    net = nn.Conv2d(3, 2, 3, padding=1)
    torch.save(net.state_dict(), path)
    options = {"num_classes": 2, "pretrained": str(path)}
    model = create_external("users_networks:plain", **options)
    assert torch.equal(model.net.weight, net.weight)
    assert find_loaded(model).num_tensors == 2
    around = {"state_dict": {f"module.{key}": one for key, one in net.state_dict().items()}}
    torch.save(around, path)
    (tmp_path / "own.json").write_text('{"origin": "by hand", "licence": "MIT"}')
    model = create_external("users_networks:plain", **options)
    assert torch.equal(model.net.weight, net.weight)
    assert (find_loaded(model).origin, find_loaded(model).licence) == ("by hand", "MIT")
    torch.save({"weight": net.weight}, path)
    with pytest.raises(InputError, match=r"leaves 1 tensors .* unset, 'bias' first"):
        create_external("users_networks:plain", **options)
    with pytest.raises(InputError, match="does not fit"):
        create_external("users_networks:plain", num_classes=5, pretrained=str(path))
    torch.save({**net.state_dict(), "bias": torch.tensor([1.0, torch.inf])}, path)
    with pytest.raises(InputError, match=r"infinite .* in 1 tensors of weights, 'bias' first"):
        create_external("users_networks:plain", **options)


def test_torchvisions_weights_are_its_backbones_or_the_whole_network(tmp_path, monkeypatch):
    """Files under the names that torchvision publishes, in the cache: nothing is fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("fcn.download.require_hash", lambda *_: None)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    name = "lraspp_mobilenet_v3_large"
    trunk = torchvision.models.mobilenet_v3_large()
    torch.save(trunk.state_dict(), folder / "mobilenet_v3_large-8738ca79.pth")
    model = create_external(f"torchvision/{name}", num_classes=4, pretrained=True)
    assert torch.equal(model.net.backbone["0"][0].weight, trunk.features[0][0].weight)
    assert "mobilenet_v3_large-8738ca79.pth" in find_loaded(model).source

    whole = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=21)
    torch.save(whole.state_dict(), folder / "lraspp_mobilenet_v3_large-d234d4ea.pth")
    tag = "COCO_WITH_VOC_LABELS_V1"
    model = create_external(f"torchvision/{name}", num_classes=21, pretrained=tag)
    assert torch.equal(model.net.classifier.low_classifier.weight,
                       whole.classifier.low_classifier.weight)  # fmt: skip
    with pytest.raises(InputError, match="does not fit"):
        create_external(f"torchvision/{name}", num_classes=4, pretrained=tag)


class Unet(nn.Module):
    """Stands for smp's: it refuses sizes that are no multiple of 32, and knows its own shift."""

    def __init__(self, encoder_name, encoder_weights, in_channels, classes):
        super().__init__()
        if encoder_name != "resnet18":
            raise KeyError(f"wrong encoder name {encoder_name!r}")
        assert encoder_weights is None
        self.layer = nn.Conv2d(in_channels, classes, 1)

    def forward(self, images):
        assert images.shape[2] % 32 == images.shape[3] % 32 == 0
        return self.layer(images)


def test_smps_networks_see_padded_images(monkeypatch):
    smp = types.ModuleType("segmentation_models_pytorch")
    smp.Unet = Unet
    smp.encoders = types.SimpleNamespace(get_encoder_names=lambda: ["resnet18", "vgg11"])
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", smp)
    model = create_external("smp/Unet(resnet18)", num_classes=2)
    images = torch.randn(1, 3, 33, 50)
    torch.testing.assert_close(model(images), model.net.layer(images))
    with pytest.raises(InputError, match="unknown encoder of smp 'resnet19'; did you mean 'resn"):
        create_external("smp/Unet(resnet19)", num_classes=2)
    with pytest.raises(InputError, match=r"'smp/Unet\(vgg11\)' cannot be built .*KeyError"):
        create_external("smp/Unet(vgg11)", num_classes=2)
    with pytest.raises(InputError, match="did you mean 'Unet'"):
        create_external("smp/Unett(resnet18)", num_classes=2)


@pytest.mark.parametrize(
    "name", ["Unet(resnet18)", "FPN(mobilenet_v2)", "Segformer(mit_b0)", "Unet(tu-resnet10t)"]
)
def test_the_real_smp_if_it_is_there(name):
    pytest.importorskip("segmentation_models_pytorch")
    model = create_external(f"smp/{name}", num_classes=2, in_chans=4).eval()
    images = torch.randn(1, 4, 65, 40)
    with torch.no_grad():
        padded = nn.functional.pad(images, (0, 24, 0, 31))
        torch.testing.assert_close(model(images), model.net(padded)[..., :65, :40])
    with torch.device("meta"):
        assert all(p.is_meta for p in create_external(f"smp/{name}", num_classes=2).parameters())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Unet(tu-resnet10)", r"cannot be built .*Unknown model"),
        ("Unet(resnet19)", "did you mean 'resnet18'"),
        ("Unett(resnet18)", "did you mean 'Unet'"),
        ("MODEL_ARCHITECTURES_MAPPING(resnet18)", "unknown architecture"),
    ],
)
def test_what_the_real_smp_has_not_is_refused(name, message):
    pytest.importorskip("segmentation_models_pytorch")
    with pytest.raises(InputError, match=message):
        create_external(f"smp/{name}", num_classes=2)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("torchvision/fcn_resnet51", {}, "did you mean 'fcn_resnet50'"),
        ("torchvision/fcn_resnet50", {"in_chans": 4}, "3 channels, not 4"),
        ("keras/unet", {}, "it may be 'torchvision/NAME'"),
        ("resnet18", {}, "it may be 'torchvision/NAME'"),
        ("smp/Unet", {}, r"smp/ARCHITECTURE\(ENCODER\)"),
        (
            "no_such_module:net",
            {},
            "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("users_networks:missing", {}, "cannot be imported"),
        ("users_networks:none", {}, "gave NoneType, not a torch module"),
        ("users_networks:own", {"in_chans": 4}, "cannot be built .*TypeError: .*'in_chans'"),
        ("users_networks:plain", {"pretrained": True}, "no published weights known here"),
        ("users_networks:plain", {"pretrained": "gone.pth"}, "no weights file"),
    ],
)
def test_what_cannot_be_is_refused(library, source, options, message):
    with pytest.raises(InputError, match=message):
        create_external(source, num_classes=2, **options)


def test_smp_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(InputError, match="needs the package segmentation-models-pytorch"):
        create_external("smp/Unet(resnet18)", num_classes=2)
