"""Tests of differences against scipy, and against a loop over every assignment."""

import itertools
import math

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


@pytest.mark.parametrize("t", [0.3, 1.96, 6.0, 40.0])
def test_p_of_students_t_has_a_closed_form_for_few_degrees_of_freedom(t):
    angle = math.atan(t / math.sqrt(3))
    expected = [
        1 - 2 / math.pi * math.atan(t),
        1 - t / math.sqrt(2 + t**2),
        1 - 2 / math.pi * (angle + math.sin(angle) * math.cos(angle)),
    ]
    p = student_p(np.full(3, -0.1 * t), np.full(3, 0.1), np.array([1.0, 2.0, 3.0]))
    assert p == pytest.approx(expected, abs=1e-12)


def test_quantiles_are_those_of_the_tables_and_never_of_less_than_one_degree_of_freedom():
    freedom = np.array([0.5, 1.0, 2.0, 5.0, 30.0, 1e9, np.nan])
    one, two = math.tan(0.95 * math.pi / 2), 0.95 * math.sqrt(2 / (1 - 0.95**2))
    tables = [one, one, two, 2.5705818356, 2.0422724563, 1.9599639845, np.nan]
    assert student_quantile(freedom, 0.95) == pytest.approx(tables, abs=1e-8, nan_ok=True)
    assert student_quantile(freedom, 0.95)[:3] == pytest.approx([one, one, two], abs=1e-12)


@pytest.mark.parametrize("freedom", [1.4, 7.5, 250.0, 1e5])
def test_p_of_a_quantile_is_what_it_leaves(freedom):
    reach = student_quantile(np.array([freedom]), 0.95)
    p = student_p(reach, np.ones(1), np.array([freedom]))
    assert p == pytest.approx(0.05, abs=1e-12)


def test_no_change_is_never_significant():
    means, errors = np.array([0.0, 0.1, np.nan, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0, np.nan])
    p = student_p(means, errors, np.full(5, 5.0))
    assert p == pytest.approx([1, 0, np.nan, 1, np.nan], abs=0, nan_ok=True)
