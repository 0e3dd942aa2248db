"""Surface distances against scipy's distance transform, and on outlines that one can measure."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from bench.metrics import METRICS, SURFACE_UNITS, score_rows, split_rows
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.run.surface import count_surface

IGNORE = 255


def surface_distance(counts):
    return float(score_rows(METRICS["surface_distance"], split_rows(counts)))


def outlines_by_scipy(classes, labelled, c):
    """Pixels of a class beside a labelled pixel of another, by shifting: a slower way."""
    other = (classes != c) & labelled
    cross = ndimage.generate_binary_structure(2, 1)
    return (classes == c) & labelled & ndimage.binary_dilation(other, cross)


def count_by_scipy(pred, target, num_classes):
    counts = np.zeros((2, num_classes))
    labelled = target != IGNORE
    for c in range(num_classes):
        one, other = (outlines_by_scipy(x, labelled, c) for x in (target, pred))
        if one.any() and other.any():
            for here, there in ((one, other), (other, one)):
                far = ndimage.distance_transform_edt(~there)[here]
                counts[:, c] += np.rint(far * SURFACE_UNITS).sum(), len(far)
    return counts


def draw(seed, shape=(40, 53), num_classes=4):
    """Blobs, some of them shifted in the prediction, with a void region."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 4)
    target = np.digitize(noise, np.quantile(noise, [0.4, 0.7, 0.9])).astype(np.int64)
    pred = np.roll(target, (2, 3), (0, 1)) % num_classes
    target[5:9, 10:20] = IGNORE
    return pred, target


@pytest.mark.parametrize("seed", range(4))
def test_distances_are_those_of_scipys_transform(seed):
    pred, target = draw(seed)
    found = count_surface(torch.tensor(pred)[None], torch.tensor(target)[None], 4, IGNORE)
    assert np.array_equal(found[0].numpy(), count_by_scipy(pred, target, 4))


def test_the_nearest_point_is_found_over_many_chunks(monkeypatch):
    monkeypatch.setattr("bench.run.surface.POINTS_AT_ONCE", 100)
    pred, target = draw(7)
    found = count_surface(torch.tensor(pred)[None], torch.tensor(target)[None], 4, IGNORE)
    assert np.array_equal(found[0].numpy(), count_by_scipy(pred, target, 4))


def test_a_straight_edge_moved_by_three_pixels_is_three_pixels_away():
    target = torch.zeros(1, 20, 30, dtype=torch.int64)
    target[:, :, 10:] = 1
    counts = count_surface(target.roll(3, 2).where(torch.arange(30) > 2, 0), target, 2, IGNORE)
    assert surface_distance(counts[0].numpy()) == 3


def test_equal_masks_are_no_distance_apart():
    _, target = draw(1)
    target = torch.tensor(target)[None]
    counts = count_surface(target.where(target != IGNORE, 0), target, 4, IGNORE)
    assert surface_distance(counts.sum(0).numpy()) == 0


def test_a_class_in_but_one_of_the_two_is_left_out():
    target = torch.zeros(1, 9, 9, dtype=torch.int64)
    target[:, 3:6, 3:6] = 1
    counts = count_surface(torch.zeros_like(target), target, 3, IGNORE)
    assert not counts.any()
    assert np.isnan(surface_distance(counts[0].numpy()))


def test_a_sum_of_distances_is_larger_than_four_bytes_hold():
    """One pixel of class 1, and every other row said to be of it: all these are that far away."""
    target = torch.zeros(1, 820, 820, dtype=torch.int64)
    target[0, 0, 0] = 1
    pred = torch.zeros_like(target)
    pred[:, ::2] = 1
    counts = count_surface(pred, target, 2, IGNORE)
    distances = np.rint(SURFACE_UNITS * np.hypot(*np.mgrid[:820:2, :820])).astype(np.int64)
    assert distances.sum() > 2**31
    assert counts[0, :, 1].tolist() == [distances.sum(), distances.size + 1]


def test_images_are_counted_by_themselves():
    pairs = [draw(seed) for seed in (3, 4)]
    both = count_surface(
        *(torch.tensor(np.stack(side)) for side in zip(*pairs, strict=True)), 4, IGNORE
    )
    for pair, own in zip(pairs, both, strict=True):
        assert np.array_equal(own.numpy(), count_by_scipy(*pair, 4))


def test_a_prediction_in_void_has_no_outline():
    target = torch.full((1, 8, 8), IGNORE)
    target[:, :, :3] = 0
    pred = torch.zeros(1, 8, 8, dtype=torch.int64)
    pred[:, :, 5:] = 1
    assert not count_surface(pred, target, 2, IGNORE).any()


def test_a_run_that_asks_keeps_its_distances_and_other_runs_are_as_they_were(tiny_run):
    from bench.plan import Plan, PlannedRun
    from reports.results.frame import runs_frame

    store, run = tiny_run({"evaluate.surface": True, "train.steps": 1})
    assert execute(store.run_dir(run.id), Options(device="cpu", threads=1)) == outcome.DONE
    result = store.result(run.id)
    counts = store.evaluation(result).surfaces()
    assert counts.sum(0).tolist() == result.surface
    assert result.boundary is None
    plan = Plan("x", "x", "x", (PlannedRun("x", run),))
    score = runs_frame(plan, store).loc[0, "surface_distance"]
    assert score == pytest.approx(surface_distance(np.array(result.surface)), nan_ok=True)
    _, other = tiny_run({"train.steps": 1})
    assert other.id != run.id
