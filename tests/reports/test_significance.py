"""Tests of differences against scipy, and against a loop over every assignment."""

import itertools

import numpy as np
import pytest
from scipy import stats

from reports.results.counts import score_flat
from reports.stats.significance import draw_swaps, holm, student_p, student_quantile, swap_p_value

C = 3


def draw_arms(seed, num_images, num_seeds=1, gap=0.0):
    """Two arms (S, N, 3 C) over the same targets; `after` hits more by `gap`."""
    rng = np.random.default_rng(seed)
    target = rng.integers(20, 200, (num_images, C))
    arms = []
    for better in (gap, 0.0):
        rate = rng.normal(0.6 + better, 0.1, (num_seeds, num_images, C)).clip(0, 1)
        hit = (target * rate).astype(int)
        pred = hit + np.roll(target - hit, 1, axis=2)
        both = np.stack([hit, np.broadcast_to(target, hit.shape), pred], axis=2)
        arms.append(both.reshape(num_seeds, num_images, 3 * C))
    return arms


def score(counts):
    return score_flat(counts, C)[0]


def miou_gap(after, before):
    return (score(after.sum(1)) - score(before.sum(1))).mean(0)


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_few_images_are_tested_exactly(num_seeds):
    after, before = draw_arms(0, 6, num_seeds, gap=0.05)
    swaps = draw_swaps(6, 100, "x")
    assert len(swaps) == 64
    observed, reached = miou_gap(after, before), []
    for sides in itertools.product([False, True], repeat=6):
        side = np.array(sides)[None, :, None]
        changed = miou_gap(np.where(side, before, after), np.where(side, after, before))
        reached.append(np.abs(changed) >= np.abs(observed) - 1e-12)
    assert swap_p_value(after, before, swaps, score) == pytest.approx(np.mean(reached, axis=0))


def test_p_equals_scipys_permutation_test():
    after, before = draw_arms(1, 9, gap=0.03)

    def statistic(x, y, axis=-1):
        pick = [np.where(arm[..., None] == 1, after[0], before[0]) for arm in (x, y)]
        return score(pick[0].sum(-2))[..., 2] - score(pick[1].sum(-2))[..., 2]

    theirs = stats.permutation_test(
        (np.ones(9), np.zeros(9)), statistic, permutation_type="samples", vectorized=True,
        n_resamples=np.inf,
    )  # fmt: skip
    ours = swap_p_value(after, before, draw_swaps(9, 2000, "x"), score)[2]
    assert ours == pytest.approx(theirs.pvalue)


def test_drawn_permutations_come_near_all_of_them():
    after, before = draw_arms(2, 12, gap=0.03)
    exact = swap_p_value(after, before, draw_swaps(12, 4096, "x"), score)
    drawn = swap_p_value(after, before, draw_swaps(12, 2000, "x"), score)
    assert drawn == pytest.approx(exact, abs=0.03)
    assert (drawn >= 1 / 2001).all()


def test_equal_arms_differ_by_chance_and_a_large_gap_does_not():
    after, before = draw_arms(3, 80, gap=0.1)
    swaps = draw_swaps(80, 500, "x")
    assert (swap_p_value(before, before, swaps, score) == 1).all()
    assert (swap_p_value(after, before, swaps, score) == 1 / 501).all()


def test_false_alarms_are_as_rare_as_they_should_be():
    swaps = draw_swaps(30, 99, "x")
    p = [swap_p_value(*draw_arms(100 + i, 30), swaps, score)[2] for i in range(300)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.085
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.5: times 4, 3, 2, 1, never falling; NaN is no test.
    adjusted = holm([0.02, np.nan, 0.01, 0.5, 0.03])
    assert adjusted == pytest.approx([0.06, np.nan, 0.04, 0.5, 0.06], nan_ok=True)
    assert holm([0.7, 0.9]).tolist() == [1.0, 1.0]
    assert len(holm([])) == 0


@pytest.mark.parametrize("freedom", [1, 1.4, 2, 3, 7.5, 60, 250, 1e5])
def test_students_t_is_scipys(freedom):
    freedoms = np.array([float(freedom)])
    quantile = student_quantile(freedoms, 0.95)[0]
    assert quantile == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)
    for t in (0.3, 1.96, 2.5, 6.0):
        p = student_p(np.array([-t]), np.array([1.0]), freedoms)[0]
        assert p == pytest.approx(2 * stats.t.sf(t, freedom), abs=1e-4)


def test_no_change_is_never_significant():
    p = student_p(np.array([0.0, 0.1, np.nan]), np.zeros(3), np.full(3, 5.0))
    assert p[0] == 1
    assert p[1] == 0
    assert np.isnan(p[2])
