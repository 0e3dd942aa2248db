"""Ranks over data sets: the numbers of Demšar's paper, scipy's test, and all orders one by one."""

import itertools
import math

import numpy as np
import pytest
from drawn import draw
from scipy import stats

from bench.store.runs import Store
from reports.results.frame import read_records
from reports.stats import across
from reports.stats.across import (
    RankTest,
    draw_means,
    find_critical_difference,
    find_intervals,
    judge_ranks,
    rank_scores,
)
from reports.stats.contrasts import find_contrasts
from reports.stats.effects import pair
from reports.stats.intervals import find_intervals as measure

# Demšar, 2006, table 6: AUC of C4.5 and three changes of it on 14 data sets. 0.975 stands there
# twice in the row of voting, with ranks 2 and 3: the paper ranked more digits than it prints.
PAPER = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def test_the_example_of_the_paper():
    """Its mean ranks, Friedman statistic and critical difference, as printed there."""
    found = judge_ranks(PAPER)
    assert found.mean_ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.statistic == pytest.approx(9.28, abs=0.01)
    assert found.critical == pytest.approx(1.25, abs=0.005)
    # The paper's F of 3.69 is beyond 2.85, that of 5 % for 3 and 39 degrees of freedom.
    assert found.p < 0.05
    # "the post-hoc test is not powerful enough": 3.143 - 1.964 is below the critical difference.
    assert found.list_groups() == [[3, 1, 2, 0]]


def test_critical_values_are_those_of_the_papers_table():
    published = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for V, quantile in enumerate(published, 2):
        found = find_critical_difference(V, 7) / math.sqrt(V * (V + 1) / (6 * 7))
        assert found == pytest.approx(quantile, abs=1e-3)


def test_the_statistic_is_scipys_where_nothing_is_tied():
    scores = np.random.default_rng(0).random((9, 5))
    found, known = judge_ranks(scores), stats.friedmanchisquare(*scores.T)
    assert found.statistic == pytest.approx(known.statistic)
    assert found.p == pytest.approx(known.pvalue, abs=0.03)  # scipy's is that of many data sets


@pytest.mark.parametrize("seed", range(3))
def test_p_is_the_share_of_all_orders(seed):
    scores = np.random.default_rng(seed).random((3, 3)) + np.array([0.3, 0, 0])
    ranks = rank_scores(scores)
    sums = [
        (np.sum(rows, axis=0) ** 2).sum()
        for rows in itertools.product(*(list(itertools.permutations(row)) for row in ranks))
    ]
    exact = np.mean(np.array(sums) >= (ranks.sum(0) ** 2).sum() - 1e-9)
    assert judge_ranks(scores).p == pytest.approx(exact, abs=0.01)


def test_ranks_begin_with_the_highest_and_are_shared_where_scores_are():
    assert rank_scores(np.array([0.2, 0.9, 0.9, 0.1])).tolist() == [3, 1.5, 1.5, 4]


def test_groups_are_all_whose_ends_are_within_the_critical_difference():
    rng = np.random.default_rng(1)
    for _ in range(20):
        ranks = np.round(rng.uniform(1, 8, 8), 2)
        test = RankTest(ranks, 30, 50.0, 0.001, 1.5)
        order = np.argsort(ranks, kind="stable").tolist()
        runs = [order[i:j] for i in range(8) for j in range(i + 2, 9)]
        within = [run for run in runs if ranks[run[-1]] - ranks[run[0]] < 1.5]
        whole = [a for a in within if not any(set(a) < set(b) for b in within)]
        assert test.list_groups() == whole


@pytest.mark.parametrize(
    ("variants", "sets", "said"),
    [
        (2, 5, "would come by chance in 6 %"),
        (3, 2, "would come by chance in 17 %"),
        (4, 2, "mean ranks would have to be 3.3 apart, and 3 is the most"),
        (20, 2, "19 is the most that 20 variants can be"),
        (200, 2, "199 is the most"),
        (2, 6, ""),
        (3, 3, ""),
        (20, 3, ""),
    ],
)
def test_too_few_data_sets_show_nothing_and_why(variants, sets, said):
    scores = np.tile(np.arange(variants), (sets, 1))  # the same order everywhere
    found = judge_ranks(scores)
    assert said in found.why_not
    assert bool(found.why_not) == bool(said)
    assert found.is_shown == (not said)
    if said:
        assert found.list_groups() == [list(range(variants))[::-1]]


def test_where_no_variant_is_better_ranks_are_shown_to_differ_in_5_percent(monkeypatch):
    monkeypatch.setattr(across, "NUM_PERMUTATIONS", 499)
    rng = np.random.default_rng(0)
    shown = [judge_ranks(rng.random((4, 4))).is_shown for _ in range(300)]
    assert np.mean(shown) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)
    assert np.mean(shown) > 0.01


def read_arms(folder, qualities, **settings):
    store = Store(folder)
    plan = draw(store, qualities, **settings)
    return measure(read_records(plan, store), store, all_pairs=False).arms


def test_draws_spread_as_the_models_error_says(tmp_path):
    """Two routes to one spread: the draws of means, and the error of their contrast."""
    arms = read_arms(tmp_path, {"a": 0.7, "b": 0.72, "c": 0.74, "d": 0.8}, seeds=range(6))
    draws = draw_means(arms, 0, "miou")
    found = find_contrasts(arms).compare("a", "b")
    apart = draws[:, 1] - draws[:, 0]
    assert apart.mean() == pytest.approx(found.diff, abs=found.error / 10)
    assert apart.std() == pytest.approx(found.error, rel=0.15)


def test_ranks_are_sure_where_scores_are_far_apart_and_open_where_they_are_not(tmp_path):
    arms = read_arms(tmp_path, {"low": 0.5, "one": 0.7, "other": 0.7})
    means = np.array([arm.points[:, arm.scores.index("miou")].mean() for arm in arms.values()])
    ranks = rank_scores(means)
    low, high = find_intervals(rank_scores(draw_means(arms, 0, "miou")), ranks)
    assert (low[0], high[0]) == (3, 3)
    assert low[1:].tolist() == [1, 1]
    assert high[1:].tolist() == [2, 2]


def test_one_seed_leaves_images_alone_to_be_drawn(tmp_path):
    arms = read_arms(tmp_path, {"a": 0.7, "b": 0.8}, seeds=(0,))
    draws = draw_means(arms, 0, "miou")
    found = find_contrasts(arms, [pair("a", "b")]).compare("a", "b")
    assert (draws[:, 1] - draws[:, 0]).std() == pytest.approx(found.error, rel=0.1)


def test_each_data_set_is_drawn_by_itself_and_alike_every_time(tmp_path):
    arms = read_arms(tmp_path, {"a": 0.7, "b": 0.8})
    assert np.array_equal(draw_means(arms, 0, "miou"), draw_means(arms, 0, "miou"))
    assert not np.array_equal(draw_means(arms, 0, "miou"), draw_means(arms, 1, "miou"))
