"""Imports without the garbage collector: it is left as it was, and what came is left alone."""

import gc

import pytest

from bench.importing import importing


def test_nothing_is_looked_for_meanwhile_and_what_came_stays():
    found = []

    def look(phase, info):
        found.append(phase)

    frozen = gc.get_freeze_count()
    gc.callbacks.append(look)
    try:
        with importing():
            made = [[number] for number in range(100_000)]
        assert not found
        assert gc.get_freeze_count() >= frozen + len(made)
        assert gc.isenabled()
        more = [[number] for number in range(100_000)]
    finally:
        gc.callbacks.remove(look)
    assert found
    assert len(more) == len(made)


def test_the_collector_is_left_as_it_was():
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
