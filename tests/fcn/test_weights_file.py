"""Weights files: which one is meant, in which formats it may be, and what is said beside it."""

import json
import zipfile
from argparse import Namespace

import h5py
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from fcn import create_model
from fcn.backbones.taps import create_backbone
from fcn.errors import InputError
from fcn.heatmap import create_heatmap_model
from fcn.model import require_weights
from fcn.published import cached_path, candidates
from fcn.weights import find_loaded
from fcn.weights_file import find_weights_file, read_description
from fcn.weights_folder import use_weights_folder

NAME = "resnet10t"


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(1)
    return timm.create_model(NAME).state_dict()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that `--weights` names, which is not the current one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("FCN_BENCH_WEIGHTS", "")
    use_weights_folder(tmp_path)
    return tmp_path


def write(state, path):
    """Write tensors in the format that a file's ending names."""
    if path.suffix == ".safetensors":
        save_file(state, path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, tensor in state.items():
                file[name.replace(".", "/")] = tensor.numpy()
    else:
        torch.save(state, path)


ENDINGS = [".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pth.tar", ".npz", ".h5"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_network(state, folder, ending):
    write(state, folder / f"net{ending}")
    model = create_model(NAME, num_classes=2, pretrained=f"net{ending}")
    assert find_loaded(model).source == str(folder / f"net{ending}")
    require_same(model, state)
    assert not any(isinstance(value, dict) for value in model.backbone.net.pretrained_cfg.values())
    assert require_weights(NAME, num_classes=2, pretrained=f"net{ending}")
    (folder / f"net{ending}").rename(folder / f"NET{ending.upper()}")
    require_same(create_model(NAME, num_classes=2, pretrained=f"NET{ending.upper()}"), state)


def require_same(model, state):
    for key, tensor in model.backbone.net.state_dict().items():
        assert torch.equal(tensor, state[key])


@pytest.mark.parametrize(
    "around",
    [
        ("state_dict",),
        ("model",),
        ("model_state_dict",),
        ("net",),
        ("weights",),
        ("checkpoint", "model_ema"),
        ("model", "state_dict"),
    ],
)
def test_a_checkpoint_is_its_weights(state, folder, around):
    """Beside a step, an optimiser's state, and arguments as scripts keep them."""
    whole = {"epoch": 3, "args": Namespace(lr=0.1), "optimizer": {"state": {0: torch.ones(2)}}}
    if around[0] == "checkpoint":  # what training averages is what is published
        whole |= {around[1]: state, "state_dict": {key: 0 * one for key, one in state.items()}}
    else:
        inner = state
        for key in reversed(around):
            inner = {key: inner}
        whole |= inner
    torch.save(whole, folder / "last.pth")
    require_same(create_model(NAME, num_classes=2, pretrained="last.pth"), state)


@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".npz", ".h5"])
@pytest.mark.parametrize("around", ["module.", "_orig_mod.", "model.", "module.backbone."])
def test_a_network_may_have_been_part_of_another(state, folder, around, ending):
    """DataParallel, torch.compile, Lightning, and a wrapper in a wrapper."""
    write({f"{around}{key}": one for key, one in state.items()}, folder / f"part{ending}")
    require_same(create_model(NAME, num_classes=2, pretrained=f"part{ending}"), state)


