"""Pages about grids whose truth is known: hardly any claims what is not so."""

import math

import numpy as np
import pandas as pd
import pytest

from reports.results.counts import score_flat
from reports.simulations.pages import draw_page, simulate
from reports.simulations.worlds import WORLDS, World, count_pixels

SHORT = ("three seeds", "missing runs")


def world(name):
    return next(one for one in WORLDS if one.name == name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_few_pages_are_false_and_intervals_cover(name):
    """A seeded sample of what `python -m reports.simulate` does at length."""
    number = 60
    found = simulate(world(name), number)
    bound = world(name).bound
    assert found["false"] <= bound + 2 * math.sqrt(bound * (1 - bound) / number)
    assert found["covered"] >= 0.93 - 2 * math.sqrt(0.93 * 0.07 / number)
    for kind in ("held", "refused"):
        assert found[kind] <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / number)


@pytest.mark.slow
def test_true_differences_are_found():
    """Of 48 pairs that differ by about 3 or 6 points, in one family with those that do not."""
    assert simulate(world("known effect"), 40)["power"] > 0.3


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("one", WORLDS, ids=[one.name for one in WORLDS])
def test_few_pages_of_any_world_are_false(one):
    number = 200
    found = simulate(one, number, 2)
    assert found["false"] <= one.bound + 2 * math.sqrt(one.bound * (1 - one.bound) / number)
    assert found["covered"] >= 0.93 - 2 * math.sqrt(0.93 * 0.07 / number)


def test_a_page_is_a_function_of_its_number():
    small = World("small", "", backbones=2, skips=2, images=20)
    covered = [draw_page(small, number).covered for number in (*range(6), *range(6))]
    assert covered[:6] == covered[6:]
    assert len(set(covered)) > 1


def test_a_large_difference_is_shown_and_its_sign_is_right():
    large = World("large", "", backbones=2, skips=2, images=40, effect=2.0)
    pages = pd.DataFrame([draw_page(large, number) for number in range(5)])
    assert not pages["is_false"].any()
    assert pages["power"].mean() > 0.7


def test_drawn_counts_are_counts():
    rng = np.random.default_rng(0)
    values = count_pixels(rng.dirichlet(np.ones(6), 30), rng.normal(0, 1, (30, 6))).reshape(
        30, 3, 6
    )
    hits, target, pred = values.transpose(1, 0, 2)
    assert (hits <= np.minimum(target, pred)).all()
    assert (abs(target.sum(1) - pred.sum(1)) <= 6).all()  # each class is rounded
    scores, _ = score_flat(values.reshape(30, 18).sum(0), 6)
    assert ((scores > 0) & (scores < 1)).all()


def test_a_page_whose_baseline_has_one_seed_is_read_too():
    """Its table is headed otherwise; the first run but one of the baseline is missing."""
    few = World("few", "", backbones=2, skips=1, seeds=2, images=20, missing=0.9)
    pages = [draw_page(few, number) for number in range(8)]
    assert not all(page.is_false for page in pages)
