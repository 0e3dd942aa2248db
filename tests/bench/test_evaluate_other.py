"""Scores after training: of runs anywhere, of model folders, of other tools' masks."""

import os

import numpy as np
import pytest
import torch
from attempts import LEARNT
from PIL import Image
from typer.testing import CliRunner

import fcn
from bench.cli.app import app
from bench.data.augment import to_network
from bench.data.catalog import Catalog, open_data
from bench.mask_scores import score
from bench.run.evaluate_other import (
    evaluate_subject,
    subject_of_masks,
    subject_of_model,
    subject_of_run,
)
from bench.run.execute import Options, execute
from bench.run.export import export_run
from bench.run.masks_of_others import find_masks
from bench.run.trained import Trained
from bench.run.views import Views, parts_of
from bench.spec import DataSpec
from bench.store.runs import Store
from bench.store.scored import MASKS, counts_file, find_scored, list_scored, name_evaluation
from bench.upkeep import prune, remove_evaluation, verify
from fcn.errors import InputError
from reports.stats.evaluations import compare_evaluations
from reports.tables.evaluations import evaluations_table

CPU = torch.device("cpu")


def scored_run(store, run, pack, split="test", views=Views()):  # noqa: B008
    subject = subject_of_run(store, run.id, pack, CPU, views)
    return evaluate_subject(store, subject, pack, run.spec.data, split, views, CPU)[0]


def test_a_run_on_its_own_split_gets_the_counts_of_its_record(trained):
    store, run, pack = trained
    scored = scored_run(store, run, pack)
    assert scored.confusion == store.result(run.id).confusion
    assert scored.label == "q/a"
    _, recorded = store.confusions(run.id, "test")
    assert np.array_equal(counts_file(store.root, scored).confusions(), recorded)
    assert find_scored(store.root, scored.id[:6]) == scored
    assert [one.id for one in list_scored(store.root)] == [scored.id]


def test_the_same_is_not_scored_twice_and_another_split_is_another(trained):
    store, run, pack = trained
    subject = subject_of_run(store, run.id, pack, CPU, Views())
    words = (subject, pack, run.spec.data)
    first, is_new = evaluate_subject(store, *words, "val", Views(), CPU)
    again, is_new_again = evaluate_subject(store, *words, "val", Views(), CPU)
    assert (is_new, is_new_again) == (True, False)
    assert first == again
    assert first.num_images == 4
    assert scored_run(store, run, pack).id != first.id


def test_what_is_seen_mirrored_and_at_other_sizes_is_the_mean_of_probabilities(trained):
    """Second route: each view through the network alone, and torch's own arithmetic."""
    store, run, pack = trained
    network = Trained(store, run.id, CPU)
    model, pixels = network.model, pack.image(pack.indices("test")[0])
    found = network.predict_parts(pixels, Views.read("flip,0.75"))
    (_, by_target), *rest = found
    assert not rest
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255
    shape = (1, 3, 1, 1)
    image = (image - torch.tensor(model.mean).view(shape)) / torch.tensor(model.std).view(shape)
    with torch.no_grad():
        plain = model(image).softmax(1)
        flipped = model(image.flip(-1)).flip(-1).softmax(1)
    whole = network.predict_parts(pixels, Views.read("flip"))
    torch.testing.assert_close(next(whole)[1][""], ((plain + flipped) / 2)[0], rtol=0, atol=1e-5)
    probabilities = by_target[""]
    torch.testing.assert_close(probabilities.sum(0), torch.ones(48, 48))
    assert probabilities.shape == (pack.num_classes, 48, 48)


