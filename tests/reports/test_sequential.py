"""Looks at claims: the error of all of them together, against theory and on drawn grids."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from reports.simulations.looks import (
    POINT,
    Design,
    claim_less,
    draw_arms,
    simulate_design,
    take_looks,
)
from reports.simulations.peers import WORLDS, compare_method, follow_mean, list_methods
from reports.stats.asked import Asked, Question
from reports.stats.claims import HELD, NOT_HELD, UNDECIDED, judge_claims
from reports.stats.model import Contrasts
from reports.stats.sequential import Sequential, _inform, _Side, spend
from reports.stats.sets import list_sets


def test_boundaries_are_those_of_two_correlated_normals():
    """Half of the information at the first look: the second value by the bivariate normal."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal(400_000)
    second = (first + rng.standard_normal(400_000)) / math.sqrt(2)
    side = _Side(400_000)
    one = side.find(first, 0.025)
    side.cross(first, one)
    other = side.find(second, 0.05)
    assert one == pytest.approx(stats.norm.isf(0.025), abs=0.02)
    both = stats.multivariate_normal(cov=[[1, math.sqrt(0.5)], [math.sqrt(0.5), 1]])
    crossed_late = stats.norm.cdf(one) - both.cdf([one, other])
    assert crossed_late == pytest.approx(0.025, abs=0.0008)
    assert other < stats.norm.isf(0.025)  # looks share most of their noise: less than half is lost


def test_nothing_is_decided_where_nothing_may_be_spent():
    side = _Side(100)
    assert side.find(np.arange(100.0), 0.005) == math.inf
    side.cross(np.arange(100.0), math.inf)
    assert side.find(np.arange(100.0), 0.05) == 94.0
    assert side.find(None, 0.05) == math.inf


def test_error_is_spent_in_proportion_and_all_of_it():
    assert [spend(share) for share in (0, 0.5, 1)] == pytest.approx([0, 0.025, 0.05])


@dataclasses.dataclass
class Known:
    of_seeds: float
    of_images: float
    num_seeds: int


def test_information_has_the_part_of_images_in_it():
    """(of_seed / N + of_images) / (of_seed / n + of_images), the least over contrasts."""
    measured = [[Known(6.0 / 3, 1.0, 3)], [Known(6.0 / 3, 0.0, 3)]]
    assert _inform(measured, 3, 12) == pytest.approx(0.25)
    assert _inform(measured[:1], 3, 12) == pytest.approx((0.5 + 1) / (2 + 1))
    assert _inform(measured, 12, 12) == 1
    assert _inform([[]], 3, 12) == pytest.approx(0.25)


def draw(number=0, **settings):
    design = Design("drawn", **{"max_seeds": 6, "gain": 1.0, **settings})
    rng = np.random.default_rng(number)
    return draw_arms(rng, design), list(claim_less(design))


def test_one_look_with_all_seeds_is_the_judgement_of_all_at_once():
    for number in range(3):
        arms, questions = draw(number, max_seeds=3, gain=2.0, ahead=2.0, of_images=0.3)
        taken = Sequential(questions, {}, 3, 20_000).look(arms, {}, 3)
        alone = judge_claims(questions, arms, {})
        assert taken.spent == pytest.approx(0.05)
        for one, other in zip(taken.verdicts, alone, strict=True):
            assert one.low == pytest.approx(other.low, abs=0.1 * one.worst.reach)
            assert one.high == pytest.approx(other.high, abs=0.1 * one.worst.reach)


def test_what_is_decided_stays_so_and_error_is_spent_once():
    arms, questions = draw(gain=8.0, ahead=8.0)
    sequence = Sequential(questions, {}, 6, 4000)
    first = sequence.look({n: cut(a, 3) for n, a in arms.items()}, {}, 3)
    assert [one.word for one in first.verdicts] == [HELD] * 3
    assert [one.look for one in first.verdicts] == [1] * 3
    assert first.is_over
    worse = {n: dataclasses.replace(a, points=a.points[::-1] * 0) for n, a in arms.items()}
    again = sequence.look(worse, {}, 4)
    assert list(again.verdicts) == list(first.verdicts)
    assert again.spent > first.spent


def cut(arm, number):
    return dataclasses.replace(
        arm, seeds=arm.seeds[:number], points=arm.points[:number], draws=arm.draws[:, :number]
    )


def test_looks_taken_again_with_their_critical_values_give_the_next_the_same():
    arms, questions = draw(1, of_images=0.3)
    whole, resumed = (Sequential(questions, {}, 6, 4000) for _ in range(2))
    for number in (3, 4):
        there = {n: cut(a, number) for n, a in arms.items()}
        taken = whole.look(there, {}, number)
        resumed.look(there, {}, number, taken.critical)
    there = {n: cut(a, 5) for n, a in arms.items()}
    one, other = whole.look(there, {}, 5), resumed.look(there, {}, 5)
    assert one.critical == other.critical
    assert [v.word for v in one.verdicts] == [v.word for v in other.verdicts]


