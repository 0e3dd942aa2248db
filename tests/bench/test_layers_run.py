"""Runs with more than an image in and more than one target out."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from bench.data.layers import Target
from bench.data.packs.pack import open_pack
from bench.data.registry import open_dataset
from bench.metrics import summarize
from bench.run import outcome
from bench.run.evaluate import evaluate
from bench.run.execute import Options, execute
from bench.run.losses import LOSSES, aux_upsampling, create_terms, network_loss, pixel_loss
from bench.run.losses.class_weights import split_class_weights
from bench.run.predict import predict
from bench.run.weights import load_weights
from bench.spec import AuxSpec
from fcn.errors import InputError
from fcn.model import create_model
from fcn.targets import split_targets

OPTIONS = Options(device="cpu", threads=1)
DRAWN = {"size": 32, "num_train": 12, "num_val": 3, "num_test": 5, "depth": True, "geometric": True}
BOTH = {
    "data.options": DRAWN,
    "data.inputs": ["rgb", "depth"],
    "data.targets": ["semantic", "geometric"],
}
LATE = {**BOTH, "model.input_fusion": "late"}


def losses(store, run):
    return [row["loss"] for row in store.logs(run.id) if "loss" in row]


@pytest.mark.parametrize(
    "settings", [BOTH, pytest.param(LATE, marks=pytest.mark.slow)], ids=["early", "late"]
)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tiny_run, stopped_after, settings):
    whole_store, run = tiny_run(settings, folder="whole")
    assert execute(whole_store.run_dir(run.id), OPTIONS) == outcome.DONE
    store, same = tiny_run(settings, folder="stopped")
    assert same.id == run.id
    with stopped_after(3):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.STOPPED
    torch.manual_seed(123)
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    ours, theirs = (s.result(run.id) for s in (whole_store, store))
    assert ours.digests["model.safetensors"] == theirs.digests["model.safetensors"]
    assert losses(whole_store, run) == losses(store, run)
    assert ours.others == theirs.others


def test_every_target_is_counted_and_kept(tiny_run):
    store, run = tiny_run(BOTH)
    execute(store.run_dir(run.id), OPTIONS)
    result = store.result(run.id)
    other = result.others["geometric"]
    assert list(other["class_names"]) == ["ground", "low", "high"]
    names, confusions = store.confusions(run.id, "test", "geometric")
    assert confusions.sum(0).tolist() == other["confusion"]
    assert names == store.confusions(run.id, "test")[0]
    # Both targets leave the same pixels out here, so both count the same ones.
    assert np.sum(other["confusion"]) == np.sum(result.confusion)
    assert 0 < summarize(np.array(other["confusion"])).pixel_acc < 1
    assert [one["name"] for one in result.inputs] == ["depth"]


def test_one_further_target_alone_is_the_runs_own(tiny_run):
    store, run = tiny_run({"data.options": DRAWN, "data.targets": ["geometric"]})
    execute(store.run_dir(run.id), OPTIONS)
    result = store.result(run.id)
    assert tuple(result.class_names) == ("ground", "low", "high")
    assert result.others == {}
    counts = open_pack(store.packs_dir, run.fingerprint).choose(["rgb"], ["geometric"])
    assert np.sum(result.confusion, axis=1).tolist() == counts.class_counts("test").tolist()


def test_late_fusion_starts_from_the_networks_of_its_streams(tiny_run):
    """As nyud-fcn32s-color-hha does: solve.py copies both trained networks whole."""
    learned = {"data.options": DRAWN, "train.steps": 2, "model.upsampling": "learned"}
    store, colour = tiny_run(learned)
    _, depth = tiny_run({**learned, "data.inputs": ["depth"]})
    for run in (colour, depth):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    named = {"train.init_streams": ["colour", "depth"], "train.steps": 0}
    _, late = tiny_run(
        {**learned, **named, "data.inputs": ["rgb", "depth"], "model.input_fusion": "late"},
        streams=(colour.id, depth.id),
    )
    assert late.parents == (colour.id, depth.id)
    assert store.run(late.id) == late
    assert execute(store.run_dir(late.id), OPTIONS) == outcome.DONE
    record = store.result(late.id).weights
    assert record["streams"] == {"rgb": colour.id, "depth": depth.id}
    ours, *theirs = (load_weights(store, store.result(run.id)) for run in (late, colour, depth))
    for name, weights in zip(("rgb", "depth"), theirs, strict=True):
        assert record[name]["new"] == []
        for key, tensor in weights.items():
            if not key.startswith("upsampling."):
                assert torch.equal(ours.pop(f"streams.{name}.{key}"), tensor)
    assert set(ours) == {"upsampling.weight"}
    assert torch.equal(ours["upsampling.weight"], theirs[0]["upsampling.weight"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train.init_streams": ["a", "b"]}, "is for model.input_fusion late"),
        ({**LATE, "train.init_streams": ["a"]}, "names 1 variants"),
        ({**LATE, "train.init_streams": ["a", "b"], "train.init_from": "c"}, "not both"),
        ({**BOTH, "data.inputs": ["rgb", "rgb"]}, "hold one twice"),
        ({**BOTH, "data.inputs": []}, "at least 1 item"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tiny_run, settings, message):
    with pytest.raises(InputError, match=message):
        tiny_run(settings)


SEMANTIC = Target("semantic", ("a", "b", "c", "d"), ((0, 0, 0),) * 4, 255)
GEOMETRIC = Target("geometric", ("x", "y"), ((0, 0, 0),) * 2, 9)


def _two_targets():
    torch.manual_seed(0)
    model = create_model("test_resnet", num_classes=4, more_classes=(2,), score_init="random")
    images = torch.randn(3, 3, 32, 40)
    semantic = torch.randint(0, 4, (3, 32, 40)).where(torch.rand(3, 32, 40) > 0.2, 255)
    geometric = torch.randint(0, 2, (3, 32, 40)).where(torch.rand(3, 32, 40) > 0.4, 9)
    return model.eval(), images, semantic, geometric


@pytest.mark.parametrize("factors", [(), (2.0, 0.5)])
def test_the_loss_is_the_sum_of_torchs_losses(factors):
    model, images, semantic, geometric = _two_targets()
    weights = [torch.tensor([1.0, 2.0, 0.5, 3.0]), None]
    target = torch.stack([semantic, geometric], dim=1)
    ours = network_loss(
        model,
        images,
        target,
        targets=(SEMANTIC, GEOMETRIC),
        class_weights=weights,
        target_weights=factors,
    )
    ours.backward()
    gradient = model.backbone.net.conv1[0].weight.grad.clone()
    model.zero_grad()
    logits = model(images)
    first = F.cross_entropy(logits[:, :4], semantic, weights[0], ignore_index=255)
    second = F.cross_entropy(logits[:, 4:], geometric, ignore_index=9)
    one, other = factors or (1.0, 1.0)
    (one * first + other * second).backward()
    torch.testing.assert_close(ours, one * first + other * second)
    torch.testing.assert_close(model.backbone.net.conv1[0].weight.grad, gradient)


@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy(label_smoothing=0.2)", "smp/DiceLoss"])
def test_each_loss_is_taken_of_each_target_by_itself(name):
    """The same network with one target is the judge: its scores are cut out, its void is its own.

    Also where the second target has no label at all.
    """
    model, images, semantic, geometric = _two_targets()
    weights = [torch.tensor([1.0, 2.0, 0.5, 3.0]), None]
    terms = create_terms({name: 0.7, "cross_entropy": 0.3})
    for other in (geometric, torch.full_like(geometric, 9)):
        model.zero_grad()
        loss = network_loss(
            model,
            images,
            torch.stack([semantic, other], dim=1),
            targets=(SEMANTIC, GEOMETRIC),
            terms=terms,
            class_weights=weights,
            target_weights=(2.0, 0.5),
        )
        loss.backward()
        gradient = model.backbone.net.conv1[0].weight.grad.clone()
        model.zero_grad()
        scores = model.score(images)
        parts = split_targets(scores, model.upsampling, [4, 2])
        labels = ((semantic, 255, weights[0], 2.0), (other, 9, None, 0.5))
        right = sum(
            factor
            * pixel_loss(
                own, target, upsampling, ignore_index=void, terms=terms, class_weights=weight
            )
            for (own, upsampling), (target, void, weight, factor) in zip(parts, labels, strict=True)
        )
        right.backward()
        torch.testing.assert_close(loss, right)
        torch.testing.assert_close(model.backbone.net.conv1[0].weight.grad, gradient)


def test_aux_has_the_losses_of_every_target():
    torch.manual_seed(0)
    settings = {"num_classes": 4, "more_classes": (2,), "score_init": "random", "skip": "fcn16s"}
    model = create_model("test_resnet", **settings).eval()
    _, images, semantic, geometric = _two_targets()
    options = {
        "targets": (SEMANTIC, GEOMETRIC),
        "terms": create_terms({"dice": 1.0}),
        "target_weights": (2.0, 0.5),
    }
    target = torch.stack([semantic, geometric], dim=1)
    plain = network_loss(model, images, target, **options)
    with_aux = network_loss(model, images, target, aux=AuxSpec(stride=32, weight=0.4), **options)
    _, earlier = model.score_with(images, 32)
    parts = split_targets(earlier, aux_upsampling(model, AuxSpec(stride=32)), [4, 2])
    extra = sum(
        factor * _soft_dice(upsampling(own, (32, 40)), labels, void)
        for (own, upsampling), labels, void, factor in zip(
            parts, (semantic, geometric), (255, 9), (2.0, 0.5), strict=True
        )
    )
    torch.testing.assert_close(with_aux, plain + 0.4 * extra)


def _soft_dice(logits, labels, void):
    """One minus twice the overlap over the sum, the mean of the classes that occur."""
    known = (labels != void)[:, None]
    one_hot = F.one_hot(labels.where(labels != void, 0), logits.shape[1]).movedim(-1, 1) * known
    shares = logits.softmax(1) * known
    overlap, total = (shares * one_hot).sum((0, 2, 3)), (shares + one_hot).sum((0, 2, 3))
    return (1 - 2 * overlap / total)[one_hot.sum((0, 2, 3)) > 0].mean()


def test_evaluation_counts_each_target_by_its_own_classes():
    model, images, semantic, geometric = _two_targets()
    batch = (["p", "q", "r"], images, torch.stack([semantic, geometric], dim=1))
    found = evaluate(
        model,
        [batch],
        kept=["p", "r"],
        targets=(SEMANTIC, GEOMETRIC),
        precision="fp32",
        boundary=True,
    )
    logits = model(images).detach()
    for target, evaluation, part, ignore in (
        (semantic, found, logits[:, :4], 255),
        (geometric, found.others["geometric"], logits[:, 4:], 9),
    ):
        pred, C = part.argmax(1), part.shape[1]
        cells = (target * C + pred)[target != ignore]
        expected = torch.bincount(cells, minlength=C * C).view(C, C)
        assert evaluation.confusion.tolist() == expected.tolist()
        assert evaluation.boundaries.shape == (3, 2, C)
    assert set(found.predictions) == {"p", "r"}


def test_weights_of_classes_are_given_one_target_after_the_other():
    assert split_class_weights("none", [2, 3]) == ["none", "none"]
    assert split_class_weights((1, 2, 3, 4, 5), [2, 3]) == [(1, 2), (3, 4, 5)]


def test_predict_reads_every_input_and_gives_every_target(tiny_run, tmp_path):
    store, run = tiny_run({**LATE, "train.scale": [1.0, 1.0]})
    execute(store.run_dir(run.id), OPTIONS)
    dataset = open_dataset(run.spec.data, None)
    names = dataset.splits["test"][:2]
    for folder in ("images", "depths"):
        (tmp_path / folder).mkdir()
    for name in names:
        depth = dataset.read_input("test", name, dataset.more_inputs[0])[..., 0]
        Image.fromarray(dataset.read("test", name)[0]).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(depth).save(tmp_path / "depths" / f"{name}.png")
    paths = sorted((tmp_path / "images").iterdir())
    cpu, folders = torch.device("cpu"), {"depth": tmp_path / "depths"}
    kept = store.predictions(run.id, "test")
    for path, found in zip(paths, predict(store, run.id, paths, cpu, folders), strict=True):
        assert np.array_equal(found.preds[""], kept[path.stem])
        assert found.preds["geometric"].shape == (32, 32)
        assert found.preds["geometric"].max() <= 2
    with pytest.raises(InputError, match=r"rgb, depth: .* --input depth=FOLDER"):
        next(predict(store, run.id, paths, cpu))
    (tmp_path / "depths" / f"{names[0]}.png").unlink()
    with pytest.raises(InputError, match="has 0 files with the stem"):
        list(predict(store, run.id, paths, cpu, folders))