@pytest.mark.parametrize("size", [(40, 100), (64, 64), (65, 300), (10, 10)])
@pytest.mark.parametrize("overlap", [0, 1, 16, 40])
def test_tiles_keep_each_pixel_once_and_see_around_it(size, overlap):
    views = Views(tile=(64, 64), overlap=overlap)
    counted = np.zeros(size, int)
    for part in parts_of(size, views):
        rows, columns = part.seen
        seen = np.arange(size[0] * size[1]).reshape(size)[rows, columns]
        assert seen.shape == (min(64, size[0]), min(64, size[1]))
        counted[part.place] += 1
        whole = np.arange(size[0] * size[1]).reshape(size)
        assert np.array_equal(seen[part.kept], whole[part.place])
        for axis in (0, 1):  # what is kept is away from borders that are not the image's
            kept, at = part.kept[axis], part.seen[axis]
            assert kept.start >= overlap // 2 or at.start == 0
            assert (at.stop - at.start) - kept.stop >= overlap // 2 or at.stop == size[axis]
    assert (counted == 1).all()


def test_tiles_without_a_seam_are_the_whole(trained):
    """A tile as large as the image is the image."""
    store, run, pack = trained
    network = Trained(store, run.id, CPU)
    pixels = pack.image(pack.indices("test")[1])
    whole = network.predict_views(pixels, Views())[""]
    assert np.array_equal(network.predict_views(pixels, Views(tile=(64, 64), overlap=8))[""], whole)
    tiled = network.predict_views(pixels, Views(tile=(32, 32), overlap=16))[""]
    assert tiled.shape == whole.shape


@pytest.mark.parametrize(
    ("tta", "tile", "overlap", "said"),
    [("flp", "", None, "flip"), ("0", "", None, "0.1"), ("", "0", None, "HEIGHTxWIDTH"),
     ("", "3x4x5", None, "one number"), ("", "64", 64, "overlap"), ("", "", 3, "--tile")],
)  # fmt: skip
def test_views_that_cannot_be_are_named(tta, tile, overlap, said):
    with pytest.raises(InputError, match=said):
        Views.read(tta, tile, overlap)


def write_masks(folder, pack, split, change=lambda pred: pred, ending=".png"):
    folder.mkdir()
    preds, targets = [], []
    rng = np.random.default_rng(0)
    for i in pack.indices(split):
        target = pack.target(i)
        pred = rng.integers(0, pack.num_classes, target.shape).astype(np.uint8)
        pred = np.where(rng.random(target.shape) < 0.7, np.minimum(target, pred.max()), pred)
        preds.append(pred.astype(np.uint8))
        targets.append(target)
        Image.fromarray(change(preds[-1])).save(folder / f"{pack.name(i)}{ending}")
    return targets, preds


@pytest.mark.parametrize("ending", [".png", "-mask.png", "_pred.png"])
def test_masks_of_another_tool_are_scored_as_runs_are(trained, tmp_path, ending):
    store, run, pack = trained
    targets, preds = write_masks(tmp_path / "theirs", pack, "test", ending=ending)
    subject = subject_of_masks(tmp_path / "theirs", pack, "test", "theirs")
    scored, _ = evaluate_subject(store, subject, pack, run.spec.data, "test", Views(), CPU)
    expected = score(targets, preds, pack.num_classes, pack.ignore_index)
    from bench.metrics import summarize

    assert summarize(scored.confusion).miou == expected.miou
    # The same masks in colours are the same masks.
    colours = np.array(pack.palette, np.uint8)
    write_masks(tmp_path / "colours", pack, "test", lambda pred: colours[pred])
    subject = subject_of_masks(tmp_path / "colours", pack, "test", "in colours")
    again, _ = evaluate_subject(store, subject, pack, run.spec.data, "test", Views(), CPU)
    assert again.confusion == scored.confusion

    frame = compare_evaluations(store, [scored_run(store, run, pack), scored])
    assert list(frame["kind"]) == ["run", "masks"]
    ours = summarize(store.result(run.id).confusion).miou
    assert frame["miou_diff"][1] == pytest.approx(expected.miou - ours)
    assert frame["miou_diff_low"][1] < frame["miou_diff"][1] < frame["miou_diff_high"][1]
    assert frame["word"][1] == ""  # one seed gives no verdict
    assert list(evaluations_table(frame).cells["scored"]) == ["q/a", "theirs"]


