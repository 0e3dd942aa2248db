"""Arms: variants that are scored together have the numbers that each has alone."""

import numpy as np
import pytest

from bench.scoring import Scoring
from reports.results.counts import Counts
from reports.stats import pairs
from reports.stats.pairs import measure_arm, measure_arms
from reports.stats.units import Resamples

C, N = 4, 15


def make_variants():
    """Variants of two or three seeds on two sets of images; class d is rare, and nowhere in set 1.

    Of variant v1 it is predicted all the same, so that its mean is over other classes.
    """
    for v in range(9):
        rng = np.random.default_rng(v)
        target = np.random.default_rng(v % 2).integers(500, 900, (N, C))
        target[:, 3] = 0
        if v % 2 == 0:
            target[0, 3] = 40
        counts = {}
        for seed in (0, 1, 2)[: 2 + v % 3 // 2]:
            hit = (target * rng.uniform(0.4, 0.9, (N, C))).astype(int)
            pred = hit + (target - hit)[:, [1, 2, 0, 3]]
            pred[3, 3] += v == 1
            values = np.concatenate([hit, target, pred], axis=1).astype(np.int32)
            names = tuple(f"{k:02}" for k in range(N))
            counts[seed] = Counts.of(values, class_names=tuple("abcd"), groups=(), names=names)
        yield f"v{v}", counts


@pytest.mark.parametrize("at_once", [1, 5000, 2**19])
def test_variants_scored_together_have_the_bits_that_each_has_alone(at_once, monkeypatch):
    monkeypatch.setattr(pairs, "MEASURED_AT_ONCE", at_once)
    together = measure_arms(make_variants(), Resamples(60), ["a", "d"])
    assert list(together) == [f"v{v}" for v in range(9)]
    for variant, counts in make_variants():
        arm, classes = measure_arm(variant, counts, Resamples(60), ["a", "d"])
        other, other_classes = together[variant]
        assert classes.equals(other_classes)
        assert arm.bounds.equals(other.bounds)
        for name in ("points", "draws"):
            assert np.array_equal(getattr(arm, name), getattr(other, name), equal_nan=True)
        for name in ("seeds", "scores", "counted", "collapsed", "images", "num_units"):
            assert getattr(arm, name) == getattr(other, name)
    # Not vacuous: two sets of images, both numbers of seeds, and arms with and without a class.
    arms = [one.arm for one in together.values()]
    assert len({arm.images for arm in arms}) == 2
    assert {len(arm.seeds) for arm in arms} == {2, 3}
    assert {"IoU[d]" in arm.scores for arm in arms} == {True, False}


def test_means_over_images_are_scored_together_too():
    scoring = Scoring(also=("image_miou", "dice"))
    together = measure_arms(make_variants(), Resamples(60), scoring=scoring)
    for variant, counts in make_variants():
        arm, _ = measure_arm(variant, counts, Resamples(60), scoring=scoring)
        assert "image_miou" in arm.scores
        assert np.array_equal(arm.draws, together[variant].arm.draws, equal_nan=True)
