"""What a page may claim: one family of contrasts, three words, none of them from one seed."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.stats.contrasts import _reconcile, find_contrasts
from reports.stats.designs import describe_design, find_smallest
from reports.stats.effects import less, mean_effect
from reports.stats.family import NUM_DRAWS
from reports.stats.finding import EQUIVALENT, NOT_SHOWN, SHOWN, Finding
from reports.stats.outliers import find_outliers, leave_out
from reports.stats.pairs import Arm
from reports.stats.summary import find_best, list_tied

SCORES = ("pixel_acc", "mean_acc", "miou", "fw_iou")


def make_arm(points, *, moves=0.0, images="same", classes=(0, 1), num_images=50, collapsed=()):
    """An arm whose four scores are alike; `points` by seed, None where there is no run."""
    seeds = tuple(seed for seed, point in enumerate(points) if point is not None)
    known = np.array([point for point in points if point is not None], dtype=float)
    table = np.repeat(known[:, None], len(SCORES), axis=1)
    shifts = moves * np.random.default_rng(0).normal(size=(200, 1, 1))
    counted = {"miou": frozenset({classes})}
    return Arm(
        images, num_images, num_images, ("a", "b"), counted, seeds, SCORES, table,
        table[None] + shifts, collapsed, pd.DataFrame(),
    )  # fmt: skip


@pytest.fixture
def arms():
    """Three variants of which one is better, one hardly, with spreads that seeds give."""
    return {
        "base": make_arm([0.500, 0.502, 0.499]),
        "near": make_arm([0.501, 0.500, 0.503]),
        "best": make_arm([0.600, 0.603, 0.601]),
    }


def test_a_finding_is_the_difference_of_the_means_with_one_decision(arms):
    findings = find_contrasts(arms)
    assert findings.num_contrasts == 3
    found = findings.compare("base", "best")
    assert found.diff == pytest.approx(np.mean([0.6, 0.603, 0.601]) - np.mean([0.5, 0.502, 0.499]))
    assert (found.word, findings.compare("base", "near").word) == (SHOWN, NOT_SHOWN)
    for one in findings.found.values():
        assert (one.word == SHOWN) == (one.low > 0 or one.high < 0) == (one.p <= 0.05)


def test_turned_round_all_changes_sides(arms):
    findings = find_contrasts(arms)
    there, back = findings.compare("base", "best"), findings.compare("best", "base")
    assert (back.diff, back.low, back.high) == (-there.diff, -there.high, -there.low)
    assert (back.own_low, back.own_high) == (-there.own_high, -there.own_low)
    assert (back.word, back.p, back.num_seeds) == (there.word, there.p, 3)


def test_the_order_of_variants_changes_nothing(arms):
    turned = dict(reversed(arms.items()))
    one, other = (find_contrasts(a).compare("base", "best") for a in (arms, turned))
    assert one.diff == pytest.approx(other.diff)
    assert one.error == pytest.approx(other.error)
    assert one.word == other.word


def test_one_seed_gives_no_word_and_an_interval_over_images(arms):
    arms["once"] = make_arm([0.9, None, None], moves=0.01)
    findings = find_contrasts(arms)
    found = findings.compare("base", "once")
    assert (found.word, found.num_seeds) == ("", 1)
    assert np.isnan(found.p)
    assert found.low < found.diff < found.high
    means = pd.Series({name: arm.points.mean() for name, arm in arms.items()})
    assert find_best(means, findings) is None  # the highest has one seed
    assert list_tied(means, findings) == []
    assert find_best(means.drop("once"), findings) == "best"


def test_variants_within_the_margin_are_equivalent(arms):
    found = find_contrasts(arms, margin=0.02).compare("base", "near")
    assert found.word == EQUIVALENT
    assert max(abs(found.low), abs(found.high)) <= 0.02
    assert find_contrasts(arms, margin=0.001).compare("base", "near").word == NOT_SHOWN
    assert find_contrasts(arms, margin=0.02).compare("base", "best").word == SHOWN


def test_copies_of_one_run_are_no_finding():
    """Nothing spreads, so nothing is known of the error."""
    arms = {"a": make_arm([0.5, 0.5]), "b": make_arm([0.6, 0.6])}
    assert find_contrasts(arms).compare("a", "b").word == NOT_SHOWN


def test_a_missing_seed_is_adjusted_for_and_that_is_said():
    """Seed 2 is a good one for all; who lacks it is not worse for that."""
    arms = {
        "a": make_arm([0.50, 0.51, 0.58]),
        "b": make_arm([0.51, 0.50, 0.59]),
        "c": make_arm([0.50, 0.51, None]),
    }
    found = find_contrasts(arms).compare("a", "c")
    assert found.is_adjusted
    assert abs(found.diff) < 0.01 < 0.53 - 0.505
    assert not find_contrasts(arms).compare("a", "b").is_adjusted


def test_what_cannot_be_compared_has_no_finding(arms):
    arms |= {
        "elsewhere": make_arm([0.5, 0.6, 0.7], images="other"),
        "fewer": make_arm([0.5, 0.6, 0.7], classes=(0,)),
    }
    findings = find_contrasts(arms)
    assert findings.compare("base", "elsewhere") is None
    assert findings.compare("base", "fewer") is None
    assert findings.compare("base", "fewer", "pixel_acc").word == ""
    assert findings.num_contrasts == 3


def test_unequal_spreads_are_said_and_not_pooled():
    """Ten variants whose seeds agree, and two that seeds throw about."""
    rng = np.random.default_rng(4)
    spreads = [0.001] * 10 + [0.08] * 2
    arms = {f"v{k}": make_arm(rng.normal(0.5, s, 6)) for k, s in enumerate(spreads)}
    findings = find_contrasts(arms)
    assert "Seeds move some variants more than others" in findings.notes[0]
    calm, wild = findings.compare("v0", "v1"), findings.compare("v0", "v11")
    assert calm.error < wild.error / 10
    levels = {"steps": {f"v{k}": "short" if k >= 10 else "long" for k in range(12)}}
    grouped = find_contrasts(arms, levels=levels).compare("v0", "v1")
    assert grouped.freedom > calm.freedom  # a group's variants lend each other theirs


def test_effects_beyond_pairs_share_the_same_five_percent(arms):
    effect = {"best": 1.0, "base": -0.5, "near": -0.5}
    findings = find_contrasts(arms, [effect])
    assert findings.num_contrasts == 4
    found = findings.effect(effect)
    means = {name: arm.points[:, 2].mean() for name, arm in arms.items()}
    assert found.diff == pytest.approx(means["best"] - (means["base"] + means["near"]) / 2)
    assert found.word == SHOWN


def test_a_difference_of_the_size_that_is_named_is_shown_four_times_in_five():
    """Drawn many times: two variants, no part of images, that differ by just so much."""
    rng = np.random.default_rng(1)
    spread, num_seeds, shown = 0.01, 5, 0
    twins = {name: make_arm(rng.normal(0.5, spread, 400)) for name in ("a", "b")}
    (one,) = find_contrasts(twins).sets
    variance = float(one.model.variances[0])
    sizes = [find_smallest(variance, 0.0, n - 1.0, 1.0, n) for n in (3, num_seeds, 10)]
    assert sizes == sorted(sizes, reverse=True)
    size = sizes[1]
    for _ in range(150):
        a, b = (rng.normal(mean, spread, num_seeds) for mean in (0.5, 0.5 + size))
        shown += find_contrasts({"a": make_arm(a), "b": make_arm(b)}).compare("a", "b").p <= 0.05
    assert 0.7 < shown / 150 < 0.92


def test_what_a_design_could_show_is_said(arms):
    found = find_contrasts(arms)
    said = describe_design(arms, found)
    assert said.startswith("About how large a difference of mIoU must be to be shown")
    assert re.search(r": [\d.]+ with 1, [\d.]+ with 3, [\d.]+ with 5, [\d.]+ with 10 seeds", said)
    once = {name: make_arm([0.5]) for name in ("a", "b")}
    assert "is unknown" in describe_design(once, find_contrasts(once))
    assert "as in the other" in describe_design(once, found, "the other")
    apart = {name: make_arm([0.5], images="others") for name in ("a", "b")}
    assert "the other has no two seeds" in describe_design(apart, found, "the other")
    assert describe_design({"a": once["a"]}, found) == ""


def test_effects_add_up_where_they_share_a_variant():
    there, on = {"a": -1.0, "b": 1.0}, {"b": -1.0, "c": 1.0}
    assert mean_effect([there, on]) == {"a": -0.5, "b": 0.0, "c": 0.5}
    assert less(there, on) == {"a": -1.0, "b": 2.0, "c": -1.0}


def test_very_many_contrasts_share_five_percent_evenly(arms, monkeypatch):
    drawn = find_contrasts(arms).compare("base", "best")
    monkeypatch.setattr("reports.stats.contrasts.MAX_LISTED", 2)
    effect = {"best": 1.0, "base": -0.5, "near": -0.5}
    findings = find_contrasts(arms, [effect])
    assert findings.num_contrasts == 4
    found = findings.compare("base", "best")
    assert (found.diff, found.own_low) == (drawn.diff, drawn.own_low)
    assert found.low < drawn.low  # longer than those that are drawn together
    p = 2 * stats.t.sf(found.diff / found.error, found.freedom)
    assert found.p == pytest.approx(min(4 * p, 1), rel=1e-6)
    for one in map(findings.compare, ("base", "base", "near"), ("best", "near", "best")):
        assert (one.word == SHOWN) == (one.low > 0 or one.high < 0) == (one.p <= 0.05)
    assert found.word == SHOWN
    assert findings.compare("best", "base").low == -found.high
    assert findings.effect(effect).word == SHOWN
    assert "Bonferroni" in findings.notes[0]


def test_a_difference_that_rests_on_an_outlier_is_not_shown():
    """One of three seeds of a variant is far below: with it nothing is told, without it much is."""
    arms = {
        "base": make_arm([0.500, 0.502, 0.499]),
        "near": make_arm([0.501, 0.500, 0.503]),
        "sick": make_arm([0.600, 0.603, 0.050]),
        "best": make_arm([0.900, 0.903, 0.901]),
    }
    assert find_outliers(arms) == {"sick": {2: "mIoU 5.0 %, under half of its variant's 60.0 %"}}
    findings = find_contrasts(arms)
    found = findings.compare("base", "sick")
    assert found.word == NOT_SHOWN
    assert found.without.word == SHOWN
    assert found.without.diff == pytest.approx((0.600 + 0.603) / 2 - np.mean([0.5, 0.502, 0.499]))
    for one in (found, findings.compare("base", "best"), findings.compare("near", "sick")):
        assert (one.word == SHOWN) == (one.low > 0 or one.high < 0)
        assert one.low <= one.without.low
        assert one.high >= one.without.high
    back = findings.compare("sick", "base")
    assert (back.low, back.high, back.word) == (-found.high, -found.low, found.word)


def test_what_is_shown_by_an_outlier_alone_is_taken_back():
    """Both seeds of one variant fail but for one: without it there is one seed, and no verdict."""
    arms = {
        "base": make_arm([0.5, 0.5001, 0.5002, 0.5003]),
        "near": make_arm([0.5001, 0.5, 0.5003, 0.5002]),
        "odd": make_arm([0.8, 0.3, None, None]),
    }
    outliers = {"odd": {1: "why"}}
    left = leave_out(arms, outliers)
    assert left["odd"].seeds == (0,)
    assert left["odd"].draws.shape == (200, 1, 4)
    assert find_outliers({"odd": make_arm([0.1, 0.2], collapsed=(0, 1))}) == {}  # all of it does
    assert find_outliers({"odd": make_arm([0.1, 0.2], collapsed=(0,))}) == {
        "odd": {0: "collapsed to one class"}
    }
    whole = Finding(0.3, 0.2, 0.4, 0.2, 0.4, 0.01, 5.0, 0.01, SHOWN, 2)
    alone = Finding(0.3, 0.29, 0.31, 0.29, 0.31, 0.01, 5.0, np.nan, "", 1)
    judged = _reconcile(whole, alone)
    assert (judged.low, judged.high, judged.word) == (0.0, 0.4, NOT_SHOWN)
    assert _reconcile(whole, None).word == NOT_SHOWN
    assert _reconcile(whole, whole).word == SHOWN


@pytest.mark.parametrize("stops", [1, 3, 8])
def test_error_is_shared_evenly_over_looks_that_may_end_the_seeds(arms, stops):
    """What is shown has a p of 5 % at most, and of p by one look it is so many times as much."""
    once, looked = find_contrasts(arms), find_contrasts(arms, stops=stops)
    assert looked.critical >= once.critical
    for key, found in looked.found.items():
        assert found.p == pytest.approx(min(stops * once.found[key].p, 1.0))
        assert (found.word == SHOWN) == (found.p <= 0.05 + 2 * stops / NUM_DRAWS)
