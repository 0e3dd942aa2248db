"""Models kept in folders."""

import json
import os

import pytest
import torch
from safetensors import safe_open

import fcn
from fcn.errors import InputError


@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": "resnet10t", "skip": "fcn16s", "upsampling": "learned", "fusion": "max"},
        {"backbone": "any", "external": "torchvision/lraspp_mobilenet_v3_large"},
    ],
)
def test_a_folder_carries_a_model_whole(tmp_path, settings):
    model = fcn.create_model(**settings, num_classes=5, score_init="random").eval()
    folder = fcn.save_pretrained(model, tmp_path / os.fsdecode(b"new\xff") / "folder")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    again = fcn.from_pretrained(str(folder))
    images = torch.randn(1, 3, 65, 40)
    with torch.no_grad():
        assert torch.equal(again(images), model(images))
    assert (again.mean, again.std) == (model.mean, model.std)
    assert not again.training
    assert fcn.save_pretrained(again, tmp_path / "copy").is_dir()


def test_the_files_are_what_hubs_expect(tmp_path):
    model = fcn.create_model("resnet10t", num_classes=2)
    folder = fcn.save_pretrained(model, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["backbone"] == "resnet10t"
    assert config["settings"]["skip"] == "fcn8s"  # defaults are written out
    assert config["mean"] == pytest.approx([0.485, 0.456, 0.406])
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert set(file.keys()) == set(model.state_dict())


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no model"):
        fcn.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["Bert"]}')
    with pytest.raises(InputError, match="not of format 1"):
        fcn.from_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    fcn.save_pretrained(fcn.create_model("resnet10t", num_classes=2), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(InputError, match=r"model\.safetensors does not fit"):
        fcn.from_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"only models built by fcn\.create_model"):
        fcn.save_pretrained(torch.nn.Conv2d(1, 1, 1), tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": '{"architectures": ["Bert"]}', "model.safetensors": "theirs"},
        {"config.json": "{", "notes.txt": "x"},
        {"model.safetensors": "theirs"},
    ],
)
def test_files_of_others_are_never_replaced(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    taken = " and ".join(name for name in files if name != "notes.txt")
    with pytest.raises(InputError, match=f"holds {taken} that fcn.save_pretrained did not write"):
        fcn.save_pretrained(fcn.create_model("resnet10t", num_classes=2), tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_a_folder_of_ours_is_written_again(tmp_path):
    for num_classes in (2, 3):
        fcn.save_pretrained(fcn.create_model("resnet10t", num_classes=num_classes), tmp_path)
    assert fcn.from_pretrained(tmp_path).settings["num_classes"] == 3


def test_every_name_of_the_package_is_there():
    assert {name for name in fcn.__all__ if not callable(getattr(fcn, name))} == set()
    assert set(fcn._HOMES) == set(fcn.__all__)
    for listing in ("list_heads", "list_skips", "list_upsamplings", "list_fusions"):
        assert getattr(fcn, listing)()
    assert "torchvision/fcn_resnet50" in fcn.list_externals()


def test_a_folder_of_ours_that_was_changed_is_not_written_again(tmp_path):
    model = fcn.create_model("resnet10t", num_classes=2)
    config, weights = (tmp_path / name for name in ("config.json", "model.safetensors"))
    fcn.save_pretrained(model, tmp_path)
    text, content = config.read_text(), weights.read_bytes()
    for path, other in (
        (config, text.replace("resnet10t", "resnet18").encode()),
        (config, json.dumps({k: v for k, v in json.loads(text).items() if k != "sha256"}).encode()),
        (weights, content[:-1] + bytes([content[-1] ^ 1])),
    ):
        before = path.read_bytes()
        path.write_bytes(other)
        with pytest.raises(InputError, match="or that is not as it was written"):
            fcn.save_pretrained(model, tmp_path)
        assert path.read_bytes() == other
        path.write_bytes(before)
    fcn.save_pretrained(model, tmp_path)


def test_files_are_whole_and_have_the_usual_mode(tmp_path, monkeypatch):
    (tmp_path / "usual").touch()
    fcn.save_pretrained(fcn.create_model("resnet10t", num_classes=2), tmp_path)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fill_up(path, content):
        path.write_text("half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(type(tmp_path), "write_bytes", fill_up)
    with pytest.raises(OSError, match="No space"):
        fcn.save_pretrained(fcn.create_model("resnet10t", num_classes=3), tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
