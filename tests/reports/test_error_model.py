"""The one model of error: known otherwise by paired t, a two-way table by hand, least squares."""

import numpy as np
import pytest
from scipy import sparse, special, stats

from reports.stats.family import judge_family
from reports.stats.model import Contrasts, Model, Scores, t_quantile


def pairs(num_variants):
    """Every variant less each one before it."""
    i, j = np.triu_indices(num_variants, 1)
    rows = np.arange(len(i))
    weights = np.zeros((len(i), num_variants))
    weights[rows, j], weights[rows, i] = 1, -1
    return sparse.csr_array(weights)


def scores(points, *, moves=None, num_units=10):
    """Scores whose images, resampled, change nothing, or what `moves` (R, V) says."""
    moves = np.zeros((4, len(points))) if moves is None else moves
    return Scores(points, points + moves[:, :, None], num_units)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("num_seeds", [2, 3, 5, 9])
def test_two_variants_without_a_part_of_images_are_a_paired_t_test(rng, num_seeds):
    points = rng.normal(size=(2, num_seeds))
    judged = Model(scores(points)).judge(pairs(2))
    expected = stats.ttest_rel(points[1], points[0])
    interval = expected.confidence_interval(0.95)
    assert judged.estimate == pytest.approx([(points[1] - points[0]).mean()])
    assert judged.freedom == pytest.approx([expected.df])
    assert judged.reach == pytest.approx([(interval.high - interval.low) / 2], rel=1e-7)


def test_the_residual_is_that_of_a_two_way_table(rng):
    points = rng.normal(size=(4, 3))
    model = Model(scores(points))
    left = points - points.mean(1, keepdims=True) - points.mean(0) + points.mean()
    assert model.freedom == 6
    assert model.variances == pytest.approx([(left**2).sum() / 6])


def test_missing_runs_are_left_to_least_squares(rng):
    points = rng.normal(size=(5, 4))
    points[0, 1] = points[2, 3] = points[4, 0] = np.nan
    variant, seed = np.nonzero(~np.isnan(points))
    design = np.zeros((len(variant), 9))
    design[np.arange(len(variant)), variant] = 1
    design[np.arange(len(variant)), 5 + seed] = 1
    known = points[variant, seed]
    fitted, _, rank, _ = np.linalg.lstsq(design, known, rcond=None)
    model = Model(scores(points))
    assert model.freedom == len(known) - rank
    variance = ((known - design @ fitted) ** 2).sum() / model.freedom
    assert model.variances == pytest.approx([variance])
    weights = np.hstack([pairs(5).toarray(), np.zeros((10, 4))])
    own = Contrasts(model, pairs(5))
    assert own.judge(points).estimate == pytest.approx(weights @ fitted)
    inverse = np.linalg.pinv(design.T @ design)
    of_runs = weights @ inverse @ design.T  # the weight of each run in each contrast
    assert own._leverage[:, 0] == pytest.approx((of_runs**2).sum(1))
    expected = variance * np.einsum("mi,ij,mj->m", weights, inverse, weights)
    error = own.judge(points).error
    assert (error >= np.sqrt(expected) - 1e-12).all()  # the larger of pooled and own
    assert error.min() == pytest.approx(np.sqrt(expected[error.argmin()]))


def test_of_pooled_and_own_variance_the_larger_counts(rng):
    points = 0.01 * rng.normal(size=(6, 4))
    points[5] += [9, -9, 9, -9]  # one variant that seeds throw about
    own = stats.sem(points[5] - points[0])
    pooled = np.sqrt(2 * Model(scores(points)).variances[0] / 4)
    judged = Model(scores(points)).judge(pairs(6))
    assert own > pooled
    assert judged.error[4] == pytest.approx(own)
    assert judged.error[0] == pytest.approx(pooled)


def test_seeds_and_images_add_up_as_variances_with_satterthwaites_freedom(rng):
    points, moves = rng.normal(size=(3, 5)), rng.normal(size=(300, 3))
    moves -= moves.mean(0)
    judged = Model(scores(points, moves=moves, num_units=50)).judge(pairs(3))
    without = Model(scores(points)).judge(pairs(3))
    of_images = (moves @ pairs(3).toarray().T).var(axis=0, ddof=1) * 50 / 49
    assert judged.error**2 == pytest.approx(without.error**2 + of_images)
    parts = without.error**4 / 8 + of_images**2 / 49
    assert judged.freedom == pytest.approx(judged.error**4 / parts)
    assert judged.reach == pytest.approx(stats.t.ppf(0.975, judged.freedom) * judged.error)


