"""`fcn-bench init`: what it writes runs as it is."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ablations.cli import app
from ablations.registry import load_ablation


@pytest.fixture
def photographs(tmp_path):
    """Ten photographs with masks of 0 and 255 beside them."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "my photographs"
    folder.mkdir()
    for k in range(10):
        image = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"street {k}.JPG")
        mask = np.kron(rng.permutation([0, 255, 0, 255]).reshape(2, 2), np.ones((20, 28)))
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"street {k}_mask.png")
    return folder


def test_a_folder_becomes_a_question_that_runs(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["init", "mine", "--images", str(photographs), "--masks", f"{photographs}/*_mask.png"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "255 is the second, not void" in done.output
    written = {path.name for path in (tmp_path / "mine").iterdir()}
    assert written == {"question.yaml", "classes.yaml", "splits.yaml", "index.html"}
    question = load_ablation("mine/question.yaml")
    assert question.name == "mine"
    assert question.common["train"]["crop"] == [32, 32]
    assert [str(claim) for claim in question.claims] == ["fcn8s > fcn32s"]
    # No --data: the folder of a question with a classes.yaml beside it is meant.
    done = CliRunner().invoke(app, ["check", "mine/question.yaml"])
    assert done.exit_code == 0, done.output
    assert "mine: 9 runs, 9 to do" in done.output


@pytest.mark.parametrize("name", [".", "link", "nowhere"])
def test_a_folder_that_is_there_and_empty_is_filled(photographs, tmp_path, monkeypatch, name):
    """Also the one in which somebody is, and what a link leads to."""
    place = tmp_path / "elsewhere" / "mine"
    (place if name != "nowhere" else place.parent).mkdir(parents=True)
    for link in ("link", "nowhere"):
        (tmp_path / link).symlink_to(place)
    monkeypatch.chdir(place if name == "." else tmp_path)
    words = ["init", name, "--images", str(photographs), "--masks", f"{photographs}/*_mask.png"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    written = {path.name for path in Path(name).iterdir()}  # as it is seen from there
    assert written == {"question.yaml", "classes.yaml", "splits.yaml", "index.html"}
    assert [path.name for path in place.parent.iterdir()] == ["mine"]
    assert load_ablation(f"{name}/question.yaml").name == "mine"
    done = CliRunner().invoke(app, ["data", "check", "folder", "--data", name])
    assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_its_runs_end_in_a_report(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["init", "mine", "--images", str(photographs), "--masks", f"{photographs}/*_mask.png"]
    assert CliRunner().invoke(app, words).exit_code == 0
    words = ["run", "mine/question.yaml"]
    for setting in ("train.steps=1", "seeds=[0, 1]", "model.backbone=test_resnet"):
        words += ["--set", setting]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "mine" / "index.html").is_file()
    text = (tmp_path / "out" / "mine" / "tables" / "claims.csv").read_text()
    (claim,) = csv.DictReader(text.splitlines())
    assert claim["claim"] == "fcn8s > fcn32s"
    assert claim["verdict"] in {"held", "not held", "undecided"}