def test_what_was_part_of_another_is_still_refused_if_it_is_of_another_network(folder):
    state = {f"encoder.{key}": torch.zeros(1) for key in ("a", "b")}
    write(state, folder / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth' leave \d+ of \d+ tensors"):
        create_backbone(NAME, pretrained="other.pth")


def of_torch_script(path):
    with zipfile.ZipFile(path, "w") as file:
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl"):
            file.writestr(f"net/{name}", b"")


def of_other_things(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net.pth", b"weights")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pth", b"", "it is empty"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("a.h5", b"<!DOCTYPE html>\n<html>", "a page of a web site, not weights"),
        ("a.bin", b"\x1f\x8b\x08", "an archive: unpack it"),
        ("a.zip", of_other_things, "an archive: unpack it"),
        ("a.pt", of_other_things, "an archive: unpack it"),
        ("b.pt", of_torch_script, r"TorchScript.*torch\.jit\.load\(FILE\)\.state_dict"),
        ("a.caffemodel", b"\n\x09CaffeNet", "have Caffe save its arrays as"),
        ("a.npz", b"PK\x03\x04 and no more", "not a zip file"),
        ("c.pth", [1, 2], "no tensors by name"),
        ("d.pth", {1: 2}, "no tensors by name"),
        ("e.pth", {"step": 3, "model": {}}, "no tensors by name"),
        ("f.pth", {"best": np.float64(3)}, r"else than tensors by name \(numpy\..*nothing is unpi"),
    ],
)
def test_what_is_no_file_of_weights_is_called_what_it_is(folder, name, content, said):
    if callable(content):
        content(folder / name)
    elif isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        torch.save(content, folder / name)
    with pytest.raises(InputError, match=rf"weights file .*{name}' .*{said}"):
        create_backbone(NAME, pretrained=name)


@pytest.mark.parametrize("fault", [float("nan"), float("inf"), torch.int8])
def test_numbers_that_cannot_be_trained_are_refused_before_anything_is(state, folder, fault):
    key, other = "layer2.0.conv2.weight", state["layer2.0.conv2.weight"].clone()
    if isinstance(fault, float):
        other[0, 0, 1, 1] = fault
    write({**state, key: other if isinstance(fault, float) else other.to(fault)}, folder / "n.pth")
    for tried in (create_model, require_weights):
        with pytest.raises(InputError, match=rf"in 1 tensors of weights, '{key}' first"):
            tried(NAME, num_classes=2, pretrained="n.pth")


def test_a_name_is_looked_for_here_and_then_in_the_folder(folder):
    for place in (folder, folder / "elsewhere"):
        (place / "net.pth").touch()
    assert find_weights_file("net.pth").resolve() == folder / "elsewhere" / "net.pth"
    (folder / "elsewhere" / "net.pth").unlink()
    assert find_weights_file("net.pth") == folder / "net.pth"
    (folder / "net.pth").unlink()
    with pytest.raises(
        InputError, match=rf"no weights file 'net.pth' or '{folder}/net.pth';.*--weigh"
    ):
        create_backbone(NAME, pretrained="net.pth")
    with pytest.raises(InputError, match="nowhere' is no folder"):
        use_weights_folder(folder / "nowhere")


def test_a_folder_is_its_one_file_of_weights(state, folder):
    (folder / "hub").mkdir()
    write(state, folder / "hub" / "a.pth")
    assert find_weights_file("hub").name == "a.pth"
    write(state, folder / "hub" / "b.pth")
    with pytest.raises(InputError, match=r"2 files of weights \(a\.pth, b\.pth\); name one"):
        find_weights_file("hub")
    write(state, folder / "hub" / "model.safetensors")
    assert find_weights_file("hub").name == "model.safetensors"
    assert create_backbone(NAME, pretrained="hub").taps.keys() == {2, 4, 8, 16, 32}


def test_a_folder_without_weights_and_a_file_of_almost_that_name_are_told(state, folder):
    (folder / "hub").mkdir()
    with pytest.raises(InputError, match=r"folder '.*hub' of model\.pretrained holds no file of"):
        create_backbone(NAME, pretrained="./hub")
    write(state, folder / "resnet.safetensors")
    with pytest.raises(InputError, match=r"\(the nearest there is 'resnet\.safetensors'\)"):
        create_backbone(NAME, pretrained="resnt.safetensors")
    with pytest.raises(InputError, match=r"no weights file 'net\.caffemodel'"):
        create_backbone(NAME, pretrained="net.caffemodel")


def test_a_tag_is_no_file(folder):
    assert find_weights_file("c3_in1k") is None
    (folder / "c3_in1k").mkdir()
    assert find_weights_file("c3_in1k") is None  # an empty folder of that name changes nothing


