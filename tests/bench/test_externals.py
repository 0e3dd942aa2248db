"""Networks of other libraries through the loop that trains and scores ours, or refused before."""

import sys
import types

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from bench.data.registry import DATASETS
from bench.grid.building import count_cost
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.run.predict import predict
from bench.run.weights import load_weights
from bench.spec import ModelSpec
from fcn.errors import InputError
from fcn.external import IMAGENET_MEAN, IMAGENET_STD


def create_torchvisions(name):
    net = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=6)
    return lambda images: net(images)["out"], net


def create_smps(architecture, encoder):
    smp = pytest.importorskip("segmentation_models_pytorch")
    net = getattr(smp, architecture)(encoder, encoder_weights=None, classes=6)
    return net, net


NETWORKS = {
    "torchvision/lraspp_mobilenet_v3_large": lambda: create_torchvisions(
        "lraspp_mobilenet_v3_large"
    ),
    "torchvision/fcn_resnet50": lambda: create_torchvisions("fcn_resnet50"),
    "smp/Unet(resnet18)": lambda: create_smps("Unet", "resnet18"),
    "smp/Unet(mit_b0)": lambda: create_smps("Unet", "mit_b0"),
}
SLOW = {"torchvision/fcn_resnet50"}


@pytest.mark.parametrize(
    "external",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NETWORKS],
)
def test_it_is_trained_and_scored_as_its_own_library_would(external, tiny_run, tmp_path):
    """Scores counted once more: the library's own network, the run's weights, numpy."""
    forward, net = NETWORKS[external]()
    settings = {"model.external": external, "train.steps": 2, "data.options.size": 64}
    store, run = tiny_run(settings | {"train.crop": [64, 64]})
    cost = count_cost(run.spec.model, {"num_classes": 6}, (64, 64))
    assert cost.num_parameters == sum(p.numel() for p in net.parameters())
    assert execute(store.run_dir(run.id), Options("cpu", 1)) == outcome.DONE

    weights = load_weights(store, store.result(run.id))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.load_state_dict({name.removeprefix("net."): tensor for name, tensor in weights.items()})
    assert any(not torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    net.eval()
    dataset = DATASETS["shapes"](None, **run.spec.data.options)
    mean, std = np.float32(IMAGENET_MEAN), np.float32(IMAGENET_STD)
    confusion = np.zeros((6, 6), dtype=int)
    for name in dataset.splits["test"]:
        image, target = dataset.read("test", name)
        images = torch.from_numpy((image.astype(np.float32) / 255 - mean) / std)
        with torch.no_grad():
            pred = forward(images.permute(2, 0, 1)[None])[0].argmax(0).numpy()
        known = target != dataset.ignore_index
        np.add.at(confusion, (target[known], pred[known]), 1)
    # A pixel or two may be a tie but for rounding.
    assert np.abs(confusion - np.array(store.result(run.id).confusion)).sum() <= 4

    Image.new("RGB", (75, 50)).save(tmp_path / "odd.png")
    (found,) = predict(store, run.id, [tmp_path / "odd.png"], torch.device("cpu"), {})
    assert {pred.shape for pred in found.preds.values()} == {(50, 75)}


class OneSize(nn.Conv2d):
    def forward(self, images):
        assert images.shape[2] == 224, "Input height doesn't match model (224)"
        return super().forward(images)


class ByValue(nn.Conv2d):
    """Reads a value, which the meta device does not have."""

    def forward(self, images):
        return super().forward(images) * (2.0 if images.sum().item() > 0 else 1.0)


@pytest.fixture
def library(monkeypatch):
    """A module of a user, importable as users_networks."""
    module = types.ModuleType("users_networks")
    module.one_size = lambda num_classes: OneSize(3, num_classes, 1)
    module.plain = lambda num_classes: nn.Conv2d(3, num_classes, 1)
    module.by_value = lambda num_classes: ByValue(3, num_classes, 1)
    monkeypatch.setitem(sys.modules, "users_networks", module)


def test_one_that_reads_values_is_tried_with_arithmetic(library):
    plain, by_value = (
        count_cost(ModelSpec(external=f"users_networks:{name}"), {"num_classes": 2}, (10, 20))
        for name in ("plain", "by_value")
    )
    assert plain == by_value
    assert plain.num_parameters == 8


def test_one_that_fails_on_a_size_is_refused_with_its_reason(library):
    spec = ModelSpec(external="users_networks:one_size")
    count_cost(spec, {"num_classes": 2}, (224, 64))
    message = r"users_networks:one_size' fails on an image of 64x32 pixels: AssertionError: Input"
    with pytest.raises(InputError, match=message):
        count_cost(spec, {"num_classes": 2}, (64, 32))