def test_masks_scored_against_another_target_are_another_evaluation(tmp_path):
    """All pixels are said to be of class 0: what is right is the number of labels 0."""
    store = Store(tmp_path / "runs")
    size = {"size": 32, "num_train": 2, "num_val": 2, "num_test": 3}
    data = DataSpec(dataset="shapes", options={**size, "geometric": True})
    pack = Catalog(store, None).pack(data)
    (tmp_path / "theirs").mkdir()
    for i in pack.indices("test"):
        blank = Image.fromarray(np.zeros(pack.size(i), np.uint8))
        blank.save(tmp_path / "theirs" / f"{pack.name(i)}.png")
    found = []
    for target in ("semantic", "geometric"):
        own = pack.choose(("rgb",), (target,))
        subject = subject_of_masks(tmp_path / "theirs", own, "test", "theirs")
        scored, is_new = evaluate_subject(store, subject, own, data, "test", Views(), CPU)
        assert is_new
        assert scored.class_names == own.class_names
        assert np.array(scored.confusion)[:, 0].tolist() == own.class_counts("test").tolist()
        found.append(scored)
    assert [one.target for one in found] == ["", "geometric"]
    of_first = [MASKS, found[0].content, pack.fingerprint, "test", None]
    of_first.append({"views": "whole", "scale": None})
    assert found[0].id == name_evaluation({"content": of_first, "format": 1})  # as ever
    assert list(compare_evaluations(store, found)["split"]) == [
        "shapes test",
        "shapes test geometric",
    ]


@pytest.mark.parametrize("called", ["{}_out", "{}.jpg", "run 1/{}", "pred_{}_color", "a/{}.v{}"])
def test_masks_are_found_by_what_all_have_around_the_name(tmp_path, called):
    names = ["1", "11", "111", "4"]
    for name in names:
        path = tmp_path / f"{called.format(name, 1)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    wanted = [tmp_path / f"{called.format(name, 1)}.png" for name in names]
    assert find_masks(tmp_path, names) == wanted
    assert find_masks(tmp_path, [f"train/{name}" for name in names]) == wanted
    wanted[1].unlink()
    said = r"has no mask of .* of 4 images in all.* It has 3 image files"
    with pytest.raises(InputError, match=said):
        find_masks(tmp_path, names)


def test_two_masks_of_each_image_are_not_chosen_from(tmp_path):
    for name in "ab":
        for kind in ("labels", "color"):
            (tmp_path / f"{name}_{kind}.png").touch()
    with pytest.raises(InputError, match=r"several masks of image a: a_color\.png, a_labels\.png"):
        find_masks(tmp_path, ["a", "b"])


def test_arrays_are_no_masks(tmp_path):
    (tmp_path / "a.npz").touch()
    with pytest.raises(InputError, match=r"no image files, but files that end in \.npz"):
        find_masks(tmp_path, ["a"])


def test_indices_in_three_equal_channels_are_indices(trained, tmp_path):
    store, run, pack = trained
    found = []
    for folder, change in (("grey", lambda p: p), ("rgb", lambda p: np.dstack([p] * 3))):
        write_masks(tmp_path / folder, pack, "test", change)
        subject = subject_of_masks(tmp_path / folder, pack, "test", folder)
        found += evaluate_subject(store, subject, pack, run.spec.data, "test", Views(), CPU)[:1]
    assert found[0].confusion == found[1].confusion


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: p.unlink(), "has no mask of"),
        (lambda p: Image.new("L", (5, 5)).save(p), "own size"),
        (lambda p: Image.new("L", (48, 48), 200).save(p), "holds 200 where the label has a class"),
        (lambda p: Image.new("RGB", (48, 48), (1, 2, 3)).save(p), "#010203"),
        (lambda p: p.write_bytes(b"no image"), "image|decode|format"),
        (lambda p: p.with_name(f"{p.stem}_pred.png").write_bytes(p.read_bytes()), "several masks"),
    ],
)
def test_a_mask_that_cannot_be_scored_is_named(trained, tmp_path, damage, said):
    store, run, pack = trained
    write_masks(tmp_path / "theirs", pack, "test")
    damage(tmp_path / "theirs" / f"{pack.name(pack.indices('test')[2])}.png")

    def evaluate():
        subject = subject_of_masks(tmp_path / "theirs", pack, "test", "theirs")
        evaluate_subject(store, subject, pack, run.spec.data, "test", Views(), CPU)

    with pytest.raises(InputError, match=said):
        evaluate()
    assert list(list_scored(store.root)) == []


