"""Boundary counts against scipy's erosion per class, a double loop, and squares done by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from bench.metrics import BOUNDARY_SCORE, score_boundary
from bench.run import outcome
from bench.run.boundary import boundary_distance_px, count_boundary
from bench.run.execute import Options, execute
from reports.results.frame import runs_frame

IGNORE = 255


def erode(mask, ignored, distance):
    """Erode by squares; an ignored pixel never erodes, the image's edge always does."""
    size = 2 * distance + 1
    kept = ndimage.binary_erosion(mask | ignored, np.ones((size, size)), border_value=0)
    return mask & kept


def by_erosion(pred, target, num_classes, distance):
    """The second route: class by class, as the paper states it."""
    ignored = target == IGNORE
    counts = np.zeros((2, num_classes), int)
    for c in range(num_classes):
        t, p = (target == c), (pred == c) & ~ignored
        near_t, near_p = t & ~erode(t, ignored, distance), p & ~erode(p, ignored, distance)
        counts[:, c] = (near_t & near_p).sum(), (near_t | near_p).sum()
    return counts


def by_loop(pred, target, num_classes, distance):
    """The third: pixel by pixel."""
    H, W = target.shape

    def near(classes, y, x):
        for v in range(y - distance, y + distance + 1):
            for u in range(x - distance, x + distance + 1):
                if not (0 <= v < H and 0 <= u < W):
                    return True
                if target[v, u] != IGNORE and classes[v, u] != classes[y, x]:
                    return True
        return False

    counts = np.zeros((2, num_classes), int)
    for y in range(H):
        for x in range(W):
            if target[y, x] == IGNORE:
                continue
            regions = [c[y, x] if near(c, y, x) else None for c in (target, pred)]
            for c in set(regions) - {None}:
                counts[1, c] += 1
                counts[0, c] += regions[0] == regions[1]
    return counts


def draw(seed, num_classes=4, shape=(2, 23, 31), ignored=0.05):
    rng = np.random.default_rng(seed)
    blobs = ndimage.zoom(rng.random((shape[0], 4, 5)), (1, shape[1] / 4, shape[2] / 5), order=1)
    target = np.minimum((blobs * num_classes).astype(int), num_classes - 1)
    pred = np.where(rng.random(shape) < 0.05, rng.integers(0, num_classes, shape), target)
    pred = np.roll(pred, (1, 2), (1, 2))
    target[rng.random(shape) < ignored] = IGNORE
    return pred, target


@pytest.mark.parametrize("distance", [1, 2, 3, 5, 12, 40])
@pytest.mark.parametrize("ignored", [0.0, 0.05, 0.7])
def test_counts_equal_erosion_class_by_class(distance, ignored):
    pred, target = draw(distance, ignored=ignored)
    counts = count_boundary(torch.tensor(pred), torch.tensor(target), 4, IGNORE, distance)
    assert counts.dtype == torch.int32
    for i in range(len(target)):
        assert (counts[i].numpy() == by_erosion(pred[i], target[i], 4, distance)).all()


def test_counts_equal_a_loop_over_pixels():
    pred, target = draw(7, shape=(1, 12, 15), ignored=0.2)
    counts = count_boundary(torch.tensor(pred), torch.tensor(target), 4, IGNORE, 2)
    assert (counts[0].numpy() == by_loop(pred[0], target[0], 4, 2)).all()


def test_a_square_by_hand():
    target = torch.zeros(1, 20, 20, dtype=torch.long)
    target[0, 6:14, 6:14] = 1
    pred = torch.zeros_like(target)
    pred[0, 6:14, 7:15] = 1  # one to the right
    counts = count_boundary(pred, target, 2, IGNORE, 1)
    # Rings of 8 x 8 squares: 28 pixels each. They share two rows of 7, and no column.
    assert counts[0, :, 1].tolist() == [14, 56 - 14]


def test_an_ignored_rim_is_no_outline():
    target = torch.zeros(1, 20, 20, dtype=torch.long)
    target[0, :, :10] = IGNORE
    counts = count_boundary(torch.zeros_like(target), target, 2, IGNORE, 1)
    assert counts[0, :, 0].tolist() == [10 + 10 + 18] * 2  # the image's edge alone
    assert counts[0, :, 1].tolist() == [0, 0]


def test_what_is_predicted_on_ignored_pixels_does_not_matter():
    pred, target = draw(3, ignored=0.3)
    other = np.where(target == IGNORE, (pred + 1) % 4, pred)
    first, second = (
        count_boundary(torch.tensor(p), torch.tensor(target), 4, IGNORE, 2) for p in (pred, other)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("size", "distance"), [((360, 480), 12), ((375, 500), 12), ((1024, 2048), 46), ((8, 8), 1)]
)
def test_the_distance_is_two_percent_of_the_diagonal(size, distance):
    assert boundary_distance_px(*size) == distance


def test_the_default_distance_is_used():
    pred, target = (torch.tensor(x) for x in draw(1, shape=(1, 90, 120), ignored=0.0))
    assert torch.equal(
        count_boundary(pred, target, 4, IGNORE), count_boundary(pred, target, 4, IGNORE, 3)
    )


def test_the_score_pools_counts_over_images_and_leaves_absent_classes_out():
    counts = np.array([[[1, 4, 0], [2, 4, 0]], [[0, 0, 0], [6, 0, 0]]])
    scores = score_boundary(counts.sum(0))
    assert scores["boundary_iou"][:2].tolist() == [1 / 8, 1.0]
    assert np.isnan(scores["boundary_iou"][2])
    assert scores[BOUNDARY_SCORE] == pytest.approx((1 / 8 + 1) / 2)


def test_a_run_that_asks_keeps_its_boundary_counts(tiny_run):
    store, run = tiny_run({"evaluate.boundary": True, "train.steps": 1})
    assert execute(store.run_dir(run.id), Options(device="cpu", threads=1)) == outcome.DONE
    counts = store.evaluation(store.result(run.id)).boundaries()
    assert counts.dtype == np.int32
    assert counts.shape == (5, 2, store.confusions(run.id, "test")[1].shape[1])
    assert counts.sum(0).tolist() == store.result(run.id).boundary
    assert (counts[:, 0] <= counts[:, 1]).all()
    assert counts.sum() > 0


def test_a_run_that_does_not_ask_is_as_it_was(tiny_run):
    store, run = tiny_run({"train.steps": 1})
    assert execute(store.run_dir(run.id), Options(device="cpu", threads=1)) == outcome.DONE
    assert store.evaluation(store.result(run.id)).boundaries() is None
    assert store.result(run.id).boundary is None
    _, asking = tiny_run({"train.steps": 1, "evaluate.boundary": True})
    assert asking.id != run.id


def test_the_frame_has_the_score_where_a_run_has_it(tiny_run):
    from bench.plan import Plan, PlannedRun

    store, run = tiny_run({"evaluate.boundary": True, "train.steps": 1})
    execute(store.run_dir(run.id), Options(device="cpu", threads=1))
    plan = Plan("x", "x", "x", (PlannedRun("x", run),))
    score = runs_frame(plan, store).loc[0, BOUNDARY_SCORE]
    assert score == score_boundary(np.array(store.result(run.id).boundary))[BOUNDARY_SCORE]
