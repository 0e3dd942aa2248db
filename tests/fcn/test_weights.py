"""Weights: every tensor from the file, or a refusal that says what to do."""

import pytest
import timm
import torch

from fcn.backbones.taps import create_backbone
from fcn.errors import InputError


def test_weights_of_another_network_are_refused(tmp_path):
    name = "resnet18.a1_in1k"
    path = tmp_path / "half.pth"
    state = timm.create_model(name).state_dict()
    torch.save({key: value for key, value in state.items() if "layer3" not in key}, path)
    with pytest.raises(InputError, match=r"half\.pth' leave \d+ of \d+ tensors .*'layer3.0.conv1"):
        create_backbone(name, pretrained=str(path))
    # Layers that are left out need no weights.
    create_backbone(name, pretrained=str(path), strides=(8,))


def test_vgg_weights_are_checked_too(tmp_path):
    path = tmp_path / "vgg.pth"
    net = timm.create_model("vgg11", mlp_ratio=1 / 4096)
    torch.save({k: v for k, v in net.state_dict().items() if k != "features.0.bias"}, path)
    with pytest.raises(InputError, match=r"vgg\.pth"):
        create_backbone("vgg11", pretrained=str(path))


def test_a_pickled_object_is_refused_and_not_run(tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"

    class Evil:
        def __reduce__(self):
            return (open, (str(canary), "w"))

    torch.save(Evil(), path)
    with pytest.raises(InputError, match=r"evil\.pth"):
        create_backbone("resnet18", pretrained=str(path))
    assert not canary.exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_an_empty_weights_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"empty.{suffix}"
    path.touch()
    with pytest.raises(InputError, match=f"empty.{suffix}"):
        create_backbone("resnet18", pretrained=str(path))


def test_weights_that_cannot_be_fetched_name_their_source(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", "/nonexistent")
    monkeypatch.setattr("os.makedirs", lambda *_, **__: None)
    with pytest.raises(InputError, match=r"googlenet-1378be20\.pth.*model\.pretrained"):
        create_backbone("googlenet", pretrained=True)
