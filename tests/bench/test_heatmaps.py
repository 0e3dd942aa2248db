"""The heatmap command on a network whose classifier is known."""

import json
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import fcn.backbones  # noqa: F401 (registers alexnet)
from bench.cli import app
from bench.command import run_app


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


def test_a_picture_smaller_than_a_window_is_refused(monkeypatch, capsys, tmp_path, weights):
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    words = ["heatmap", tmp_path / "small.png", "--backbone", "alexnet", "--pretrained", weights]
    code, said = run(monkeypatch, capsys, *words)
    assert code == 65
    assert "small" in said.err or "window" in said.err
