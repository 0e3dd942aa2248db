"""The three loops do the same work; only then is their speed worth comparing."""

import numpy as np
import pytest
import torch
from PIL import Image
from tape import Tape
from torch.nn import functional as F

from bench.metrics import summarize
from bench.run.train import seed_step
from bench.speed.image_files import Files, TrainTransform, write_files
from bench.speed.loops import create_batches, evaluate_ours, limit, ours
from bench.speed.usual import Interpolation, UsualEvaluation, UsualLoop


def test_usual_evaluation_counts_what_ours_counts(tiny_workload, tmp_path):
    workload = tiny_workload()
    model = workload.create_network()
    evaluation = evaluate_ours(workload, model)
    usual = UsualEvaluation(workload, model, tmp_path, workers=0, suffix=".png").run()
    assert usual.sum() > 0.9 * 64 * 32 * 32
    # Float rounding may turn a tie between two classes: one pixel in a thousand is allowed.
    differing = np.abs(usual.numpy() - evaluation.confusion).sum() / 2
    assert differing < 1e-3 * evaluation.confusion.sum()


def test_the_script_as_it_is_counts_the_same_one_image_at_a_time(tiny_workload, tmp_path):
    workload = tiny_workload()
    model = workload.create_network()
    usual = UsualEvaluation(workload, model, tmp_path, workers=0)
    counts = usual.run()
    script = UsualEvaluation(workload, model, tmp_path, workers=0, as_it_is=True)
    assert (usual._loader.batch_size, script._loader.batch_size) == (8, 1)
    differing = (script.run() - counts).abs().sum() / 2
    assert differing < 1e-3 * counts.sum()


def test_the_script_as_it_is_has_the_layout_of_torch(tiny_workload, tmp_path):
    workload = tiny_workload()
    for as_it_is in (False, True):
        loop = UsualLoop(workload, tmp_path, workers=0, as_it_is=as_it_is)
        assert np.isfinite(loop.step())
        weight = next(p for p in loop.model.parameters() if p.ndim == 4 and p.shape[-1] > 1)
        assert weight.is_contiguous() == as_it_is


def test_a_limit_made_of_one_graph_is_the_limit(tiny_workload, monkeypatch):
    workload, models = tiny_workload(), []
    create = type(workload).create_network

    def remember(self):
        models.append(create(self))
        return models[-1]

    monkeypatch.setattr(type(workload), "create_network", remember)
    for recorder in (None, Tape()):
        steps = limit(workload, recorder)
        for _ in range(6):
            next(steps)
    assert recorder.replayed == 3
    for anew, replayed in zip(*(m.state_dict().values() for m in models), strict=True):
        torch.testing.assert_close(anew, replayed)


def test_each_loop_trains(tiny_workload, tmp_path):
    torch.manual_seed(0)
    workload = tiny_workload(backbone="test_resnet", skip="fcn8s")
    loop = UsualLoop(workload, tmp_path / "files", workers=0)
    losses = [loop.step() for _ in range(40)]
    assert np.mean(losses[-12:]) < 0.95 * np.mean(losses[:5])
    for _, _ in zip(range(11), ours(workload, tmp_path / "ours"), strict=False):
        pass
    assert (
        len((tmp_path / "ours" / "metrics.jsonl").read_text().splitlines()) == 11
    )  # the first step, then tens
    assert (tmp_path / "ours" / "heartbeat").exists()


def test_the_limit_is_the_first_step_of_ours(tiny_workload, monkeypatch):
    # One step from the same weights on the same batch: the limit leaves nothing out.
    workload = tiny_workload()
    models = []
    create = type(workload).create_network

    def remember(self):
        models.append(create(self))
        return models[-1]

    monkeypatch.setattr(type(workload), "create_network", remember)
    next(limit(workload))
    model = create(workload).train()
    before = [p.detach().clone() for p in model.parameters()]
    images, target = create_batches(workload, model).batch(0)
    seed_step(0, 1, workload.device)
    loss = F.cross_entropy(model(images), target, ignore_index=workload.pack.ignore_index)
    loss.backward()
    for p, q, start in zip(model.parameters(), models[0].parameters(), before, strict=True):
        decay = 5e-4 * start if start.ndim > 1 else 0
        torch.testing.assert_close(q, start - 1e-3 * (p.grad + decay), rtol=1e-4, atol=1e-7)


