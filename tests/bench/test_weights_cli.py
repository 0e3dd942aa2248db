"""`fcn-bench weights`: what a file holds, and a converted one with what is written beside it."""

import json

import pytest
import timm
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from bench.cli.weights import weights_app
from bench.store.atomic import file_digest
from fcn.errors import InputError
from fcn.weights_file import read_description

NAME = "test_efficientnet"
TORCH = ("--backbone", NAME, "--layout", "torch")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call `fcn-bench weights` where net.pth is a checkpoint, with a tensor too many."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    state = {f"module.{key}": one for key, one in timm.create_model(NAME).state_dict().items()}
    torch.save({"net": {**state, "dsn.weight": torch.zeros(2)}, "epoch": 3}, "net.pth")

    def run(*words):
        result = CliRunner().invoke(weights_app, list(words))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_a_table_says_where_each_tensor_is_from(call, tmp_path):
    out = ("--origin", "by hand", "--licence", "MIT", "--out", "made/net.safetensors")
    shown = call("convert", "net.pth", *TORCH, "--without", "dsn*", "--bgr", *out).stdout
    (row,) = [line.split() for line in shown.splitlines() if line.startswith("conv_stem.weight")]
    shape = "x".join(map(str, load_file("made/net.safetensors")["conv_stem.weight"].shape))
    assert row == ["conv_stem.weight", shape, "module.conv_stem.weight", shape]
    assert "proven: features on an image are those of the source's arithmetic" in shown
    assert "folded into the first convolution: Preprocessing(range=255.0" in shown
    beside = json.loads((tmp_path / "made/net.json").read_text())
    assert beside["converted"]["sha256"] == file_digest(tmp_path / "net.pth")
    assert beside["converted"]["without"] == ["dsn*"]
    assert beside["converted"]["preprocessing"]["bgr"] is True
    about = read_description(tmp_path / "made/net.safetensors")
    assert (about.origin, about.licence, about.preprocessing) == ("by hand", "MIT", "timm")
    with pytest.raises(InputError, match=r"net\.safetensors is there already, and stays"):
        call("convert", "net.pth", *TORCH, "--without", "dsn*", *out)
    listed = json.loads(call("show", "made/net.safetensors", "--json").stdout)
    assert {row["tensor"] for row in listed} == load_file("made/net.safetensors").keys()


@pytest.mark.parametrize("largest", [1.0, 255.0])
def test_images_of_a_range_alone_are_folded_in(call, tmp_path, largest):
    """The source sees range x image, and timm's networks (image - mean) / std."""
    words = ("convert", "net.pth", *TORCH, "--without", "dsn*", "--range", str(largest))
    told = json.loads(call(*words, "--out", "folded.safetensors", "--json").stdout)
    assert max(told["apart"].values()) < 1e-4
    stored = torch.load("net.pth", weights_only=True)["net"]["module.conv_stem.weight"]
    std = torch.tensor(timm.get_pretrained_cfg(NAME).std).view(3, 1, 1)
    made = load_file("folded.safetensors")["conv_stem.weight"]
    torch.testing.assert_close(made, largest * std * stored)
    beside = json.loads((tmp_path / "folded.json").read_text())["converted"]["preprocessing"]
    assert beside == {"range": largest, "mean": [0, 0, 0], "std": [1, 1, 1], "bgr": False}


def test_weights_for_caffes_images_are_left_as_they_are_and_said_to_be_so(call, tmp_path):
    words = ("convert", "net.pth", *TORCH, "--without", "dsn*", "--for", "caffe")
    told = json.loads(call(*words, "--out", "caffe.safetensors", "--json").stdout)
    assert told["missing"] == []
    assert max(told["apart"].values()) < 1e-5
    made = load_file("caffe.safetensors")["conv_stem.weight"]
    stored = torch.load("net.pth", weights_only=True)["net"]["module.conv_stem.weight"]
    assert torch.equal(made, stored)
    assert read_description(tmp_path / "caffe.safetensors").preprocessing == "caffe"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "net.pt"), r"give the name of a \.safetensors file"),
        (("--out", "n.safetensors"), r"nothing is left for 'dsn'"),
        (("--out", "n.safetensors", "--without", "dsn.weigt"), r"did you mean 'dsn\.weight'"),
        (("--out", "n.safetensors", "--mean", "1,2"), "give three numbers for red, green and"),
        (("--out", "n.safetensors", "--std", "1,0,1"), "--std is '1,0,1'"),
        (("--out", "n.safetensors", "--for", "cafe"), "did you mean 'caffe'"),
        (("--out", "n.safetensors", "--for", "caffe", "--bgr"), "--for caffe leaves the weights"),
        (("--out", "n.safetensors", "--for", "caffe", "--range", "1"), "alone, or --bgr, --mean"),
    ],
)
def test_what_cannot_be_is_one_paragraph_and_leaves_nothing(call, tmp_path, words, said):
    with pytest.raises(InputError, match=said):
        call("convert", "net.pth", *TORCH, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]