def test_what_is_written_beside_enters_what_is_remembered(state, folder):
    write(state, folder / "net.safetensors")
    text = "origin: ImageNet, by hand\nlicense: MIT\nmean: [0.485, 0.456, 0.406]\n"
    (folder / "net.yaml").write_text(text)
    loaded = find_loaded(create_backbone(NAME, pretrained="net.safetensors"))
    assert (loaded.origin, loaded.licence) == ("ImageNet, by hand", "MIT")
    (folder / "net.json").write_text("[not, json")  # a stranger's says nothing
    assert read_description(folder / "net.safetensors").licence == "MIT"


@pytest.mark.parametrize("key", ["mean", "std"])
def test_weights_for_other_images_are_refused_with_the_way_out(state, folder, key):
    (folder / "hub").mkdir()
    write(state, folder / "hub" / "model.safetensors")
    config = {"architecture": NAME, "pretrained_cfg": {key: [0.5, 0.5, 0.5]}}
    (folder / "hub" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=rf"images of {key} \[0.5.*fold it .* weights convert"):
        create_backbone(NAME, pretrained="hub")


def test_what_the_network_has_no_place_for_is_refused_by_name(state, folder):
    write({**state, "dsn1.weight": torch.zeros(1)}, folder / "more.pth")
    with pytest.raises(InputError, match=r"1 tensors .* has no place for: dsn1.weight; .*without"):
        create_backbone(NAME, pretrained="more.pth")
    less = {key: tensor for key, tensor in state.items() if not key.startswith("fc.")}
    write(less, folder / "less.pth")
    create_backbone(NAME, pretrained="less.pth")


@pytest.fixture(scope="module")
def trunk():
    torch.manual_seed(1)
    state = timm.create_model("vgg11", mlp_ratio=1 / 4096, num_classes=0).state_dict()
    return {key: tensor for key, tensor in state.items() if key.startswith("features.")}


@pytest.mark.slow
def test_a_trunk_serves_the_paper_head_whose_layers_start_at_random(trunk, folder):
    write(trunk, folder / "trunk.pth")
    head = "convolutionalized"
    model = create_model("vgg11", num_classes=2, head=head, pretrained="trunk.pth")
    missing = find_loaded(model).missing
    assert missing[:2] == ("pre_logits.fc1.weight", "pre_logits.fc1.bias")
    assert find_loaded(model).num_tensors == len(trunk)
    assert model.head.fc6.weight.std() > 0
    own = list(model.backbone.net.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(own, trunk.values(), strict=True))
    with pytest.raises(InputError, match=r"have no classifier \(pre_logits.fc1.weight"):
        create_heatmap_model("vgg11", "trunk.pth")


def test_a_trunk_serves_the_linear_head(trunk, folder):
    write(trunk, folder / "trunk.pth")
    model = create_model("vgg11", num_classes=2, pretrained="trunk.pth")
    assert find_loaded(model).missing == ()
    first = model.backbone.net.state_dict()["layers.0.weight"]
    assert torch.equal(first, trunk["features.0.weight"])


def test_hdf5_that_leads_out_of_its_file_is_refused(folder):
    with h5py.File(folder / "link.h5", "w") as file:
        file["conv1"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(InputError, match=r"'conv1' of .* is a link"):
        create_backbone(NAME, pretrained="link.h5")
    with h5py.File(folder / "raw.h5", "w") as file:
        file.create_dataset("fc", (4,), "f4", external=[(str(folder / "other"), 0, 16)])
    with pytest.raises(InputError, match=r"'fc' of .* lies in another file"):
        create_backbone(NAME, pretrained="raw.h5")


def test_numpy_files_are_not_unpickled(folder):
    np.savez(folder / "evil.npz", **{"conv1.0.weight": np.array([print], dtype=object)})
    with pytest.raises(InputError, match=r"evil\.npz"):
        create_backbone(NAME, pretrained="evil.npz")


def test_a_published_file_in_the_folder_is_taken_from_there(folder, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    assert cached_path("net-0123abcd.pth") == folder / "torch/hub/checkpoints/net-0123abcd.pth"
    file = candidates(timm.models.get_pretrained_cfg("googlenet"))[0]
    (folder / file.path.name).touch()
    assert candidates(timm.models.get_pretrained_cfg("googlenet"))[0].path.parent == folder