def test_the_usual_model_differs_in_its_last_way_up_alone(tiny_workload):
    workload = tiny_workload(skip="fcn32s")
    model, plain = workload.create_network().eval(), workload.create_network().eval()
    plain.upsampling = Interpolation()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        coarse = model.head(model.backbone(images)[32])
        expected = F.interpolate(coarse, (64, 96), mode="bilinear", align_corners=False)
        torch.testing.assert_close(plain(images), expected)
    assert not torch.equal(model(images), plain(images))  # resnet's cells do not sit in the middle


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_usual_transform_keeps_image_and_labels_together(scale):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (6, 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    image, target = Image.fromarray((60 * labels)[..., None].repeat(3, 2)), Image.fromarray(labels)
    transform = TrainTransform((40, 40), (scale, scale), (0, 0, 0), (1, 1, 1), ignore_index=255)
    pixels, seen = transform(image, target)
    assert pixels.shape == (3, 40, 40)
    inside = seen != 255
    assert inside.float().mean() == pytest.approx(1.0 if scale == 2 else 24 * 32 / 40**2)
    exact = (pixels[0] * 255 / 60 - seen).abs() < 0.02
    assert exact[inside].float().mean() > 0.4  # between blocks colours mix; 0.25 by chance


def test_files_hold_the_packs_images(tiny_pack, tmp_path):
    pairs = write_files(tiny_pack, "val", tmp_path, suffix=".png")
    index = tiny_pack.indices("val")[0]
    transform = TrainTransform((32, 32), (1.0, 1.0), (0, 0, 0), (1, 1, 1), tiny_pack.ignore_index)
    pixels, target = Files(pairs, transform)[0]
    image = torch.from_numpy(tiny_pack.image(index).copy()).permute(2, 0, 1)
    seen = (255 * pixels).round().to(torch.uint8)
    assert torch.equal(seen, image) or torch.equal(seen, image.flip(2))
    labels = np.bincount(tiny_pack.target(index).ravel())
    assert target.flatten().bincount().tolist() == labels.tolist()


@pytest.mark.slow
def test_worker_processes_give_the_same_counts_and_end(tiny_workload, tmp_path):
    import multiprocessing

    workload = tiny_workload()
    model = workload.create_network()
    alone = UsualEvaluation(workload, model, tmp_path, workers=0).run()
    helped = UsualEvaluation(workload, model, tmp_path, workers=2)
    assert torch.equal(helped.run(), alone)
    assert torch.equal(helped.run(), alone)
    loop = UsualLoop(workload, tmp_path / "train", workers=2)
    assert loop.num_ready == 4
    loop.step()
    loop.settle()
    assert len(multiprocessing.active_children()) == 4
    del helped, loop
    assert multiprocessing.active_children() == []


def test_learned_score_agrees_between_usual_and_ours(tiny_workload, tmp_path):
    """The same network trained by the usual loop is scored alike by both evaluations."""
    workload = tiny_workload()
    loop = UsualLoop(workload, tmp_path / "train", workers=0)
    for _ in range(10):
        loop.step()
    evaluated = UsualEvaluation(workload, loop.model, tmp_path / "test", workers=0, suffix=".png")
    usual = summarize(evaluated.run().numpy())
    mine = summarize(evaluate_ours(workload, loop.model).confusion)
    assert usual.miou == pytest.approx(mine.miou, abs=1e-3)
    assert usual.pixel_acc == pytest.approx(mine.pixel_acc, abs=1e-3)
