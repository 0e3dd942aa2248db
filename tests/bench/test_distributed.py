"""One run over several processes on the CPU: the results of one process, and its ways to end."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from attempts import bits, process_of, wait_for
from processes import execute_in_group, in_group
from torch import nn
from torch.nn import functional as F

from bench import faults
from bench.data.batches import shard_of
from bench.data.catalog import Catalog
from bench.grid.slots import Slot, exec_command
from bench.run import evaluate, outcome
from bench.run import evaluate_split as splits
from bench.run.distributed import ALONE
from bench.run.evaluate_split import evaluate_split
from bench.run.losses import pixel_loss
from bench.run.optim import create_optimizer
from bench.run.train import fit
from bench.run.weights import load_weights
from bench.spec import TrainSpec
from bench.store.lease import hold
from fcn.model import create_model

pytestmark = pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")

TWO = Slot("cpu", 1, ("cpu",))
VOID = 255
WEIGHTS = torch.tensor([0.3, 1.0, 2.5])


@pytest.mark.parametrize(("count", "size"), [(5, 2), (4, 4), (16, 3)])
def test_shares_are_each_image_once_in_order(count, size):
    shares = [shard_of(count, rank, size) for rank in range(size)]
    assert [place for share in shares for place in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


class Uneven:
    """Batches of six images: one all void, one half, so that shares weigh differently."""

    def __init__(self, group):
        self.share = shard_of(6, group.rank, group.size)

    def batch(self, index):
        generator = torch.Generator().manual_seed(index)
        images = torch.randn(6, 3, 8, 8, generator=generator)
        target = torch.randint(0, 3, (6, 8, 8), generator=generator)
        target[0] = VOID
        target[3, :4] = VOID
        mine = slice(self.share.start, self.share.stop)
        return images[mine], target[mine]


class Alike(nn.Module):
    """The way up of scores that are at the pixels already."""

    def forward(self, scores, size):
        return scores


class Small(nn.Module):
    """With batch norm or without, and a layer that takes no part, as some backbones have."""

    def __init__(self, norm):
        super().__init__()
        torch.manual_seed(0)
        middle = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), middle, nn.ReLU(), nn.Conv2d(8, 3, 1)
        )
        self.unused = nn.Linear(2, 2)

    def forward(self, images):
        return self.layers(images)


def train_small(group, loss_fn, norm, groups=1):
    train = TrainSpec(
        steps=4,
        batch_size=6,
        grad_accum_steps=2,
        lr=0.1,
        clip_grad_norm=0.5,
        batch_norm_groups=groups,
    )
    model = Small(norm)
    optimizer = create_optimizer(model, train)

    def loss(images, target):
        return loss_fn(model(images), target)

    logs = list(fit(model, Uneven(group), loss, optimizer, train, seed=1, group=group))
    return [float(log.loss) for log in logs], model.state_dict()


@pytest.mark.parametrize(
    ("norm", "processes", "groups"), [(True, 2, 1), (False, 4, 1), (True, 4, 2)]
)
def test_steps_are_those_of_a_single_process(norm, processes, groups, tmp_path):
    """The single process takes torch's own batch norm and loss, where there is such a thing."""

    def alone(logits, target):
        return F.cross_entropy(logits, target, WEIGHTS, ignore_index=VOID)

    def shared(group):
        def loss(logits, target):
            return pixel_loss(
                logits,
                target,
                Alike(),
                ignore_index=VOID,
                class_weights=WEIGHTS,
                add_up=group.sum,
            )

        return train_small(group, loss, norm, groups)

    losses, weights = train_small(ALONE, alone, norm, groups)
    assert losses[0] != pytest.approx(losses[3], rel=1e-2)
    for found_losses, found_weights in in_group(processes, shared, tmp_path):
        assert found_losses == pytest.approx(losses, rel=1e-5)
        for name, weight in weights.items():
            torch.testing.assert_close(found_weights[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_pixels", [splits.BATCH_PIXELS, 3 * 32 * 32])
def test_a_split_is_counted_once_whoever_counts(tiny_run, tmp_path, monkeypatch, batch_pixels):
    """The first process runs out of memory with three images or more, and goes on one by one."""
    monkeypatch.setattr(splits, "BATCH_PIXELS", batch_pixels)
    differences = {"data.options": {"size": 32, "num_test": 19}, "model.score_init": "random"}
    store, run = tiny_run(differences)
    pack = Catalog(store, None).pack(run.spec.data)
    torch.manual_seed(0)
    model = create_model(**run.spec.model.model_dump(), num_classes=pack.num_classes)

    def count(group):
        return evaluate_split(
            model,
            pack,
            "test",
            run.spec,
            torch.device("cpu"),
            boundary=True,
            surface=True,
            calibration=True,
            group=group,
        )

    whole = count(ALONE)
    assert len(whole.names) == 19

    def count_with_little(group):
        predict_targets = evaluate.predict_targets

        def predict(model, images, *rest):
            if group.is_first and len(images) > 2:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return predict_targets(model, images, *rest)

        evaluate.predict_targets = predict
        return count(group)

    for processes in (2, 4):  # of three batches, one of four processes has none
        found = in_group(processes, count_with_little, tmp_path)[0]
        assert found.names == whole.names
        assert np.array_equal(found.confusions, whole.confusions)
        assert np.array_equal(found.boundaries, whole.boundaries)
        assert np.array_equal(found.surfaces, whole.surfaces)
        assert np.array_equal(found.calibrations, whole.calibrations)
        assert list(found.predictions) == list(whole.predictions)
        for name, pred in whole.predictions.items():
            assert np.array_equal(found.predictions[name], pred)


@pytest.mark.slow
def test_more_devices_than_images_of_a_batch_are_refused(tiny_run):
    store, run = tiny_run()
    assert execute_in_group(3, store.run_dir(run.id)) == outcome.INPUT
    assert "batch_size 2 cannot be shared among 3" in store.failure(run.id).message


@contextmanager
def started(store, run, slot=TWO):
    words = exec_command(store.run_dir(run.id), slot)
    with (
        (store.run_dir(run.id) / "log.txt").open("ab") as log,
        process_of(words, stdin=subprocess.PIPE, stdout=log, stderr=log) as process,
    ):
        yield process


def exec_and_wait(store, run, slot=TWO):
    with started(store, run, slot) as process:
        return process.wait(timeout=120)


def exec_and_stop(store, run):
    with started(store, run) as process:
        wait_for(lambda: len(losses(store, run)) > 1)
        process.terminate()
        return process.wait(timeout=60)


def members(store, run):
    """Process ids of a run's processes by rank, as the system knows them."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--member" in words and str(store.run_dir(run.id)).encode() in words:
            rank = next(v for v in variables if v.startswith(b"RANK="))
            found[int(rank.removeprefix(b"RANK="))] = int(folder.name)
    return found


def losses(store, run):
    return [row["loss"] for row in store.logs(run.id) if "loss" in row]


CALM = {"train.lr": 1e-3, "model.dropout": 0.0, "train.batch_size": 3}


@pytest.mark.slow
def test_a_run_over_two_processes_gives_the_results_of_one(tiny_run):
    """Uneven shares of three images; what is left between them is rounding."""
    alone, run = tiny_run(CALM, folder="alone")
    assert execute_in_group(1, alone.run_dir(run.id)) == outcome.DONE
    store, same = tiny_run(CALM, folder="shared")
    assert same.id == run.id
    assert execute_in_group(2, store.run_dir(run.id)) == outcome.DONE
    assert losses(store, run) == pytest.approx(losses(alone, run), rel=1e-4)
    ours, theirs = (load_weights(s, s.result(run.id)) for s in (store, alone))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-3, atol=1e-4)
    counts = [np.array(s.result(run.id).confusion) for s in (store, alone)]
    assert counts[0].sum() == counts[1].sum()
    assert abs(counts[0] - counts[1]).sum() / counts[1].sum() < 0.005
    assert store.result(run.id).environment["processes"] == 2
    (note,) = store.result(run.id).notes
    assert note == "trained by 2 processes: as by one but for rounding"
    assert [row["step"] for row in store.logs(run.id)] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert not list(store.run_dir(run.id).glob("checkpoint*"))


LEVERS = {
    **CALM,
    "train.loss": {"focal": 1.0, "dice": 0.5, "lovasz": 0.5, "ohem": 0.5},
    "train.freeze": {"backbone": 3, "skip:16": 2},
    "train.groups": {"head": {"lr": 2}},
    "train.sampler": "balanced",
    "train.augment": ["RandomRotation(degrees=20)"],
    "train.loss_sampling": 0.5,
}


@pytest.mark.slow
def test_levers_over_two_processes_of_torchrun_are_those_of_one(tiny_run):
    """Losses of sums and images, parts that thaw, and what is drawn for each image."""
    alone, run = tiny_run(LEVERS, folder="alone")
    assert execute_in_group(1, alone.run_dir(run.id)) == outcome.DONE
    store, same = tiny_run(LEVERS, folder="shared")
    assert same.id == run.id
    assert exec_and_wait(store, run) == outcome.DONE
    assert store.result(run.id).environment["processes"] == 2
    assert losses(store, run) == pytest.approx(losses(alone, run), rel=1e-4)
    ours, theirs = (load_weights(s, s.result(run.id)) for s in (store, alone))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-3, atol=1e-4)
    start, other = tiny_run({**LEVERS, "train.steps": 3}, folder="frozen")
    assert execute_in_group(1, start.run_dir(other.id)) == outcome.DONE
    frozen = load_weights(start, start.result(other.id))
    thawed = [n for n, w in theirs.items() if n.startswith("backbone.") and w.is_floating_point()]
    assert not all(torch.equal(frozen[name], ours[name]) for name in thawed)


LONG = {"train.steps": 60, "train.grad_accum_steps": 1, "evaluate.eval_every": 0}


@pytest.mark.slow
def test_stopped_then_killed_gives_the_bits_of_an_uninterrupted_run(tiny_run):
    """SIGTERM: all checkpoint at one step. kill -9 of one process: recorded, and gone on from."""
    whole, run = tiny_run(LONG, folder="whole")
    assert execute_in_group(2, whole.run_dir(run.id)) == outcome.DONE
    store, _ = tiny_run(LONG, folder="stopped")
    assert exec_and_stop(store, run) == outcome.STOPPED
    assert store.failure(run.id).reason == "stopped"
    assert len(list(store.run_dir(run.id).glob("checkpoint-*.json"))) == 1
    assert members(store, run) == {}
    steps = len(losses(store, run))
    with started(store, run) as process:
        wait_for(lambda: len(losses(store, run)) > steps + 1)
        os.kill(members(store, run)[1], signal.SIGKILL)
        assert process.wait(timeout=60) == 128 + signal.SIGKILL
    assert store.failure(run.id).reason == "killed"
    assert "process 1 of 2 ended with signal 9" in store.failure(run.id).message
    assert execute_in_group(2, store.run_dir(run.id)) == outcome.DONE
    assert bits(store, run) == bits(whole, run)


@pytest.mark.slow
def test_another_number_of_processes_goes_on_and_says_so(tiny_run, stopped_after):
    store, run = tiny_run()
    with stopped_after(3):
        assert execute_in_group(2, store.run_dir(run.id)) == outcome.STOPPED
    assert execute_in_group(1, store.run_dir(run.id)) == outcome.DONE
    assert "processes 2 -> 1" in store.result(run.id).notes[0]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["engine", "launcher"])
def test_no_process_outlives_the_engine_or_the_launcher(tiny_run, victim):
    store, run = tiny_run({**LONG, "train.steps": 100_000})
    with started(store, run) as process:
        wait_for(lambda: store.heartbeat(run.id))
        if victim == "engine":
            process.stdin.close()  # as the system does when the engine is killed
        else:
            process.kill()
        time.sleep(1.5)
        beat = store.heartbeat(run.id)
        time.sleep(0.7)
        assert store.heartbeat(run.id) == beat
        wait_for(lambda: members(store, run) == {})
        process.wait(timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [
        ("step:oom@2", outcome.MEMORY, "memory"),
        ("loss:nan@2", outcome.NONFINITE, "nonfinite"),
    ],
)
def test_ends_are_those_of_a_single_process(tiny_run, monkeypatch, fault, code, reason):
    store, run = tiny_run()
    monkeypatch.setenv(faults.VARIABLE, fault)
    monkeypatch.setattr(faults, "_passed", faults.Counter())
    assert execute_in_group(2, store.run_dir(run.id)) == code
    assert store.failure(run.id).reason == reason


@pytest.mark.slow
def test_a_run_that_is_held_is_left_alone(tiny_run):
    store, run = tiny_run()
    with hold(store.run_dir(run.id)):
        assert exec_and_wait(store, run) == outcome.BUSY
    assert store.failure(run.id) is None


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_give_the_results_of_one(tiny_run):
    settings = {**CALM, "train.batch_size": 6}
    alone, run = tiny_run(settings, folder="alone")
    assert exec_and_wait(alone, run, Slot("cuda:0", 1)) == outcome.DONE
    store, _ = tiny_run(settings, folder="shared")
    assert exec_and_wait(store, run, Slot("cuda:0", 1, ("cuda:1",))) == outcome.DONE
    assert losses(store, run) == pytest.approx(losses(alone, run), rel=1e-3)
    counts = [np.array(s.result(run.id).confusion) for s in (store, alone)]
    assert abs(counts[0] - counts[1]).sum() / counts[1].sum() < 0.02
