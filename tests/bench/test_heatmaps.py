"""The heatmap command on a network whose classifier is known."""

import json
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import fcn.backbones  # noqa: F401 (registers alexnet)
from bench.cli import heatmaps
from bench.cli.app import app
from bench.cli.command import run_app


@pytest.fixture
def weights(tmp_path):
    """AlexNet that answers class 7 wherever it sees anything: its last bias says so."""
    torch.manual_seed(0)
    net = timm.create_model("alexnet")
    last = net.get_classifier()
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    last.bias.data[7] = 9.0
    torch.save(net.state_dict(), tmp_path / "alexnet.pth")
    return tmp_path / "alexnet.pth"


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["fcn-bench", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    return ended.value.code or 0, capsys.readouterr()


def test_the_class_it_sees_is_named_and_drawn(monkeypatch, capsys, tmp_path, weights):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (300, 401, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    out = tmp_path / "map.png"
    words = ["heatmap", tmp_path / "x.png", "--backbone", "alexnet", "--pretrained", weights]
    code, said = run(monkeypatch, capsys, *words, "--out", out, "--json")
    assert code == 0
    rows = json.loads(said.out)
    probability = np.exp(9) / (np.exp(9) + 999)
    assert rows[0]["class"] == 7
    assert rows[0]["name"] == "cock"
    assert rows[0]["mean probability"] == pytest.approx(probability, abs=1e-4)
    with Image.open(out) as drawn:
        assert drawn.size == (401, 300)

    code, said = run(monkeypatch, capsys, *words, "--class", "1000")
    assert code == 65
    assert "0 to 999" in said.err


def test_a_heatmap_replaces_none_but_its_own(monkeypatch, capsys, tmp_path, weights):
    """Of another image, changed since, or somebody's: each is refused before it is drawn."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 255, (230, 230, 3), dtype=np.uint8)).save(name)
    words = ["--backbone", "alexnet", "--pretrained", weights]
    assert run(monkeypatch, capsys, "heatmap", "a.png", *words)[0] == 0
    assert run(monkeypatch, capsys, "heatmap", "a.png", *words, "--class", "3")[0] == 0
    first = (tmp_path / "heatmap.png").read_bytes()
    other = rng.integers(0, 255, (230, 230, 3), dtype=np.uint8)

    def repaint():
        with Image.open("heatmap.png") as drawn:
            notes = drawn.info
        note = PngInfo()
        note.add_text("fcn-bench heatmap", notes["fcn-bench heatmap"])
        Image.fromarray(other).save("heatmap.png", pnginfo=note)

    monkeypatch.setattr(heatmaps, "create_heatmap_model", pytest.fail)
    for name, change in (
        ("b.png", lambda: None),
        ("a.png", repaint),
        ("a.png", lambda: Image.fromarray(other).save("heatmap.png")),
        ("a.png", lambda: (tmp_path / "heatmap.png").write_text("mine")),
        ("a.png", lambda: (tmp_path / "heatmap.png").write_bytes(first[: len(first) // 2])),
    ):
        change()
        before = (tmp_path / "heatmap.png").read_bytes()
        code, said = run(monkeypatch, capsys, "heatmap", name, *words)
        assert code == 65
        assert "give another name with --out, or move it away" in said.err
        assert (tmp_path / "heatmap.png").read_bytes() == before


def test_a_image_smaller_than_a_window_is_refused(monkeypatch, capsys, tmp_path, weights):
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    words = ["heatmap", tmp_path / "small.png", "--backbone", "alexnet", "--pretrained", weights]
    code, said = run(monkeypatch, capsys, *words)
    assert code == 65
    assert "small" in said.err or "window" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backbone", "vgg"), "unknown backbone 'vgg'; did you mean 'vgg1"),
        (("--backbone", "resnet10t"), "not the two fully connected layers"),
        (("--backbone", "alexnet", "--out", "map.jpg"), "--out map.jpg: the image that is drawn"),
        (("--backbone", "alexnet", "--pretrained", "no.pth"), "'no.pth'; --pretrained names it"),
    ],
)
def test_what_cannot_be_drawn_is_refused(monkeypatch, capsys, tmp_path, words, message):
    Image.new("RGB", (300, 300)).save(tmp_path / "x.png")
    words = ["heatmap", tmp_path / "x.png", "--pretrained", "false", *words]
    code, said = run(monkeypatch, capsys, *words)
    assert code == 65
    assert message in said.err


def test_a_network_of_a_plugin_is_drawn_into_a_new_folder(tmp_path):
    (tmp_path / "narrow.py").write_text(PLUGIN)
    Image.new("RGB", (70, 90)).save(tmp_path / "x.png")
    out = tmp_path / "new" / "map.png"
    command = [sys.executable, "-m", "ablations.cli", "heatmap", tmp_path / "x.png"]
    command += ["--backbone", "narrow_for_heatmaps", "--pretrained", "false"]
    command += ["--plugin", tmp_path / "narrow.py", "--out", out]
    # A process of its own: what a plugin registers stays with the process that imports it.
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    with Image.open(out) as drawn:
        assert drawn.size == (70, 90)


PLUGIN = """
import timm
from torch import nn

class Narrow(nn.Module):
    def __init__(self, num_classes=1000, in_chans=3):
        super().__init__()
        self.features = nn.Conv2d(in_chans, 5, kernel_size=32, stride=32)
        self.classifier = nn.Sequential(
            nn.Linear(20, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, num_classes)
        )
        self.feature_info = [{"num_chs": 5, "reduction": 32, "module": "features"}]

@timm.models.register_model
def narrow_for_heatmaps(pretrained=False, **options):
    return timm.models.build_model_with_cfg(
        Narrow, "narrow_for_heatmaps", pretrained, feature_cfg={"out_indices": (0,)}, **options
    )
"""
