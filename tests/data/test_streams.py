"""Numbers of many seeds at once, against numpy's generators one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.streams import draw_uniform

WORD = st.integers(0, 2**32 - 1)


@given(st.integers(1, 7).flatmap(lambda n: st.lists(st.tuples(*[WORD] * n), min_size=1)))
def test_each_row_is_what_numpy_draws_from_that_seed(seeds):
    expected = [np.random.default_rng(seed).random(5) for seed in seeds]
    with np.errstate(all="raise"):
        assert np.array_equal(draw_uniform(seeds, 5), expected)


@pytest.mark.parametrize("seed", [2**32, 2**64 - 1, 2**100])
def test_so_it_is_for_seeds_of_several_words(seed):
    seeds = [(seed, 1, 7, 3), (5, 1, 7, 4)]
    expected = [np.random.default_rng(one).random(4) for one in seeds]
    assert np.array_equal(draw_uniform(seeds, 4), expected)
