"""Neither a step, nor its log, nor a batch that is scored waits for the device."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from interpreted import interpreted_kernels, no_kernels
from refusing_gpu import GPU, Waited, move, on_gpu, refusing_gpu

from bench.data.batches import Batches
from bench.data.packs.pack import open_pack
from bench.run import evaluate
from bench.run.evaluate_split import evaluate_split
from bench.run.log import RunLog
from bench.run.losses import network_loss
from bench.run.optim import create_optimizer
from bench.run.outcome import NonFiniteLossError
from bench.run.readback import Readback
from bench.run.train import StepLog, fit
from fcn.alignment import IMAGE_GRID, Grid, read_at
from fcn.model import create_model

CPU = torch.device("cpu")
STEPS = 8


@pytest.fixture(autouse=True)
def _write_every_three_steps(monkeypatch):
    monkeypatch.setattr("bench.run.log.WRITE_EVERY", 3)


def open_run(tiny_run, differences):
    store, run = tiny_run({"train.steps": STEPS, **differences})
    pack = open_pack(store.packs_dir, run.fingerprint)
    torch.manual_seed(0)
    return run.spec, pack, create_model(**run.spec.model.model_dump(), **pack.network_options())


def train(spec, pack, model, device, path, after_first=lambda: None):
    """Train as a run does, log included; return the log, and its rows after each step."""
    train = spec.train
    batches = Batches(
        pack, train, input_scale=1.0, seed=0, mean=model.mean, std=model.std, device=device
    )
    loss_fn = partial(network_loss, model, targets=pack.targets)
    log, rows = RunLog(path, 0), []
    for step in fit(model, batches, loss_fn, create_optimizer(model, train), train, seed=0):
        log.add(step)
        rows.append(path.read_bytes().count(b"\n"))
        if step.step == 1:
            after_first()
    return log, rows


def read_losses(path):
    return [json.loads(line)["loss"] for line in path.read_text().splitlines()]


CASES = {
    "kernels": pytest.param(interpreted_kernels, {}, marks=pytest.mark.slow),
    "no kernels": (no_kernels, {}),
    "adamw and averages": (no_kernels, {"train.optimizer": "adamw", "train.ema_decay": 0.9}),
    "norm by groups": (no_kernels, {"train.batch_norm_groups": 2, "train.batch_size": 4}),
}


@pytest.mark.parametrize(("kernels", "differences"), CASES.values(), ids=CASES)
def test_a_step_and_its_log_wait_for_nothing_and_are_those_of_a_cpu(
    tiny_run, tmp_path, kernels, differences
):
    paths = [tmp_path / "cpu.jsonl", tmp_path / "gpu.jsonl"]
    log, rows = train(*open_run(tiny_run, differences), CPU, paths[0])
    log.flush()
    assert rows == [1, 1, 1, 4, 4, 4, 7, 7]

    spec, pack, model = open_run(tiny_run, differences)
    with kernels(), refusing_gpu() as gpu:
        log, rows = train(spec, pack, move(model), GPU, paths[1], gpu.be_strict)
        assert rows == [0, 0, 0, 1, 1, 1, 4, 4]  # three steps are under way while rows are written
        assert len(gpu.seeded) == STEPS
        gpu.is_strict = False
        log.flush()
    expected, found = map(read_losses, paths)
    assert len(expected) == STEPS
    # Later on, rounding grows: a GPU's optimiser is one kernel, its norm by groups another.
    assert found[:3] == pytest.approx(expected[:3], rel=1e-3)


@pytest.mark.parametrize(
    "kernels", [pytest.param(interpreted_kernels, marks=pytest.mark.slow), no_kernels]
)
def test_a_split_is_scored_without_waiting_until_its_end(tiny_run, monkeypatch, kernels):
    spec, pack, model = open_run(tiny_run, {"data.options.num_test": 10})
    expected = evaluate_split(model, pack, "test", spec, CPU, boundary=True)
    finish, counted, count = evaluate._Tally.finish, [], evaluate.count

    def count_and_note(pred, *rest):
        counted.append(len(pred))
        return count(pred, *rest)

    monkeypatch.setattr(evaluate, "count", count_and_note)
    with kernels(), refusing_gpu() as gpu:

        def wait_and_finish(tally, names):
            gpu.is_strict = False
            return finish(tally, names)

        monkeypatch.setattr(evaluate._Tally, "finish", wait_and_finish)
        score = partial(evaluate_split, move(model), pack, "test", spec, GPU, boundary=True)
        score()
        gpu.be_strict()
        found = score()
    assert counted == [10, 10]  # more than the eight of a CPU
    assert found.names == expected.names
    assert np.array_equal(found.confusions, expected.confusions)
    assert np.array_equal(found.boundaries, expected.boundaries)
    for name, pred in expected.predictions.items():
        assert np.array_equal(found.predictions[name], pred)


def test_logits_of_a_size_that_was_never_seen_are_read_without_waiting():
    logits = torch.rand(1, 2, 3, 4)
    grids = {"from_grid": Grid(8.0, 3.5), "to_grid": IMAGE_GRID}
    with refusing_gpu() as gpu:
        gpu.be_strict()
        found = read_at(on_gpu(logits), (23, 29), **grids)
    assert torch.equal(found.as_subclass(torch.Tensor), read_at(logits, (23, 29), **grids))


def test_a_loss_that_is_no_number_is_noticed_though_nobody_waits(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with refusing_gpu() as gpu:
        gpu.be_strict()
        log = RunLog(path, 0)
        losses = [on_gpu(torch.tensor(float("nan") if k == 3 else 1.0)) for k in range(1, 8)]
        steps = [StepLog(step=k, loss=loss, lr=0.1) for k, loss in enumerate(losses, 1)]
        for step in steps[:-1]:
            log.add(step)
        # Of 1, 2 to 4, and 5 to 7, the second are read when the third are asked for.
        with pytest.raises(NonFiniteLossError, match="nan at step 3"):
            log.add(steps[-1])
    assert read_losses(path) == [1.0, 1.0]


def test_what_is_read_back_is_what_was_there_when_it_was_asked_for():
    with refusing_gpu():
        loss = on_gpu(torch.tensor([1.0, 2.0]))
        readback = Readback(loss)
        loss.zero_()
        assert readback.values() == [1.0, 2.0]
    assert Readback(torch.tensor([3.0])).values() == [3.0]


WAITING = {
    "item": lambda x: x.sum().item(),
    "a branch": lambda x: bool((x > 0).all()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to the CPU": lambda x: x.to("cpu"),
    "nonzero": lambda x: x.nonzero(),
    "a mask": lambda x: x[x > 0],
    "numbers": lambda x: x + torch.tensor([1.0, 2.0], device=GPU),
    "memory that is not pinned": lambda x: torch.ones(2).to(GPU, non_blocking=True),
    "bincount": lambda x: torch.bincount(x.long()),
    "copied to memory that is not pinned": lambda x: torch.ones(2).copy_(x, non_blocking=True),
    "the latest": lambda x: Readback(x).values(),
}


@pytest.mark.parametrize("name", WAITING)
def test_it_fails_where_the_device_would_be_waited_for(name):
    """Else the tests above could not fail."""
    with refusing_gpu() as gpu:
        x = on_gpu(torch.tensor([1.0, 2.0]))
        WAITING[name](x)
        gpu.be_strict()
        with pytest.raises(Waited):
            WAITING[name](x)
