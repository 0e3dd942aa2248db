"""Predictions by several views, in tiles, with probabilities, of lists on standard input."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli.predictions import predict_files
from bench.run.execute import Options, execute
from bench.run.trained import Trained
from bench.run.views import Views

CPU = torch.device("cpu")


@pytest.fixture
def trained(tiny_run, tmp_path):
    store, run = tiny_run({"train.steps": 2, "evaluate.eval_every": 0})
    execute(store.run_dir(run.id), Options("cpu", 1))
    rng = np.random.default_rng(0)
    for name in "ab":
        pixels = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return store, run


@pytest.mark.parametrize(("form", "kind"), [("float", "float32"), ("16", "uint16"), ("8", "uint8")])
def test_probabilities_are_those_of_the_mask(trained, tmp_path, form, kind):
    store, run = trained
    views = Views.read("flip,0.75", "48", 16)
    files = [tmp_path / "a.png"]
    written = list(predict_files(store, run.id, files, tmp_path / "o", CPU, {}, views, form))
    assert [path.name for path in written] == [
        "a-mask.png", "a-overlay.png", "a-probabilities.npz",
    ]  # fmt: skip
    with np.load(written[2]) as file:
        values = file["probabilities"]
    assert values.dtype == kind
    largest = 1 if form == "float" else np.iinfo(kind).max
    np.testing.assert_allclose(values.sum(0, dtype=float) / largest, 1, atol=0.02)
    with Image.open(written[0]) as mask:
        indices = np.asarray(mask)
    assert indices.shape == (70, 90) == values.shape[1:]
    at_mask = np.take_along_axis(values, indices[None], 0)[0]
    assert (at_mask == values.max(0)).all()
    with Image.open(tmp_path / "a.png") as image:
        expected = Trained(store, run.id, CPU).predict_views(np.asarray(image), views)[""]
    assert np.array_equal(indices, expected)
    # The same once more replaces what it made.
    again = list(predict_files(store, run.id, files, tmp_path / "o", CPU, {}, views, form))
    assert again == written


def test_a_list_on_standard_input_is_predicted(trained, tmp_path, monkeypatch, capsys):
    import sys

    from ablations.cli import main

    store, run = trained
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a.png\nb.png\n\n"))
    words = ["predict", run.id, "-", "--runs", str(store.root), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["fcn-bench", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr()
    made = sorted(path.name for path in (tmp_path / "predictions").glob("*-mask.png"))
    assert made == ["a-mask.png", "b-mask.png"]


def test_frames_are_predicted_in_order_masks_alone(trained, tmp_path):
    store, run = trained
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in (2, 10, 1):
        Image.open(tmp_path / "a.png").save(frames / f"{number:06d}.png")
    words = (store, run.id, [frames], tmp_path / "o", CPU, {})
    written = [path.name for path in predict_files(*words, overlays=False)]
    assert written == ["000001-mask.png", "000002-mask.png", "000010-mask.png"]
    assert not list((tmp_path / "o").glob("*overlay*"))
