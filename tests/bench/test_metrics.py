"""Scores against a plain double loop, torchmetrics, and numbers a person can check by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from bench.mask_scores import count_mask, score
from bench.metrics import score_many, summarize
from bench.run.confusion import count
from fcn.errors import InputError

IGNORE = 255


def draw(seed, num_classes, absent=(), shape=(3, 9, 11)):
    """Random predictions and targets with ignored pixels; some classes never occur."""
    rng = np.random.default_rng(seed)
    present = [c for c in range(num_classes) if c not in absent]
    target = rng.choice([*present, IGNORE], size=shape)
    pred = np.where(rng.random(shape) < 0.5, target, rng.choice(present, size=shape))
    pred[pred == IGNORE] = present[0]
    return torch.tensor(pred), torch.tensor(target)


def count_by_loop(pred, target, num_classes):
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    for t, p in zip(target.flatten().tolist(), pred.flatten().tolist(), strict=True):
        if t != IGNORE:
            counts[t, p] += 1
    return counts


@pytest.mark.parametrize("absent", [(), (2,), (0, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_torchmetrics_and_a_double_loop(seed, absent):
    C = 5
    pred, target = draw(seed, C, absent)
    counts = count(pred, target, C, IGNORE)
    assert counts.dtype == torch.int32
    assert (counts.sum(0).numpy() == count_by_loop(pred, target, C)).all()
    assert (counts[1].numpy() == count_by_loop(pred[1], target[1], C)).all()

    scores = summarize(counts.sum(0).numpy())
    settings = {"num_classes": C, "ignore_index": IGNORE}
    jaccard = MulticlassJaccardIndex(**settings, average="macro")(pred, target)
    accuracy = MulticlassAccuracy(**settings, average="micro")(pred, target)
    assert scores.miou == pytest.approx(float(jaccard), abs=1e-6)
    assert scores.pixel_acc == pytest.approx(float(accuracy), abs=1e-6)
    if not absent:  # torchmetrics counts a class that is absent from the target as 0 here
        mean_acc = MulticlassAccuracy(**settings, average="macro")(pred, target)
        weighted = MulticlassJaccardIndex(**settings, average="weighted")(pred, target)
        assert scores.mean_acc == pytest.approx(float(mean_acc), abs=1e-6)
        assert scores.fw_iou == pytest.approx(float(weighted), abs=1e-6)
    per_class = MulticlassJaccardIndex(**settings, average="none")(pred, target).numpy()
    for c in range(C):
        assert (
            np.isnan(scores.iou[c]) if c in absent else scores.iou[c] == pytest.approx(per_class[c])
        )


def test_miou_pools_pixels_over_the_dataset():
    missed_rare = np.array([[99, 0], [1, 0]])  # 99 of class 0 right, 1 of class 1 missed
    perfect = np.array([[1, 0], [0, 99]])
    pooled = summarize(missed_rare + perfect).miou
    assert pooled == pytest.approx((100 / 101 + 99 / 100) / 2)
    of_images = np.mean([summarize(missed_rare).miou, summarize(perfect).miou])
    assert of_images == pytest.approx(0.7475)  # what averaging over images would have given


def test_an_absent_class_is_left_out_and_a_predicted_absent_one_counts_as_zero():
    absent = np.array([[8, 2, 0], [0, 10, 0], [0, 0, 0]])
    scores = summarize(absent)
    assert np.isnan(scores.iou[2])
    assert scores.miou == pytest.approx((8 / 10 + 10 / 12) / 2)
    predicted = np.array([[8, 1, 1], [0, 10, 0], [0, 0, 0]])
    scores = summarize(predicted)
    assert scores.iou[2] == 0
    assert scores.miou == pytest.approx((8 / 10 + 10 / 11 + 0) / 3)
    assert scores.mean_acc == pytest.approx((8 / 10 + 1) / 2)  # absent: no recall to speak of


def test_no_labelled_pixel_gives_nan_and_not_zero():
    scores = summarize(np.zeros((3, 3), dtype=np.int64))
    assert all(np.isnan([scores.pixel_acc, scores.mean_acc, scores.miou, scores.fw_iou]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=9, max_size=9))
def test_scores_are_fractions_whatever_the_counts(counts):
    scores = score_many(np.array(counts).reshape(1, 3, 3))
    for name in ("pixel_acc", "mean_acc", "miou", "fw_iou"):
        value = scores[name][0]
        assert np.isnan(value) or -1e-12 <= value <= 1 + 1e-12


def test_many_matrices_at_once_equal_one_at_a_time():
    stack = np.random.default_rng(0).integers(0, 50, (4, 6, 5, 5))
    many = score_many(stack)
    one = summarize(stack[2, 3])
    assert many["miou"][2, 3] == one.miou
    assert (many["iou"][2, 3] == one.iou).all()


@pytest.mark.parametrize("seed", range(3))
def test_masks_are_scored_as_torchmetrics_and_the_runs_count_do(seed):
    pred, target = draw(seed, 5)
    found = score(target.numpy(), pred.numpy(), 5)
    judge = MulticlassJaccardIndex(5, average="macro", ignore_index=IGNORE)
    assert found.miou == pytest.approx(float(judge(pred, target)), rel=1e-6)
    accuracy = MulticlassAccuracy(5, average="micro", ignore_index=IGNORE)
    assert found.pixel_acc == pytest.approx(float(accuracy(pred, target)), rel=1e-6)
    counted = count(pred, target, 5, IGNORE).numpy()
    each = [count_mask(t, p, 5, IGNORE) for t, p in zip(target.numpy(), pred.numpy(), strict=True)]
    assert np.array_equal(counted, each)
    assert found.miou == summarize(counted.sum(0)).miou
    assert score(iter(target.numpy()), list(pred.numpy()), 5).miou == found.miou
    narrow = score(target.numpy().astype(np.uint8), pred.numpy().astype(np.uint8), 5)
    assert narrow.miou == found.miou


def test_masks_of_several_sizes_are_added_up_before_the_division():
    wrong, right = np.zeros((1, 1), np.uint8), np.zeros((3, 3), np.uint8)
    found = score([wrong, right], [wrong + 1, right], 2)
    assert found.pixel_acc == 9 / 10
    assert found.miou == (9 / 10 + 0) / 2  # class 1 is predicted but absent, so it counts as 0


@pytest.mark.parametrize(
    ("target", "prediction", "options", "said"),
    [
        ([[0, 1]], [[0], [1]], {}, r"target 0 is \(1, 2\) and its prediction \(2, 1\)"),
        ([[0, 2]], [[0, 1]], {}, "target 0 holds 2, which is no class: 2 classes are 0 to 1"),
        ([[0, 1]], [[0, -1]], {}, "prediction 0 holds -1"),
        ([[0, 1]], [[0.0, 1.0]], {}, "prediction 0 holds float64"),
        ([[0, 1]], [[0, 1]], {"ignore_index": 1}, "ignore_index 1 is one of the 2 classes"),
    ],
)
def test_masks_that_cannot_be_counted_are_refused(target, prediction, options, said):
    with pytest.raises(InputError, match=said):
        score(np.array(target), np.array(prediction), 2, **options)


def test_as_many_predictions_as_targets_are_asked_for():
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(InputError, match="target 1 has no prediction"):
        score([mask, mask], [mask], 2)
    with pytest.raises(InputError, match="prediction 0 has no target"):
        score([], [mask], 2)
