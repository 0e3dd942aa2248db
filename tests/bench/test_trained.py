"""A run's network from Python is the one that was scored, and masks are scored as runs are."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
from safetensors.torch import save_file

import bench
import fcn
from bench.data.registry import open_dataset
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.store.runs import Store
from fcn.errors import InputError
from fcn.published import PublishedFile

STORED = Path(__file__).parent.parent / "stores" / "0.1" / "runs" / "32" / "320973cd0f14e58f"
LEARNT = {
    "data.options": {"size": 48, "num_train": 12, "num_val": 1, "num_test": 6, "depth": True},
    "model.dropout": 0.0,
    "train.steps": 12,
    "evaluate.eval_every": 0,
}


def images_of(store, run):
    dataset = open_dataset(run.spec.data, None)
    names, _ = store.confusions(run.id, "test")
    masks = [dataset.read("test", name)[1] for name in names]
    return names, [dataset.read("test", name)[0] for name in names], masks, dataset


@pytest.fixture
def trained(tiny_run):
    store, run = tiny_run(LEARNT)
    assert execute(store.run_dir(run.id), Options("cpu", 1)) == outcome.DONE
    return store, run


def test_predictions_and_scores_are_those_of_the_run(trained):
    store, run = trained
    model = bench.load_model(store.run_dir(run.id), device="cpu")
    names, images, targets, dataset = images_of(store, run)
    kept = store.predictions(run.id, "test")
    scored = [found[""] for found in model.predict_batch(np.stack(images))]
    for name, image, pred in zip(names, images, scored, strict=True):
        assert np.array_equal(pred, kept[name])
        alone = model.predict(image)
        assert alone.dtype == np.uint8
        assert (alone == pred).mean() > 0.999  # sums of one image may differ in the last digit
    assert len(np.unique(scored)) > 1
    result = store.result(run.id)
    found = bench.score(targets, scored, len(model.class_names), dataset.ignore_index)
    assert found.miou == bench.metrics.summarize(result.confusion).miou
    assert model.class_names == result.class_names


def test_images_are_normalised_as_for_the_weights_of_a_tag(tiny_run, tmp_path, monkeypatch):
    """Those of some tags take other values off images than the default ones of a backbone."""
    file = tmp_path / "published.safetensors"
    save_file(timm.create_model("mobilenetv3_large_100").state_dict(), file)
    monkeypatch.setattr("fcn.weights.fetch_any", lambda *_: PublishedFile(str(file), file))
    tag = {"model.backbone": "mobilenetv3_large_100", "model.pretrained": "miil_in21k_ft_in1k"}
    store, run = tiny_run({**LEARNT, **tag, "model.skip": "fcn32s", "model.score_init": "random"})
    assert execute(store.run_dir(run.id), Options("cpu", 1)) == outcome.DONE
    trained = bench.load_model(store.run_dir(run.id), device="cpu")
    assert (trained.model.mean, trained.model.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    names, images, _, _ = images_of(store, run)
    kept = store.predictions(run.id, "test")
    scored = [found[""] for found in trained.predict_batch(np.stack(images))]
    for name, pred in zip(names, scored, strict=True):
        assert np.array_equal(pred, kept[name])
    folder = fcn.save_pretrained(trained.model, tmp_path / "model")
    assert fcn.from_pretrained(folder).mean == (0.0, 0.0, 0.0)
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["backbone"] = "mobilenetv3_large_100"  # as earlier versions wrote it
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        InputError, match=r"normalised by mean \[0.0, 0.0, 0.0\] and std .* by \[0.485"
    ):
        fcn.from_pretrained(folder)


def test_a_run_is_found_by_its_folder_or_its_first_digits(trained, monkeypatch):
    store, run = trained
    image = np.arange(50 * 37 * 3, dtype=np.uint8).reshape(50, 37, 3)
    found = [
        bench.load_model(str(store.run_dir(run.id)), device="cpu"),
        bench.load_model(run.id[:6], store, device="cpu"),
        bench.load_model(run.id, str(store.root), device="cpu"),
    ]
    monkeypatch.chdir(store.run_dir(run.id))
    found.append(bench.load_model(".", device="cpu"))
    masks = [model.predict(image) for model in found]
    assert masks[0].shape == (50, 37)
    assert all(np.array_equal(mask, masks[0]) for mask in masks)


def test_a_run_of_0_1_predicts_what_it_kept():
    model = bench.load_model(STORED, device="cpu")
    store = Store(STORED.parent.parent)
    run = store.run(STORED.name)
    kept = store.predictions(run.id, "test")
    names, images, _, _ = images_of(store, run)
    for name, image in zip(names, images, strict=True):
        assert (model.predict(image) == kept[name]).mean() > 0.999


def test_further_inputs_lie_beside_the_first(tiny_run):
    store, run = tiny_run({**LEARNT, "data.inputs": ["rgb", "depth"], "train.steps": 1})
    assert execute(store.run_dir(run.id), Options("cpu", 1)) == outcome.DONE
    model = bench.load_model(run.id, store, device="cpu")
    assert model.predict(np.zeros((48, 40, 4), dtype=np.uint8)).shape == (48, 40)
    with pytest.raises(InputError, match=r"sees rgb \(3\) and depth \(1\).*\(height, width, 4\)"):
        model.predict(np.zeros((48, 40, 3), dtype=np.uint8))


def test_what_is_no_run_or_no_image_is_refused(tmp_path):
    with pytest.raises(InputError, match="no folder of a run"):
        bench.load_model(tmp_path)
    with pytest.raises(InputError, match="no run in"):
        bench.load_model("ffff", STORED.parent.parent)
    with pytest.raises(InputError, match="is not finished"):
        bench.load_model("14dda9", STORED.parent.parent, device="cpu")
    model = bench.load_model(STORED, device="cpu")
    for wrong in (
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((1, 4, 4, 3), dtype=np.uint8),
    ):
        with pytest.raises(InputError, match=r"give uint8 of shape \(height, width, 3\)"):
            model.predict(wrong)
    with pytest.raises(InputError, match="unknown target 'depth'"):
        model.predict(np.zeros((40, 40, 3), dtype=np.uint8), "depth")
