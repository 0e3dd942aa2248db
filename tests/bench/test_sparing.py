"""Evaluation by as many images at once as fit: whatever that is, the counts are the same."""

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from attempts import end_of, fork

from bench.data.catalog import Catalog
from bench.data.scoring_batches import groups_of_one_size
from bench.run import evaluate
from bench.run import evaluate_split as splits
from bench.run.chunking import MemoryFallback
from bench.run.distributed import ALONE
from bench.run.evaluate_split import BATCH_PIXELS, BATCH_SIZE, evaluate_split
from fcn.model import create_model

CPU = torch.device("cpu")


@pytest.fixture
def score(tiny_run):
    """Score ten drawn images with an untrained network: score(size=32) -> Evaluation."""

    def score(size=32, **differences):
        drawn = {"data.options": {"size": size, "num_test": 10}, "evaluate.eval_every": 0}
        store, run = tiny_run({**drawn, **differences})
        pack = Catalog(store, None).pack(run.spec.data)
        torch.manual_seed(0)
        model = create_model(**run.spec.model.model_dump(), num_classes=pack.num_classes)
        return evaluate_split(model, pack, "test", run.spec, CPU, boundary=True)

    return score


@pytest.fixture
def seen(monkeypatch):
    """How many images each pass through the network has."""
    lengths, predict_targets = [], evaluate.predict_targets

    def note(model, images, *rest):
        lengths.append(len(images))
        return predict_targets(model, images, *rest)

    monkeypatch.setattr(evaluate, "predict_targets", note)
    return lengths


def same(first, second):
    assert first.names == second.names
    assert np.array_equal(first.confusions, second.confusions)
    assert np.array_equal(first.boundaries, second.boundaries)
    assert first.predictions.keys() == second.predictions.keys()
    for name, pred in first.predictions.items():
        assert np.array_equal(second.predictions[name], pred)


@pytest.mark.parametrize("size", [(256, 256), (360, 480), (500, 500), (480, 640)])
def test_eight_images_of_the_usual_sizes_are_scored_at_once(size):
    """As in every version so far: SIFT Flow, CamVid, PASCAL VOC, NYUDv2."""
    (group,) = groups_of_one_size([(i, size) for i in range(8)], 1.0, BATCH_SIZE, BATCH_PIXELS)
    assert len(group) == 8


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_counts_do_not_depend_on_how_many_are_scored_at_once(score, seen, monkeypatch, precision):
    settings = {"train.precision": precision}
    whole = score(**settings)
    for pixels in (4 * 32 * 32, 1):
        monkeypatch.setattr(splits, "BATCH_PIXELS", pixels)
        same(score(**settings), whole)
    assert seen == [8, 2, 4, 4, 2, *[1] * 10]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_after_memory_ran_out_images_are_scored_one_by_one(score, seen, monkeypatch, error):
    whole = score()
    count_boundary, tried = evaluate.count_boundary, []

    def run_out(pred, *rest):  # the last of what scoring a batch does
        tried.append(len(pred))
        if len(pred) > 1:
            raise error
        return count_boundary(pred, *rest)

    monkeypatch.setattr(evaluate, "count_boundary", run_out)
    same(score(), whole)
    assert tried == [8, *[1] * 10]  # the second batch is not tried whole


def test_what_is_no_lack_of_memory_or_met_with_one_image_ends_the_evaluation():
    def fail(batch):
        raise error

    error = RuntimeError("shapes do not match")
    with pytest.raises(RuntimeError, match="shapes"):
        list(MemoryFallback()(fail, torch.zeros(8)))
    error = torch.OutOfMemoryError("CUDA out of memory")
    for length in (1, 8):
        with pytest.raises(torch.OutOfMemoryError):
            list(MemoryFallback()(fail, torch.zeros(length)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_evaluation_goes_on_where_memory_really_runs_out(score, seen):
    settings = {"size": 384, "model.backbone": "resnet18"}  # 180 MiB for eight, 40 for one
    whole = score(**settings)

    def with_little_memory():
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, size + 2**26))
        seen.clear()
        same(score(**settings), whole)
        assert seen[0] == 8
        assert seen[1:] == [1] * 10
        return 0

    assert end_of(fork(with_little_memory)) == 0


def test_what_was_scored_in_another_order_comes_back_in_that_of_the_split():
    """Devices other than CPUs score by size."""
    counts = np.arange(3, dtype=np.int32).reshape(3, 1, 1)
    preds = {name: np.full((2, 2), k, np.uint8) for k, name in enumerate("cab")}
    kept = {name: preds[name] for name in "cb"}
    found = splits.gather(
        evaluate.Evaluation(list("cab"), counts, kept), "abc", [(2, 2)] * 3, "bc", ALONE
    )
    assert found.names == list("abc")
    assert found.confusions.ravel().tolist() == [1, 2, 0]
    assert list(found.predictions) == ["b", "c"]
    assert all(np.array_equal(found.predictions[name], preds[name]) for name in "bc")
