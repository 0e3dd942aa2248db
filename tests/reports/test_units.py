"""What is resampled: images that belong together, or lie side by side, are not so many images."""

import numpy as np
import pytest

from bench.store.runs import Store
from reports.results.counts import Counts
from reports.stats.pairs import measure_arm
from reports.stats.units import Resamples, Units, choose_units, correlate, find_length

C = 3


def make_counts(levels, groups=(), seed=0, images="the same"):
    """Counts of a run over images of which each is as well segmented as its level says."""
    target = np.tile(np.random.default_rng(seed).integers(2000, 3000, C), (len(levels), 1))
    hit = np.round(target * (0.6 + 0.1 * np.clip(levels, -3, 3))[:, None]).astype(int)
    pred = hit + np.roll(target - hit, 1, axis=1)
    values = np.concatenate([hit, target, pred], axis=1).astype(np.int32)
    return Counts(values, ("a", "b", "c"), images, groups)


def autoregress(rho, number, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=number)
    for k in range(1, number):
        values[k] = rho * values[k - 1] + np.sqrt(1 - rho**2) * values[k]
    return values


def frames(counts_by_seed):
    return measure_arm("v", counts_by_seed, Resamples(400))


@pytest.mark.parametrize("copies", [2, 5])
def test_groups_of_copies_of_one_image_are_those_images_to_the_bit(copies):
    levels = np.random.default_rng(1).normal(size=12)
    alone = {seed: make_counts(levels, seed=seed, images="12") for seed in (0, 1, 2)}
    names = tuple(f"clip{k}" for k in range(12) for _ in range(copies))
    together = {
        seed: Counts(np.repeat(one.values, copies, axis=0), one.class_names, "many", names)
        for seed, one in alone.items()
    }
    (one, classes), (other, other_classes) = frames(alone), frames(together)
    assert (one.num_units, other.num_units) == (12, 12)
    assert (one.num_images, other.num_images) == (12, 12 * copies)
    assert np.array_equal(one.points, other.points)
    assert np.array_equal(one.draws, other.draws)
    drop = {"columns": "num_images"}
    assert one.bounds.drop(**drop).equals(other.bounds.drop(**drop))
    assert classes.equals(other_classes)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.8])
def test_neighbours_that_are_alike_lengthen_the_error_as_theory_says(rho):
    """Of a mean of an AR(1) the variance is (1 + rho) / (1 - rho) times that of independent ones.

    Of 20 series, since the correlation of one is itself uncertain; blocks fall short a little.
    """
    ratios = []
    for seed in range(20):
        counts = make_counts(autoregress(rho, 800, seed), ("one",) * 800)
        units = choose_units([counts])
        resampled = units.draw(400) @ counts.values[:, 0]
        independent = Units(("one",) * 800, 1, 0.0).draw(400) @ counts.values[:, 0]
        ratios.append(resampled.std() / independent.std())
    theory = np.sqrt((1 + rho) / (1 - rho))
    assert np.mean(ratios) == pytest.approx(theory, rel=0.12)


def test_the_length_of_blocks_is_that_of_the_rule_worked_out_by_hand():
    """AR(1) of 0.5: the flat-top sums are taken up to twice the last lag that matters."""
    N, lags = 1000, np.arange(60)
    correlations = 0.5**lags
    last = 3  # 0.0625 is below 2 sqrt(3 / 1000) = 0.110, 0.125 is not
    kept = range(1, 2 * last + 1)
    taper = {k: min(1.0, 2 * (1 - k / (2 * last))) for k in kept}
    slope = 2 * sum(taper[k] * k * 0.5**k for k in kept)
    level = 1 + 2 * sum(taper[k] * 0.5**k for k in kept)
    expected = (2 * slope**2 / (4 / 3 * level**2)) ** (1 / 3) * N ** (1 / 3)
    assert find_length(correlations, N) == int(np.ceil(expected))
    assert find_length(np.concatenate([[1.0], np.zeros(50)]), N) == 1


def test_correlations_are_those_of_numpy_within_groups_alone():
    values = np.random.default_rng(0).normal(size=(1, 40))
    whole = correlate(values, [np.arange(40)])
    left = values[0] - values.mean()
    assert whole[1] == pytest.approx((left[1:] * left[:-1]).mean() / (left**2).mean())
    halves = correlate(values, [np.arange(20), np.arange(20, 40)])
    inside = [left[k] * left[k + 1] for k in range(39) if k != 19]
    assert halves[1] == pytest.approx(np.mean(inside) / (left**2).mean())


def test_every_image_is_drawn_as_often_and_blocks_stay_in_their_group():
    names = ("a",) * 5 + ("b",) * 30
    units = Units(names, 6, 0.4)
    weights = units.draw(4000)
    assert units.number == 6
    assert weights.mean(0) == pytest.approx(weights.mean(), rel=0.1)
    blocks = units._list_blocks()
    assert blocks[2].tolist() == [2, 3, 4, 0, 1, 2]  # all of the short group, and more
    assert blocks[33].tolist() == [33, 34, 5, 6, 7, 8]  # round to the group's first


def test_eight_groups_are_resampled_whole_and_fewer_are_warned_of():
    levels = autoregress(0.7, 160)
    eight = choose_units([make_counts(levels, tuple(f"g{k // 20}" for k in range(160)))])
    assert (eight.length, eight.number, eight.warn()) == (0, 8, "")
    assert "160 images in 8 groups" in eight.describe()
    weights = eight.draw(10)
    assert all(len(set(row[k : k + 20])) == 1 for row in weights for k in range(0, 160, 20))
    two = choose_units([make_counts(levels, tuple(f"g{k // 80}" for k in range(160)))])
    assert two.length > 1
    assert f"blocks of {two.length} neighbours" in two.describe()
    assert "All images are of 2 groups" in two.warn()
    unknown = choose_units([make_counts(levels)])
    assert unknown.warn() == ""
    assert "correlate by 0." in unknown.describe()


def test_images_that_have_nothing_to_do_with_each_other_are_drawn_one_by_one():
    lengths = [
        choose_units([make_counts(np.random.default_rng(k).normal(size=100))]).length
        for k in range(40)
    ]
    assert sum(length > 1 for length in lengths) <= 2


def test_groups_told_after_the_runs_are_taken_from_the_store(filled_store):
    from reports.results.counts import read_counts

    store, result = filled_store
    assert read_counts(store, result).groups == ()
    pack = Store(store.root).packs_dir / str(result.run["fingerprint"])[:16]
    pack.mkdir(parents=True)
    names, _ = store.confusions(result.run_id, result.split)
    told = ", ".join(f'"{name}": "clip{k % 2}"' for k, name in enumerate(names))
    (pack / "groups.json").write_text(f'{{"{result.split}": {{{told}}}}}')
    assert set(read_counts(store, result).groups) == {"clip0", "clip1"}


@pytest.fixture
def filled_store(small_store, make_plan):
    from streets import finish

    plan = make_plan(["base"], (0,))
    finish(small_store, plan.runs[0], log=False)
    return small_store, small_store.result(plan.runs[0].run.id)
