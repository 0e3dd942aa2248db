"""Shares and folds: nested, whole groups, classes in proportion, the same on every try."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from bench.data.draws import Draw, draw_fold, draw_share
from bench.data.packs.groups import digest_of
from bench.spec import DataSpec
from fcn.errors import InputError

FRACTIONS = (0.05, 0.1, 0.2, 0.5, 0.9, 1.0)


def make_counts(num_images, seed=0):
    """Draw pixels of five classes, the last of which one image in twenty shows."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 1000, (num_images, 5))
    counts[:, 4] *= np.arange(num_images) % 20 == 0
    return counts


def alone(num_images):
    return [str(i) for i in range(num_images)]


@pytest.mark.parametrize("seed", range(3))
def test_a_smaller_share_lies_within_a_larger_one(seed):
    counts = make_counts(200)
    shares = [draw_share(counts, alone(200), fraction, seed) for fraction in FRACTIONS]
    assert [len(share) for share in shares] == [10, 20, 40, 100, 180, 200]
    for small, large in itertools.pairwise(shares):
        assert set(small) <= set(large)
        assert large == sorted(set(large))


def test_another_seed_draws_another_share_and_the_same_seed_the_same():
    counts = make_counts(200)
    first, again, other = (draw_share(counts, alone(200), 0.2, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_a_share_has_the_classes_in_proportion():
    """Far nearer than images drawn without a look at their classes, on average over seeds."""
    counts = make_counts(400)
    whole = counts.sum(0) / 400

    def distance(chosen):
        return np.abs(counts[chosen].mean(0) / whole - 1).mean()

    ours = [distance(draw_share(counts, alone(400), 0.1, seed)) for seed in range(10)]
    blind = [
        distance(np.random.default_rng(seed).choice(400, 40, replace=False)) for seed in range(10)
    ]
    assert np.mean(ours) < np.mean(blind) / 3


def test_groups_stay_whole_in_shares_and_folds():
    counts = make_counts(120)
    groups = [f"clip{i // 8}" for i in range(120)]
    share = draw_share(counts, groups, 0.3, 0)
    drawn = {groups[i] for i in share}
    assert share == [i for i, group in enumerate(groups) if group in drawn]
    assert abs(len(share) - 36) <= 4
    folds = [draw_fold(counts, groups, 5, fold, 0) for fold in range(5)]
    assert sorted(i for fold in folds for i in fold) == list(range(120))
    of_fold = [{groups[i] for i in fold} for fold in folds]
    assert sum(map(len, of_fold)) == 15  # no group is in two


def test_folds_are_about_equal_in_images_and_classes():
    counts = make_counts(200)
    folds = [draw_fold(counts, alone(200), 4, fold, 3) for fold in range(4)]
    assert all(40 <= len(fold) <= 60 for fold in folds)
    parts = np.array([counts[fold].sum(0) for fold in folds]) / counts.sum(0)
    assert parts.min() > 0.15
    assert parts.max() < 0.35


def test_more_folds_than_groups_are_refused():
    with pytest.raises(InputError, match=r"data.folds 3 cannot be made of 2 groups.* 2 folds"):
        draw_fold(make_counts(6), ["a", "a", "a", "b", "b", "b"], 3, 0, 0)
    with pytest.raises(InputError, match="of 2 images"):
        draw_fold(make_counts(2), ["0", "1"], 3, 0, 0)


def test_the_size_of_a_share_is_what_epochs_are_counted_by():
    draw = Draw.of(DataSpec())
    assert draw.is_whole
    assert draw.size(100) == 100
    assert replace(draw, fraction=0.1).size(104) == 10
    assert replace(draw, fraction=0.1, limit=50).size(104) == 5
    assert replace(draw, folds=5).size(103) == 82
    assert replace(draw, fraction=0.001).size(104) == 0


def test_what_groups_are_called_says_nothing():
    first = {"a": "x", "b": "x", "c": "y"}
    assert digest_of(first) == digest_of({"c": "1", "b": "2", "a": "2"})
    assert digest_of(first) != digest_of({"a": "x", "b": "y", "c": "y"})
    assert digest_of({}) == ""