def test_a_model_folder_is_scored_like_the_run_that_it_is_from(trained, tmp_path):
    store, run, pack = trained
    fcn.save_pretrained(Trained(store, run.id, CPU).model, tmp_path / "model")
    subject = subject_of_model(tmp_path / "model", pack, CPU, Views(), 1.0, "ours elsewhere")
    scored, _ = evaluate_subject(store, subject, pack, run.spec.data, "test", Views(), CPU)
    recorded = np.array(store.result(run.id).confusion)
    # Another memory layout adds up in another order: single pixels may differ.
    assert np.abs(np.array(scored.confusion) - recorded).sum() <= 0.002 * recorded.sum()


def test_an_exported_folder_knows_how_its_images_are_resized_and_its_classes(tiny_run, tmp_path):
    store, run = tiny_run({**LEARNT, "data.input_scale": 1.5})
    assert execute(store.run_dir(run.id), Options("cpu", 1)) == 0
    pack = open_data(store, run)
    export_run(store, run.id, "hf", tmp_path / "model", [])
    subject = subject_of_model(tmp_path / "model", pack, CPU, Views(), None, "ours elsewhere")
    assert (subject.input_scale, subject.class_names) == (1.5, pack.class_names)
    scored, _ = evaluate_subject(store, subject, pack, run.spec.data, "test", Views(), CPU)
    recorded = np.array(store.result(run.id).confusion)
    assert np.abs(np.array(scored.confusion) - recorded).sum() <= 0.002 * recorded.sum()
    file = tmp_path / "model" / "config.json"
    file.write_text(file.read_text().replace('"input_scale": 1.5', '"input_scale": "large"'))
    with pytest.raises(InputError, match="input_scale is 'large'"):
        fcn.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("tta", ["", "flip"])
def test_of_a_model_with_several_targets_the_first_is_scored(trained, tmp_path, tta):
    """The scores of the second are far higher everywhere, and are none of its business."""
    store, run, pack = trained
    C = pack.num_classes
    model = fcn.create_model(
        "test_resnet", num_classes=C, more_classes=[2], score_init="random", skip="fcn32s"
    ).eval()
    torch.nn.init.constant_(model.head[-1].bias[C:], 100.0)
    fcn.save_pretrained(model, tmp_path / "model")
    views = Views.read(tta, "", None)
    subject = subject_of_model(tmp_path / "model", pack, CPU, views, None, "two targets")
    index = pack.indices("test")[0]
    images = to_network(pack.image(index)[None], 1.0, mean=model.mean, std=model.std, device=CPU)
    with torch.no_grad():
        mirrored = model(images.flip(-1)).flip(-1)[:, :C] if tta else model(images)[:, :C]
        own = (model(images)[:, :C].softmax(1) + mirrored.softmax(1)) / 2
    (pred,) = subject.predict([index])
    assert (pred != own[0].argmax(0).numpy()).mean() <= 0.002
    scored, _ = evaluate_subject(store, subject, pack, run.spec.data, "test", views, CPU)
    assert np.shape(scored.confusion) == (C, C)


@pytest.mark.parametrize("size", ["", "64x40"])
def test_a_run_seen_at_another_size_is_scored_at_the_labels(trained, size):
    """Second route: resized by Pillow's filter as runs do, logits resampled to the label's size."""
    store, run, pack = trained
    network = Trained(store, run.id, CPU)
    pixels = pack.image(pack.indices("test")[0])
    views = Views.read("", "", None, size)
    pred = network.predict_views(pixels, views)[""]
    assert pred.shape == pixels.shape[:2]
    model = network.model
    options = {"mean": model.mean, "std": model.std, "device": CPU}
    seen = to_network(pixels, 1.0, size=(64, 40) if size else None, **options)
    assert seen.shape[-2:] == ((64, 40) if size else pixels.shape[:2])
    with torch.no_grad():
        scores = model.score(seen)
        logits = model.upsampling(scores, pixels.shape[:2], tuple(seen.shape[-2:]))
    assert np.array_equal(pred, logits[0].argmax(0).numpy())
    scored = scored_run(store, run, pack, views=views)
    assert scored.views == ("at 64x40" if size else "whole")
    assert np.sum(scored.confusion) == np.sum(store.result(run.id).confusion)