def test_with_few_seeds_each_part_has_its_own_t(rng):
    points, moves = rng.normal(size=(2, 3)), rng.normal(size=(300, 2))
    moves -= moves.mean(0)
    judged = Model(scores(points, moves=moves, num_units=50)).judge(pairs(2))
    of_seeds = Model(scores(points)).judge(pairs(2)).reach
    of_images = stats.t.ppf(0.975, 49) * np.sqrt((moves[:, 1] - moves[:, 0]).var(ddof=1) * 50 / 49)
    assert judged.reach == pytest.approx(np.hypot(of_seeds, of_images), rel=1e-6)


def test_groups_have_spreads_of_their_own(rng):
    points = rng.normal(size=(8, 5)) * np.repeat([0.1, 10], 4)[:, None]
    one, two = Model(scores(points)), Model(scores(points), np.repeat([0, 1], 4))
    assert two.freedoms == pytest.approx([16, 16])
    own = [points[part].var(axis=1, ddof=1).mean() for part in (slice(4), slice(4, 8))]
    assert two.variances == pytest.approx(own)
    near, far = (model.judge(pairs(8)).reach[0] for model in (two, one))
    assert near < far / 20


def test_quantiles_are_scipys():
    freedom = np.array([0.3, 0.92, 1, 1.5, 2, 2.7, 4, 22, 99, 1e6, np.inf])
    assert t_quantile(freedom) == pytest.approx(special.stdtrit(freedom, 0.975), rel=1e-7)


def test_of_many_seeds_the_critical_value_is_tukeys(rng):
    """Own variances then equal the pooled one, and the pairs are those of a studentized range."""
    points = rng.normal(size=(6, 300))
    verdicts = judge_family(Model(scores(points)), pairs(6), "x")
    freedom = 5 * 299
    tukey = stats.studentized_range.ppf(0.95, 6, freedom) / np.sqrt(2)
    assert verdicts.critical * t_quantile(freedom) == pytest.approx(tukey, rel=0.04)


def test_one_contrast_alone_has_its_own_interval_and_p(rng):
    points = rng.normal(size=(2, 6)) + np.array([[0], [1.5]])
    verdicts = judge_family(Model(scores(points)), pairs(2), "x")
    assert verdicts.critical == pytest.approx(1, abs=0.06)
    assert verdicts.p == pytest.approx(stats.ttest_rel(points[0], points[1]).pvalue, abs=0.02)


def test_interval_and_p_are_one_decision(rng):
    points = rng.normal(size=(9, 3)) + np.linspace(0, 9, 9)[:, None]
    verdicts = judge_family(Model(scores(points)), pairs(9), "x")
    apart = (verdicts.judged.reach * verdicts.critical) < abs(verdicts.judged.estimate)
    assert 0 < apart.sum() < 36
    assert ((verdicts.p <= 0.05) == apart).mean() == 1
    assert verdicts.p.min() >= 1 / (1 + verdicts.num_draws)


def test_draws_depend_on_the_key_alone(rng):
    model = Model(scores(rng.normal(size=(4, 3))))
    one, same, other = (judge_family(model, pairs(4), key).critical for key in "aab")
    assert one == same != other


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_where_nothing_differs_little_is_found_and_intervals_cover(num_seeds):
    """200 grids of 6 variants: about 5 % of families with a finding, 95 % of intervals cover."""
    rng = np.random.default_rng(num_seeds)
    found, covered = 0, 0.0
    for _ in range(200):
        moves = rng.normal(size=(200, 6)) * 0.3
        points = rng.normal(size=(6, num_seeds)) + rng.normal(size=(1, num_seeds))
        points += rng.normal(size=(6, 1)) * 0.3  # what images do, at the spread of `moves`
        verdicts = judge_family(Model(scores(points, moves=moves, num_units=100)), pairs(6), "x")
        judged = verdicts.judged
        found += bool((abs(judged.estimate) > verdicts.critical * judged.reach).any())
        covered += float((abs(judged.estimate) <= judged.reach).mean()) / 200
    assert found / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    assert 0.93 <= covered <= 0.985
