"""What only a CUDA device can show."""

import os
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.data.batches import Batches
from bench.data.packs.pack import open_pack
from bench.data.scoring_batches import eval_batches
from bench.run import evaluate, outcome
from bench.run import execute as execute_module
from bench.run import train as train_module
from bench.run.evaluate_split import evaluate_split
from bench.run.execute import Options, execute
from bench.run.losses import network_loss, pixel_loss
from bench.run.optim import create_optimizer
from bench.run.replay import CudaRecorder
from bench.run.train import fit
from fcn.alignment import IMAGE_GRID, FixedUpsampling, Grid
from fcn.model import create_model

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True, scope="module")
def _products_that_may_be_deterministic():
    """torch looks once in a process, at its first product of matrices: a run is one of its own."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_never_waits_for_the_device(tiny_run, precision):
    """Whoever waits leaves the device idle; torch raises where a step would."""
    store, run = tiny_run({"train.precision": precision})
    device = torch.device("cuda")
    pack = open_pack(store.packs_dir, run.fingerprint)
    model = create_model(**run.spec.model.model_dump(), num_classes=pack.num_classes).to(device)
    train = run.spec.train
    batches = Batches(
        pack, train, input_scale=1.0, seed=0, mean=model.mean, std=model.std, device=device
    )
    loss_fn = partial(network_loss, model, targets=pack.targets)
    steps = fit(model, batches, loss_fn, create_optimizer(model, train), train, seed=0)
    next(steps)  # the first may wait: constants are copied to the device
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert [log.step for log in steps] == list(range(2, train.steps + 1))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_scoring_never_waits_before_its_end(tiny_run, monkeypatch):
    store, run = tiny_run({"data.options.num_test": 20})
    device = torch.device("cuda")
    pack = open_pack(store.packs_dir, run.fingerprint)
    model = create_model(**run.spec.model.model_dump(), num_classes=pack.num_classes).to(device)
    score = partial(evaluate_split, model, pack, "test", run.spec, device, boundary=True)
    expected = score()  # the first may wait: constants are copied to the device
    finish = evaluate._Tally.finish

    def wait_and_finish(tally, names):
        torch.cuda.set_sync_debug_mode("default")
        return finish(tally, names)

    monkeypatch.setattr(evaluate._Tally, "finish", wait_and_finish)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = score()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert np.array_equal(found.confusions, expected.confusions)
    assert np.array_equal(found.boundaries, expected.boundaries)


@pytest.mark.parametrize("skip", ["fcn32s", "fcn8s", "unet", "fpn"])
@pytest.mark.parametrize("upsampling", ["bilinear", "learned", "subpixel", "carafe"])
def test_three_deterministic_runs_are_equal_to_the_bit(tiny_run, skip, upsampling):
    digests = set()
    for attempt in range(3):
        differences = {
            "model.skip": skip,
            "model.upsampling": upsampling,
            "data.options.size": 64,
            "train.crop": [64, 64],
            "train.deterministic": True,
        }
        store, run = tiny_run(differences, folder=f"{skip}-{upsampling}-{attempt}")
        assert execute(store.run_dir(run.id), Options(device="cuda")) == outcome.DONE
        digests.add(store.result(run.id).digests["model.safetensors"])
    assert len(digests) == 1


def test_views_are_those_of_the_cpu(tiny_run):
    store, run = tiny_run()
    pack = open_pack(store.packs_dir, run.fingerprint)

    def draw(device):
        batches = Batches(
            pack,
            run.spec.train,
            input_scale=1.0,
            seed=0,
            mean=(0.5,) * 3,
            std=(0.25,) * 3,
            device=torch.device(device),
        )
        return [x.cpu() for x in batches.batch(3)]

    for ours, theirs in zip(draw("cuda"), draw("cpu"), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_replayed_step_gives_the_bits_of_one_made_anew(tiny_run, monkeypatch, optimizer, capsys):
    """Of steps with the same bits whenever they are made: a difference would be the graph's."""
    found = []
    for is_replayed in (True, False):
        if not is_replayed:
            monkeypatch.setattr(train_module, "find_recorder", lambda *_: None)
        differences = {"train.deterministic": True, "train.optimizer": optimizer,
                       "train.steps": 12, "train.ema_decay": 0.9}  # fmt: skip
        store, run = tiny_run(differences, folder=f"{optimizer}-{is_replayed}")
        assert execute(store.run_dir(run.id), Options(device="cuda")) == outcome.DONE
        assert "cannot be recorded" not in capsys.readouterr().err
        found.append(store.result(run.id).digests["model.safetensors"])
    assert found[0] == found[1]