def test_a_size_and_tiles_exclude_each_other():
    with pytest.raises(InputError, match="give one"):
        Views.read("", "64", None, "48")


def test_damage_to_an_evaluation_is_found_and_it_alone_removed(trained):
    store, run, pack = trained
    kept, damaged = scored_run(store, run, pack), scored_run(store, run, pack, "val")
    assert list(verify(store)) == []
    folder = store.root / "evaluations"
    (folder / damaged.id / "counts.npz").write_bytes(b"x")
    (folder / "mine").write_text("x")
    (folder / kept.id / "note.txt").write_text("x")
    found = {(one.kind, one.path.name) for one in verify(store)}
    assert found == {("damaged", "counts.npz"), ("foreign", "mine"), ("foreign", "note.txt")}
    remove_evaluation(store, damaged.id)
    with pytest.raises(InputError, match="did not write"):
        remove_evaluation(store, kept.id)
    (folder / kept.id / "note.txt").unlink()
    record = folder / kept.id / "evaluation.json"
    record.write_text(record.read_text().replace(kept.id, "0" * 16))
    assert [one.kind for one in verify(store)] == ["unreadable", "foreign"]
    prune(store)
    assert record.exists()


def test_an_evaluation_that_was_cut_short_is_pruned_once_it_is_old(store_with_a_part):
    store, folder = store_with_a_part
    assert list(verify(store)) == []
    for path in (folder / "counts.npz", folder):
        os.utime(path, (0, 0))
    assert [one.kind for one in verify(store)] == ["leftover"]
    prune(store)
    assert not folder.exists()


@pytest.fixture
def store_with_a_part(tmp_path):
    store = Store(tmp_path / "part")
    store.begin()
    folder = store.root / "evaluations" / ("0" * 16)
    folder.mkdir(parents=True)
    (folder / "counts.npz").write_bytes(b"x")
    return store, folder


def test_other_classes_are_refused(trained, tiny_run, tmp_path):
    store, run, pack = trained
    subject = subject_of_run(store, run.id, pack, CPU, Views())
    other = run.spec.data.model_copy(update={"options": {**LEARNT["data.options"], "depth": True}})
    other_pack = Catalog(store, None).pack(other)
    assert evaluate_subject(store, subject, other_pack, other, "val", Views(), CPU)[1]
    from dataclasses import replace

    strange = replace(subject, class_names=("a", "b"))
    with pytest.raises(InputError, match="same classes in the same order"):
        evaluate_subject(store, strange, pack, run.spec.data, "val", Views(), CPU)


def test_a_fold_is_scored_on_its_own_images_and_never_on_those_it_was_trained_on(tiny_run):
    folds = {**LEARNT, "data.folds": 3, "evaluate.split": "train"}
    runs = []
    for fold in (0, 1):
        store, run = tiny_run({**folds, "data.fold": fold})
        assert execute(store.run_dir(run.id), Options("cpu", 1)) == 0
        runs.append(run)
    first, other = (run.id for run in runs)
    where = ["--runs", str(store.root), "--device", "cpu", "--json"]
    assert CliRunner().invoke(app, ["evaluate", first, other, *where]).exit_code == 0
    scored = {one.source: one for one in list_scored(store.root)}
    for run in runs:
        assert scored[run.id].confusion == store.result(run.id).confusion
        assert scored[run.id].num_images == 4
    like = ["evaluate", first, "--like", other, *where]
    assert CliRunner().invoke(app, like).exit_code == 0
    assert len(list(list_scored(store.root))) == 3  # on the fold of another it is another
