"""Every registered score keeps the rules; ours equal torchmetrics or a number known by hand."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    MulticlassCohenKappa,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from bench.metrics import (
    ALSO_CALLED,
    CALIBRATION_UNITS,
    KINDS,
    METRICS,
    count_columns,
    divide,
    find_metric,
    list_metrics,
    per_class,
    pooled,
    score_rows,
    split_rows,
    summarize,
)
from bench.run.confusion import count
from bench.scoring import Scorer, Scoring
from fcn.errors import InputError

EVERY = pytest.mark.parametrize("name", list(METRICS))


def draw(metric, seed=0, shape=(4,), num_classes=5):
    """Counts that images may have, (..., R, C): no part is larger than its whole."""
    rng = np.random.default_rng(seed)
    columns = count_columns(metric.counts, num_classes)
    whole = rng.integers(1, 1000, (*shape, KINDS[metric.counts], columns))
    if metric.counts == "calibration":  # of each bin as many are right, or as sure, as there are
        whole[..., 1:3, :] = rng.integers(0, whole[..., :1, :] + 1, (*shape, 2, columns))
        whole[..., 2, :] *= CALIBRATION_UNITS
        return whole
    whole[..., 0, :] = rng.integers(0, whole[..., 1:, :].min(-2) + 1)
    if metric.counts == "confusion":  # as many pixels are predicted as there are
        whole[..., 2, 0] += whole[..., 1, :].sum(-1) - whole[..., 2, :].sum(-1)
        whole[..., 2, 0] = np.maximum(whole[..., 2, 0], whole[..., 0, 0])
    return whole


@EVERY
def test_it_is_within_its_limits_and_says_what_it_is(name):
    metric = METRICS[name]
    scores = score_rows(metric, split_rows(draw(metric, shape=(200,))))
    assert scores.shape == (200,)
    assert ((metric.limits[0] <= scores) & (scores <= metric.limits[1])).all()
    assert metric.label
    assert metric.explanation.endswith(".")


@EVERY
def test_only_ratios_of_pixels_count(name):
    metric = METRICS[name]
    counts = draw(metric)
    once, often = (score_rows(metric, split_rows(times * counts)) for times in (1, 7))
    np.testing.assert_allclose(often, once, rtol=1e-12)


@EVERY
def test_the_order_of_classes_does_not_count(name):
    metric = METRICS[name]
    counts = draw(metric)
    turned = score_rows(metric, split_rows(counts[..., ::-1]))
    np.testing.assert_allclose(turned, score_rows(metric, split_rows(counts)), rtol=1e-12)


@EVERY
def test_nothing_counted_is_no_score(name):
    metric = METRICS[name]
    assert np.isnan(score_rows(metric, split_rows(np.zeros((KINDS[metric.counts], 3), int))))


@EVERY
def test_a_class_without_a_pixel_changes_nothing(name):
    metric = METRICS[name]
    counts = draw(metric)
    more = np.concatenate([counts, np.zeros_like(counts[..., :1])], -1)
    assert np.array_equal(*(score_rows(metric, split_rows(c)) for c in (counts, more)))


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_torchmetrics(seed):
    rng = np.random.default_rng(seed)
    C = 6
    target = torch.tensor(rng.choice([0, 1, 2, 3, 5, 255], (3, 20, 30)))  # no class 4
    pred = torch.tensor(rng.integers(0, 4, (3, 20, 30)))  # nor is it, or 5, predicted
    pred = pred.where(torch.tensor(rng.random(pred.shape)) < 0.5, target.clamp(max=3))
    counts = count(pred, target, C, 255).sum(0).numpy()
    rows = split_rows(np.stack([np.diag(counts), counts.sum(1), counts.sum(0)]))
    of_pixels = {name: METRICS[name] for name in METRICS if METRICS[name].counts == "confusion"}
    ours = {name: float(score_rows(metric, rows)) for name, metric in of_pixels.items()}
    settings = {"num_classes": C, "ignore_index": 255, "average": "macro"}
    theirs = {
        "dice": MulticlassF1Score(**settings),  # classes in neither are left out there too
        "precision": MulticlassPrecision(**settings),
        "recall": MulticlassRecall(**settings),
        "kappa": MulticlassCohenKappa(num_classes=C, ignore_index=255),
    }
    for name, metric in theirs.items():
        assert ours[name] == pytest.approx(float(metric(pred, target)), abs=1e-6), name
    assert ours["recall"] == ours["mean_acc"] == summarize(counts).mean_acc


def test_dice_follows_from_iou_by_class():
    counts = draw(METRICS["dice"], shape=())
    iou, dice = (METRICS[name].function(*split_rows(counts)) for name in ("miou", "dice"))
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou))


def test_kappa_is_zero_for_chance_and_negative_below_it():
    chance = np.outer([60, 40], [30, 70])
    below = np.array([[0, 50], [50, 0]])
    for counts, expected in ((chance, 0), (below, -1)):
        rows = split_rows(np.stack([np.diag(counts), counts.sum(1), counts.sum(0)]))
        assert score_rows(METRICS["kappa"], rows) == pytest.approx(expected)


class TestAQuestionsScoring:
    """Three classes: a is right by half, b is absent but predicted, c is in neither."""

    COUNTS = np.array([[50, 0, 0], [100, 0, 0], [50, 50, 0]])

    def score(self, counts=COUNTS, **settings):
        counts = np.asarray(counts)
        scoring = Scoring(also=("dice", "kappa"), **settings)
        return Scorer.of(scoring, ("confusion",), "abc", counts[..., 1, :]).score(
            {"confusion": counts}
        )

    def test_by_default_what_is_predicted_but_absent_is_zero(self):
        assert self.score()["miou"] == pytest.approx((0.5 + 0) / 2)

    def test_absent_classes_count_zero_or_are_left_out(self):
        assert self.score(absent="zero")["miou"] == pytest.approx((0.5 + 0 + 0) / 3)
        assert self.score(absent="leave_out")["miou"] == pytest.approx(0.5)
        assert self.score(absent="zero")["mean_acc"] == pytest.approx(0.5 / 3)
        assert self.score(absent="zero")["dice"] == pytest.approx((100 / 150) / 3)

    def test_an_excluded_class_is_in_no_mean_and_its_pixels_count_as_ever(self):
        counts = [[90, 5, 0], [100, 10, 0], [95, 15, 0]]
        assert self.score(counts, exclude_classes=("a",))["miou"] == pytest.approx(5 / 20)
        plain, without = self.score(counts), self.score(counts, exclude_classes=("a",))
        assert without["fw_iou"] == pytest.approx(5 / 20)  # of weights that add up to one
        for name in ("pixel_acc", "kappa"):
            assert without[name] == plain[name]

    def test_a_class_that_a_resample_lacks_is_not_absent(self):
        whole = np.array([[50, 10, 0], [100, 10, 0], [100, 10, 0]])
        scorer = Scorer.of(Scoring(absent="zero"), ("confusion",), "abc", whole[1])
        without_b = {"confusion": whole * [1, 0, 0]}
        assert scorer.score(without_b)["miou"] == pytest.approx((50 / 150 + 0) / 2)  # c alone is

    def test_nor_is_one_left_out_that_an_image_lacks_though_it_is_predicted(self):
        """The second image lacks b and predicts it; c, which is predicted too, no label names."""
        images = np.array(
            [[[8, 10, 0], [10, 10, 0], [8, 10, 2]], [[15, 0, 0], [20, 0, 0], [15, 3, 2]]]
        )
        scoring = Scoring(absent="leave_out", also=("image_miou",))
        scorer = Scorer.of(scoring, ("confusion",), "abc", images[:, 1].sum(0))
        own = scorer.of_images({"confusion": images})["image_miou"][:, 0, 0]
        assert own / 2**36 == pytest.approx([(8 / 10 + 1) / 2, (15 / 20 + 0) / 2])
        twice = {"confusion": 2 * images[1], "image_miou": np.array([[1], [1]])}
        assert scorer.score(twice)["miou"] == pytest.approx((15 / 20 + 0) / 2)

    def test_a_mean_over_images_scores_each_by_itself(self):
        images = np.array([[[9, 0], [9, 1], [10, 0]], [[0, 900], [100, 900], [0, 1000]]])
        scorer = Scorer.of(
            Scoring(also=("image_pixel_acc", "image_miou")),
            ("confusion",),
            "ab",
            images[:, 1].sum(0),
        )
        parts = {"confusion": images.sum(0)}
        parts |= {n: own.sum(0) for n, own in scorer.of_images({"confusion": images}).items()}
        scores = scorer.score(parts)
        assert scores["pixel_acc"] == pytest.approx(909 / 1010)
        assert scores["image_pixel_acc"] == pytest.approx((0.9 + 0.9) / 2)
        assert scores["image_miou"] == pytest.approx((0.9 / 2 + 0.9 / 2) / 2, abs=1e-10)

    def test_an_image_without_a_score_is_none_of_its_mean(self):
        images = np.array([[[9, 0], [9, 1], [10, 0]], np.zeros((3, 2))]).astype(int)
        scorer = Scorer.of(Scoring(also=("image_miou",)), ("confusion",), "ab", images[:, 1].sum(0))
        total, number = scorer.of_images({"confusion": images})["image_miou"].sum(0)
        assert number == 1
        assert total / 2**36 == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"primary": "mIuo"}, "did you mean 'miou'"),
        ({"also": ["dise"]}, "did you mean 'dice'"),
        ({"also": ["image_dise"]}, "did you mean 'image_dice'"),
        ({"primary": "F1"}, "did you mean 'dice'"),
        ({"primary": "image_f1"}, "did you mean 'image_dice'"),
        ({"also": ["mean_IoU"]}, "did you mean 'miou'"),
        ({"absent": "drop"}, "leave_out"),
        ({"primary": "ece"}, "more is better"),
        ({"primary": "image_surface_distance"}, "more is better"),
        ({"exclude": ["sky"]}, "exclude"),
    ],
)
def test_bad_scoring_is_refused_with_the_nearest_name(settings, told):
    with pytest.raises(ValueError, match=told):
        Scoring.model_validate(settings)


def test_excluded_classes_have_to_be_of_the_data():
    with pytest.raises(InputError, match="did you mean 'sky'"):
        Scoring(exclude_classes=("skyy",)).require_classes(("sky", "road"), "q")
    with pytest.raises(InputError, match="names every class"):
        Scoring(exclude_classes=("sky",)).require_classes(("sky",), "q")


def test_a_taken_name_is_refused_and_an_unknown_one_named():
    with pytest.raises(ValueError, match="registered already"):
        METRICS.register("miou")(per_class("mine", "mine")(divide))
    with pytest.raises(InputError, match="did you mean 'kappa'"):
        find_metric("kapa")
    assert {row["name"] for row in list_metrics()} == set(METRICS)
    assert set(ALSO_CALLED.values()) < set(METRICS)
    assert not set(ALSO_CALLED) & set(METRICS)


def test_a_score_of_ones_own_has_a_mean_over_images_too(own_parts):
    METRICS.register("f2")(
        per_class("mean F2", "F2")(lambda hit, real, pred: divide(5 * hit, 4 * real + pred))
    )
    assert find_metric("image_f2").label == "mean F2 by image"
    counts = np.array([[30, 5], [40, 10], [35, 15]])
    scorer = Scorer.of(Scoring(primary="f2"), ("confusion",), "ab", counts[1])
    scores = scorer.score({"confusion": counts})
    assert scores["f2"] == pytest.approx((150 / 195 + 25 / 55) / 2)


def test_what_is_no_fraction_decides_nothing(own_parts):
    METRICS.register("pixels")(
        pooled("pixels", unit="px", limits=(0.0, np.inf))(lambda hit, real, pred: hit.sum(-1))
    )
    with pytest.raises(ValueError, match="is a fraction of which more is better, which pixels is"):
        Scoring(primary="pixels")
    assert Scoring(also=("pixels",)).primary == "miou"


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda hit, real, pred: 1 / 0, "'mean F2' failed: ZeroDivisionError"),
        (lambda hit, real: hit, "'mean F2' failed: TypeError"),
        (lambda hit, real, pred: hit.sum(), "one number for each class, (2, 3)"),
    ],
)
def test_a_score_of_ones_own_that_fails_says_so(function, told):
    with pytest.raises(InputError) as failed:
        score_rows(per_class("mean F2", "F2")(function), split_rows(np.ones((2, 3, 3))))
    assert told in str(failed.value)