@pytest.mark.parametrize("classes", [2, 11, 150])
@pytest.mark.parametrize("nearest", [False, True])
def test_the_fused_loss_is_the_one_by_slices(classes, nearest):
    torch.manual_seed(0)
    up = FixedUpsampling(Grid(8.0, 3.5), IMAGE_GRID, nearest=nearest)
    scores = torch.randn(3, classes, 12, 17, device="cuda")
    target = torch.randint(0, classes, (3, 91, 130), device="cuda")
    target[torch.rand(target.shape, device="cuda") < 0.2] = 255
    weights = torch.rand(classes, device="cuda") + 0.5
    found = []
    for device in ("cuda", "cuda", "cpu"):  # the CPU goes by slices
        leaf = scores.detach().to(device).requires_grad_()
        loss = pixel_loss(
            leaf, target.to(device), up, ignore_index=255, class_weights=weights.to(device)
        )
        loss.backward()
        found.append((loss.detach().cpu(), leaf.grad.cpu()))
    assert all(map(torch.equal, found[0], found[1]))
    torch.testing.assert_close(found[0], found[2], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("input_scale", [1.0, 0.7])
def test_scored_batches_are_those_of_the_cpu(tiny_run, input_scale):
    store, run = tiny_run()
    pack = open_pack(store.packs_dir, run.fingerprint)
    options = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "batch_size": 2, "input_scale": input_scale}
    found, expected = (
        list(eval_batches(pack, "test", device=torch.device(device), **options))
        for device in ("cuda", "cpu")
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours[0] == theirs[0]
        assert all(torch.equal(a.cpu(), b) for a, b in zip(ours[1:], theirs[1:], strict=True))


def test_a_capture_that_fails_leaves_the_device_as_it_was():
    """The host asks for a value: the capture is lost, stream and dropout are not."""
    device = torch.device("cuda")
    recorder, x, own = (
        CudaRecorder(device),
        torch.ones(4, device=device),
        torch.cuda.current_stream(),
    )
    with pytest.raises(RuntimeError):
        recorder.record(lambda: functional.dropout(x).sum().item())
    assert torch.cuda.current_stream() == own
    functional.dropout(x)
    with recorder.watch() as found:
        x.sum().item()
    assert found
    with recorder.watch() as found:
        functional.dropout(x)
    assert found == []
    replay = recorder.record(lambda: x.add_(1))
    assert x.tolist() == [1] * 4
    replay()
    assert x.tolist() == [2] * 4


def test_a_loss_that_reads_a_value_trains_step_by_step(tiny_run, capsys):
    store, run = tiny_run({"train.loss": "lovasz", "train.steps": 8, "model.dropout": 0.5})
    assert execute(store.run_dir(run.id), Options(device="cuda")) == outcome.DONE
    assert "as they cannot be recorded: called a synchronizing" in capsys.readouterr().err


def test_a_part_that_trains_later_is_recorded_then(tiny_run, capsys):
    """By torch's fused kernel, in one group with what trains already."""
    store, run = tiny_run({"train.freeze": {"backbone": 6}, "train.steps": 14})
    assert execute(store.run_dir(run.id), Options(device="cuda")) == outcome.DONE
    assert "cannot be recorded" not in capsys.readouterr().err


def test_scores_of_many_sizes_along_the_way_leave_a_recorded_step_as_it_is(tiny_run, monkeypatch):
    """Their matrices push those of the step out of the cache; it goes on with its own."""
    found = []
    for is_replayed in (True, False):
        if not is_replayed:
            monkeypatch.setattr(train_module, "find_recorder", lambda *_: None)
        differences = {"train.deterministic": True, "train.steps": 12}
        store, run = tiny_run(differences, folder=f"sizes-{is_replayed}")
        watch = execute_module._Execution.watch

        def look(execution, model, optimizer, step, log, watch=watch):
            if step == 6:
                grids = (Grid(8.0, 3.5), IMAGE_GRID)
                with torch.inference_mode():
                    for size in range(8, 1100):
                        scores = torch.randn(1, 1, 2, 2, device="cuda")
                        FixedUpsampling(*grids)(scores, (size, size))
            return watch(execution, model, optimizer, step, log)

        with monkeypatch.context() as patch:
            patch.setattr(execute_module._Execution, "watch", look)
            assert execute(store.run_dir(run.id), Options(device="cuda")) == outcome.DONE
        found.append(store.result(run.id).digests["model.safetensors"])
    assert found[0] == found[1]
