"""`predict` says what the run was scored by, of whatever it is given, and overwrites nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from bench.cli.app import app
from bench.data.registry import open_dataset
from bench.run import evaluate, outcome, trained
from bench.run.execute import Options, execute
from bench.run.predict import predict
from fcn.errors import InputError

CPU = torch.device("cpu")
DRAWN = {"size": 48, "num_train": 12, "num_val": 1, "num_test": 11, "depth": True}
LEARNT = {
    "data.options": DRAWN,
    "model.dropout": 0.0,
    "train.steps": 12,
    "evaluate.eval_every": 0,
}
"""Enough for masks of several classes."""


@pytest.fixture
def made(tiny_run, tmp_path, monkeypatch):
    """Make a run, and its test images as files: made({...}) -> store, run, dataset."""
    monkeypatch.chdir(tmp_path)

    def make(differences=None):
        store, run = tiny_run({**LEARNT, **(differences or {})})
        assert execute(store.run_dir(run.id), Options("cpu", 1)) == outcome.DONE
        dataset = open_dataset(run.spec.data, None)
        for name in dataset.splits["test"]:
            depth = dataset.read_input("test", name, dataset.more_inputs[0])[..., 0]
            for folder, pixels in (("in", dataset.read("test", name)[0]), ("depth", depth)):
                path = Path(folder, f"{name}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
        return store, run, dataset

    return make


@pytest.fixture
def short(made):
    """The same of a run that learnt nothing."""
    return made({"data.options": {**DRAWN, "num_test": 3}, "train.steps": 1})


def call(store, run, *words):
    words = ["predict", run.id, *map(str, words), "--runs", str(store.root), "--device", "cpu"]
    return CliRunner().invoke(app, words)


def masks(out):
    return sorted(path.relative_to(out).as_posix() for path in Path(out).rglob("*-mask.png"))


def content(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def count(target, pred, num_classes, ignore_index):
    """One by one, as nothing else here counts."""
    confusion = np.zeros((num_classes, num_classes), dtype=int)
    known = target != ignore_index
    np.add.at(confusion, (target[known], pred[known]), 1)
    return confusion


BOTH = {"data.inputs": ["rgb", "depth"]}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"train.precision": "bf16"},
        {"data.input_scale": 0.5},
        {"train.ema_decay": 0.5},
        {"train.channels_last": False},
        {**BOTH, "train.precision": "bf16"},
        {**BOTH, "model.input_fusion": "late", "data.input_scale": 1.5},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())) or "fp32",
)
def test_masks_have_the_counts_that_the_run_was_scored_by(made, settings):
    store, run, dataset = made(settings)
    more = ["--input", "depth=depth"] if "data.inputs" in settings else []
    names, confusions = store.confusions(run.id, "test")
    done = call(store, run, *(f"in/{name}.png" for name in names), "--out", "out", *more)
    assert done.exit_code == 0, done.output
    assert len({int(c) for matrix in confusions for c in np.flatnonzero(matrix.sum(0))}) > 1
    for name, expected in zip(names, confusions, strict=True):
        with Image.open(f"out/{name}-mask.png") as mask:
            pred = np.array(mask)
        target = dataset.read("test", name)[1]
        found = count(target, pred, len(expected), dataset.ignore_index)
        assert np.array_equal(found, expected), name


def test_images_go_through_the_network_in_the_layout_batches_and_threads_of_scoring(
    short, monkeypatch
):
    store, run, _ = short
    Image.new("RGB", (40, 40)).save("in/zz.png")
    seen, threads = [], []
    predict_targets = evaluate.predict_targets

    def note(model, images, *rest):
        weight = next(w for w in model.parameters() if w.ndim == 4 and min(w.shape) > 1)
        assert weight.is_contiguous(memory_format=torch.channels_last)
        seen.append(len(images))
        return predict_targets(model, images, *rest)

    monkeypatch.setattr(evaluate, "predict_targets", note)
    monkeypatch.setattr(trained, "configure_torch", lambda n, **_: threads.append(n))
    names = [f"shape-{k}" for k in range(3)]
    paths = [*sorted(Path("in").glob("*.png")), Path("in/zz.png")]
    assert len(list(predict(store, run.id, paths, CPU))) == len(paths) == len(names) + 2
    assert seen == [3, 2]
    assert threads == [1]


def test_folders_are_walked_and_kept_and_predicted_again_without_their_masks(short):
    store, run, _ = short
    shutil.copytree("in", "in/sub/deep")
    Path("in/notes.txt").write_text("not an image")
    first = call(store, run, "in", "--out", "in/masks")
    assert first.exit_code == 0, first.output
    assert len(masks("in/masks")) == 6
    assert len(masks("in/masks/sub/deep")) == 3
    before = content("in")
    assert call(store, run, "in", "--out", "in/masks").output == first.output
    assert content("in") == before


def test_what_cannot_be_predicted_is_named_and_the_rest_is_done(short, monkeypatch):
    store, run, _ = short
    predict_targets = evaluate.predict_targets

    def picky(model, images, *rest):
        if images.shape[-1] < 8:
            raise InputError("images of 2x2 pixels are too small for the backbone")
        return predict_targets(model, images, *rest)

    monkeypatch.setattr(evaluate, "predict_targets", picky)
    good = sorted(Path("in").glob("*.png"))
    Path("in/broken.png").write_bytes(good[0].read_bytes()[:200])
    Image.new("RGB", (2, 2)).save("in/tiny.png")
    Image.new("I;16", (48, 48)).save("in/deep.png")
    done = call(store, run, "in", "no.png", "--out", "out")
    assert done.exit_code == 1
    assert len(masks("out")) == len(good)
    for name, why in (
        ("in/broken.png", "cannot be decoded"),
        ("in/tiny.png", "too small"),
        ("in/deep.png", "16 bits per channel"),
        ("no.png", "is no file"),
    ):
        (line,) = [line for line in done.stderr.splitlines() if name in line]
        assert why in line
    assert "4 images could not be predicted" in done.stderr
    assert "broken" not in done.stdout


def test_further_inputs_are_found_by_place_and_stem(made):
    store, run, _ = made({**BOTH, "train.steps": 1})
    Path("in/sub").mkdir()
    Path("depth/sub").mkdir()
    first, second, *rest = sorted(Path("in").glob("*.png"))
    for path in rest:
        path.unlink()
    for folder in ("in", "depth"):
        for name in ("a.png", "a.b.png", "sub/z.png", "sub/a.png"):
            shutil.copy(Path(folder, (second if "b" in name else first).name), Path(folder, name))
    Path("depth/a.json").write_text("{}")
    Path("depth/Thumbs.db").write_text("")
    words = ("in", "--out", "out", "--input", "depth=depth")
    done = call(store, run, *words)
    assert done.exit_code == 0, done.output
    assert masks("out") == sorted(
        [f"{first.stem}-mask.png", f"{second.stem}-mask.png", "a-mask.png", "a.b-mask.png",
         "sub/a-mask.png", "sub/z-mask.png"]
    )  # fmt: skip
    for name, like in (("a", first), ("a.b", second), ("sub/z", first)):
        pair = [Path("out", f"{stem}-mask.png").read_bytes() for stem in (name, like.stem)]
        assert pair[0] == pair[1]

    Path("depth/sub/z.png").unlink()  # that of the upper folder is another's
    shutil.copy("depth/a.png", "depth/z.png")
    done = call(store, run, *words)
    assert done.exit_code == 1
    assert "depth has 0 files with the stem 'sub/z'" in done.stderr
    shutil.copy("depth/a.png", "depth/a.tif")
    assert "2 files with the stem 'a' (a.png, a.tif)" in call(store, run, *words).stderr


def test_further_inputs_that_do_not_fit_are_refused(made):
    store, run, _ = made({**BOTH, "train.steps": 0})
    for folder in ("x", "y", "one"):
        Path(folder).mkdir()
        Image.new("L" if folder == "one" else "RGB", (48, 48)).save(f"{folder}/shape.png")
    twice = ("--input", "depth=depth", "--input", "depth=in")
    for words, said in (
        (("in",), "--input depth=FOLDER"),
        (("in", "--input", "depth"), "give NAME=FOLDER"),
        (("in", "--input", "depth=none"), "depth=none is no folder"),
        (("in", *twice), "each name once"),
        (("x/shape.png", "y/shape.png", "--input", "depth=one"), "both be seen with one/shape.png"),
    ):
        ended = call(store, run, *words, "--out", "out")
        assert isinstance(ended.exception, InputError)
        assert said in str(ended.exception)
    assert not Path("out").exists()


def test_two_images_of_one_stem_have_two_masks(short):
    store, run, _ = short
    image = next(Path("in").glob("*.png"))
    for name in ("x/a.png", "y/a.png", "x/a.bmp"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.open(image).save(name)
    done = call(store, run, "x/a.png", "y/a.png", "x/a.bmp", "--out", "out")
    assert done.exit_code == 0, done.output
    assert masks("out") == ["x/a.bmp-mask.png", "x/a.png-mask.png", "y/a-mask.png"]


def test_nothing_is_overwritten_but_what_this_network_made_of_this_image(short, tiny_run):
    store, run, _ = short
    image, *_ = sorted(Path("in").glob("*.png"))
    for folder in ("x", "y"):
        Path(folder).mkdir()
        shutil.copy(image, f"{folder}/a.png")
    assert call(store, run, "x/a.png", "--out", "out").exit_code == 0
    before = content("out")
    assert call(store, run, "x/a.png", "--out", "out").exit_code == 0  # again, as it was
    assert content("out") == before

    _, other = tiny_run({**LEARNT, "data.options": {**DRAWN, "num_test": 3}, "train.steps": 0})
    assert execute(store.run_dir(other.id), Options("cpu", 1)) == outcome.DONE
    Path("out/mine").mkdir()
    Path("out/b-mask.png").write_bytes(b"by hand")
    shutil.copy(image, "x/b.png")
    Path("file").write_text("mine")
    before = content(".")
    for words in (
        (run, "y/a.png", "--out", "out"),  # another image of that name
        (other, "x/a.png", "--out", "out"),  # another network
        (run, "x/a.png", "x/b.png", "--out", "out"),  # a file of somebody else
        (run, "x/a.png", "--out", "file"),
        (run, "x/a.png", "--out", "file/below"),
    ):
        ended = call(store, *words)
        assert isinstance(ended.exception, InputError), ended.output
        assert "choose another --out" in str(ended.exception)
    assert content(".") == before
    Path("out/a-mask.png").write_bytes(b"changed by hand")
    ended = call(store, run, "x/a.png", "--out", "out")
    assert "out/a-mask.png is there already" in str(ended.exception)


def test_a_folder_that_cannot_be_written_to_is_named(short, monkeypatch):
    store, run, _ = short

    def full(path, content, of):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.cli.predictions.Manifest.write", lambda self, *a, **k: full(*a, **k))
    ended = call(store, run, "in", "--out", "out")
    assert isinstance(ended.exception, InputError)
    assert "cannot be written: No space left on device" in str(ended.exception)


def damage_weights(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.write_bytes(data)


def lose_weights(folder):
    (folder / "model.safetensors").unlink()


def take_anothers_result(folder):
    values = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**values, "run_id": "0123456789abcdef"}))


def edit_spec(folder):
    path = folder / "spec.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (damage_weights, "model.safetensors is damaged"),
        (lose_weights, "model.safetensors is damaged"),
        (take_anothers_result, "result.json is the record of run 0123456789abcdef"),
        (edit_spec, "spec.yaml describes run"),
    ],
)
def test_a_run_that_is_not_what_it_was_predicts_nothing(short, harm, said):
    store, run, _ = short
    harm(store.run_dir(run.id))
    ended = call(store, run, "in", "--out", "out")
    assert isinstance(ended.exception, InputError)
    assert said in str(ended.exception)
    assert not Path("out").exists()


def test_an_image_that_takes_more_memory_than_there_is_is_named(short, monkeypatch):
    store, run, _ = short
    Image.new("RGB", (96, 64)).save("in/large.png")
    predict_targets = evaluate.predict_targets

    def small_alone(model, images, *rest):
        if images[0].numel() * len(images) > 3 * 48 * 48:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return predict_targets(model, images, *rest)

    monkeypatch.setattr(evaluate, "predict_targets", small_alone)
    done = call(store, run, "in", "--out", "out")
    assert done.exit_code == 1
    assert "in/large.png: 64x96 pixels do not fit into the memory of cpu" in done.stderr
    assert len(masks("out")) == 3
