"""Batches made ahead are the source's own, in whatever order they are asked for."""

from threading import Event

import pytest
import torch

from bench.data.ahead import Ahead, ahead


class Numbered:
    """Batch k holds k; batch 3 cannot be made; it is known which were begun."""

    def __init__(self):
        self.begun = {k: Event() for k in range(10)}

    def batch(self, index):
        self.begun[index].set()
        if index == 3:
            raise ValueError("a picture of batch 3 is broken")
        return torch.full((1, 3, 2, 2), float(index)), torch.full((1, 2, 2), index)


def test_each_batch_is_the_one_asked_for():
    source = Ahead(Numbered())
    for index in (0, 1, 2, 7, 8, 1, 1, 0):
        images, target = source.batch(index)
        assert images.unique().tolist() == target.unique().tolist() == [index]


def test_the_next_batch_is_begun_without_being_asked_for():
    numbered = Numbered()
    source = Ahead(numbered)
    source.batch(4)
    assert numbered.begun[5].wait(timeout=60)
    assert not numbered.begun[6].is_set()


def test_an_error_comes_when_its_batch_is_asked_for():
    source = Ahead(Numbered())
    source.batch(2)
    with pytest.raises(ValueError, match="batch 3 is broken"):
        source.batch(3)
    assert source.batch(4)[1].unique().tolist() == [4]


def test_threads_of_the_step_stay_as_they_are():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Ahead(Numbered()).batch(0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_gpu_is_given_the_source_itself():
    source = Numbered()
    assert ahead(source, torch.device("cuda")) is source
    assert isinstance(ahead(source, torch.device("cpu")), Ahead)
