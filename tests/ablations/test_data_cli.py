"""`fcn-bench data show`: what is drawn is what a run's batches hold."""

import sys

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ablations import data_cli
from ablations.cli import main
from bench.cli.batch_grid import GAP

SPEC = """
question: Does turning images help?
common:
  model: {backbone: test_resnet}
  data: {dataset: shapes, options: {size: 32, num_train: 4, num_val: 2, num_test: 2}}
  train: {steps: 3, batch_size: 2, flip: false, crop: [32, 32]}
variants:
  plain: {}
  turned: {train.augment: ["RandomVerticalFlip(p=1)"]}
seeds: [3, 4]
"""


@pytest.fixture
def show(tmp_path, monkeypatch, capsys):
    (tmp_path / "q.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        command = ["fcn-bench", "data", "show", "q.yaml", "--out", "grid.png", *words]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, capsys.readouterr().err

    return run


def images_of(path):
    """Return what is drawn: (row, column) -> (32, 32, 3)."""
    sheet = np.asarray(Image.open(path)).astype(int)
    assert sheet.shape == (2 * 32 + GAP, 2 * 32 + GAP, 3)
    at = [slice(k * (32 + GAP), k * (32 + GAP) + 32) for k in range(2)]
    return {(r, c): sheet[at[r], at[c]] for r in range(2) for c in range(2)}


def test_a_batch_is_drawn_as_the_network_sees_it(show):
    assert show()[0] == 0
    plain = images_of("grid.png")
    assert show("--variant", "turned", "--seed", "3")[0] == 0
    turned = images_of("grid.png")
    for place, image in plain.items():
        assert np.abs(turned[place] - image[::-1]).max() <= 1
    assert show("--seed", "4")[0] == 0
    assert any((images_of("grid.png")[p] != plain[p]).any() for p in plain)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--variant", "turnd"], "unknown variant 'turnd'; did you mean 'turned'"),
        (["--seed", "0"], "--seed 0 is none of the question's seeds, [3, 4]"),
        (["--out", "grid.gif"], "--out grid.gif: the image that is drawn is a PNG"),
        (["--set", "variants.plain.train.augment=[Grey]"], "unknown augmentation 'Grey'"),
    ],
)
def test_a_wrong_turn_is_named(show, words, said):
    code, err = show(*words)
    assert code == 65
    assert said in " ".join(err.split())


def paint_over(path):
    with Image.open(path) as drawn:
        notes = drawn.info
    note = PngInfo()
    for name, text in notes.items():
        note.add_text(name, text)
    Image.new("RGB", (68, 68)).save(path, pnginfo=note)


def link(path):
    path.with_name("mine.png").write_text("mine")
    path.unlink()
    path.symlink_to("mine.png")


def ask_another(path):
    spec = path.with_name("q.yaml")
    spec.symlink_to(spec.rename(spec.with_name("other.yaml")))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: Image.new("RGB", (9, 9)).save(path),
        lambda path: path.write_text("mine"),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        paint_over,
        link,
        ask_another,
    ],
)
def test_a_batch_replaces_none_but_its_own(show, monkeypatch, tmp_path, change):
    """Somebody's, changed since, or of another question: each is refused before it is planned."""
    path = tmp_path / "grid.png"
    assert show()[0] == 0
    change(path)
    before = path.read_bytes()
    monkeypatch.setattr(data_cli, "plan_spec", pytest.fail)
    code, err = show()
    assert code == 65
    assert "no batch of this question, or was changed since; give another name" in err
    assert path.read_bytes() == before