def test_the_order_of_variants_changes_no_look():
    arms, questions = draw(2, of_images=0.3)
    turned = dict(reversed(arms.items()))
    one, other = (take_looks(own, questions, 6) for own in (arms, turned))
    assert [v.word for v in one[0]] == [v.word for v in other[0]]
    assert [v.look for v in one[0]] == [v.look for v in other[0]]
    assert [v.low for v in one[0]] == pytest.approx([v.low for v in other[0]])
    assert one[1] == other[1]


def test_both_of_two_opposite_claims_are_never_held():
    arms, questions = draw(3)
    claim = questions[0].claim
    there = {"b0-s1": 1.0, "b0-s0": -1.0}
    back = {name: -weight for name, weight in there.items()}
    both = [Question(claim, (Asked("", one, 0.0, "miou"),)) for one in (there, back)]
    for number in range(8):
        arms, _ = draw(10 + number, gain=number / 2)
        words = [one.word for one in take_looks(arms, both, 6)[0]]
        assert words != [HELD, HELD]
        assert (words == [HELD, NOT_HELD]) == (words[0] == HELD)


def test_seeds_that_cannot_decide_are_not_added():
    """Images move both variants by ten times as much as seeds do: their part stays."""
    arms, questions = draw(4, of_images=10.0, of_seeds=0.1, backbones=1)
    verdicts, seeds = take_looks(arms, questions, 6)
    assert {one.word for one in verdicts} <= {UNDECIDED, HELD, NOT_HELD}
    assert set(seeds.values()) == {3}
    assert verdicts[0].advice == "more images, not more seeds"


def test_fresh_noise_crosses_as_often_as_error_is_spent():
    """Scores of grids without a difference, judged at every look at once, by no draws of ours."""
    arms, questions = draw(5, max_seeds=8, gain=0.0)
    rng, number = np.random.default_rng(6), 8000
    scores = rng.normal(size=(number, 4, 8)) + rng.normal(size=(number, 1, 8))
    sequence = Sequential(questions, {}, 8, 8000)
    crossed = np.zeros((2, number), dtype=bool)
    for seeds in range(3, 9):
        there = {name: cut(arm, seeds) for name, arm in arms.items()}
        taken = sequence.look(there, {}, seeds)
        (one,) = list_sets(there, "miou", {})
        effects = [asked.weights for question in questions for asked in question.asked]
        judged = Contrasts(one.model, one.weigh(effects)).judge(scores[..., :seeds])
        ratios = np.split(judged.estimate / judged.reach, np.cumsum(sizes_of(questions))[:-1], 1)
        lowest = np.max([own.min(1) for own in ratios], axis=0)
        crossed[0] |= lowest > taken.critical.lower
        crossed[1] |= np.max([-own.min(1) for own in ratios], axis=0) > taken.critical.upper
    # Where all of several must hold, the lowest of them crosses less often than one that is given.
    assert crossed[0].mean() <= 0.06
    assert crossed[1].mean() == pytest.approx(0.05, abs=0.012)


def sizes_of(questions):
    return [len(question.asked) for question in questions]


NUMBER = 40


@pytest.mark.parametrize("images", [0.0, 0.4])
def test_few_grids_have_any_false_verdict_at_any_look(images):
    """A seeded sample of what `python -m reports.simulate --sections looks` does at length."""
    found = simulate_design(Design("short", 5, of_images=images), NUMBER)
    most = 0.05 + 2 * math.sqrt(0.05 * 0.95 / NUMBER)
    assert found["is_held"] <= most
    assert found["is_refused"] <= most


def test_true_claims_are_held_with_fewer_seeds():
    found = simulate_design(Design("found", 8, gain=3.0, ahead=3.0), 10)
    assert found["power"] > 0.9
    assert found["seeds"] < 6


def test_confidence_sequences_hold_their_mean_at_every_number():
    rng = np.random.default_rng(1)
    left = 0
    for _ in range(200):
        low, high = follow_mean(rng.beta(2, 3, 300), 0.05)
        left += bool((low > 0.4).any() or (high < 0.4).any())
    assert left <= 200 * 0.05 + 2 * math.sqrt(200 * 0.05 * 0.95)
    low, high = follow_mean(rng.beta(2, 3, 5000), 0.05)
    assert high[-1] - low[-1] < 0.05


def test_other_methods_are_asked_the_same_and_say_less_or_something_else():
    """AdaStop knows no margin: it finds a difference that is exactly as large as is claimed."""
    for package in ("adastop", "deepsig"):
        pytest.importorskip(package)
    ours, adastop, order, *sequences = list_methods(10).items()
    assert order[0].startswith("almost stochastic order")
    as_claimed = WORLDS[2]
    found = [compare_method(as_claimed, 10, one, 4) for _, one in (ours, adastop, *sequences)]
    assert found[1]["more"] > 0.5 > found[0]["more"]
    assert [one["more"] for one in found[2:]] == [0, 0]


def test_stochastic_order_is_asked_of_what_is_left_when_the_claim_is_taken_off():
    pytest.importorskip("deepsig")
    order = next(one for name, one in list_methods(10).items() if "order" in name)
    rng = np.random.default_rng(0)
    arms = draw_arms(rng, Design("far", 10, backbones=2, skips=1))
    _, far = arms.values()
    far.points[:] += 20 * POINT
    assert order(arms, 0.0).signs == [1]
    assert order(arms, 40 * POINT).signs == [-1]
