"""The clockwork of a comparison, with a clock that is wound by hand."""

import pytest

from bench.speed import timing
from bench.speed.section import Section
from bench.speed.timing import Side, Spread, choose_steps, interleave, speed_ratio


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sides move: clock["now"] in seconds."""
    now = {"now": 0.0}
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now["now"])
    return now


def side(clock, seconds, journal, name, **more):
    def step():
        journal.append(name)
        clock["now"] += seconds

    return Side(step, **more)


def test_median_and_quartiles_of_one_to_five():
    assert Spread.of([5, 1, 4, 2, 3]) == Spread(median=3, low=2, high=4)
    assert Spread.of([7]) == Spread(7, 7, 7)
    assert Spread.of([1, 2]).scaled(1000) == Spread(1500, 1250, 1750)


def test_sides_take_turns_and_each_begins_a_round(clock):
    journal = []
    sides = {n: side(clock, 1.0, journal, n, warm_up=0) for n in "abc"}
    interleave(sides, rounds=3, steps={"a": 1, "b": 2, "c": 1})
    assert "".join(journal) == "abbcbbcacabb"


def test_warm_up_is_made_and_not_timed_and_the_devices_work_is(clock):
    slow_start = iter([50.0, 2.0, 2.0, 50.0, 2.0, 2.0])
    waited = []

    def step():
        clock["now"] += next(slow_start)

    def wait():
        waited.append(clock["now"])
        clock["now"] += 0.5  # what a GPU still has to do

    settled = []
    one = Side(step, wait, warm_up=1, settle=lambda: settled.append(clock["now"]))
    assert interleave({"a": one}, rounds=2, steps={"a": 2}) == {"a": [2.25, 2.25]}
    assert len(waited) == 4
    assert len(settled) == 2


def test_the_length_of_a_block_follows_from_the_pace(clock):
    one = side(clock, 0.25, [], "a")
    assert choose_steps(one, 1.0) == 4
    assert choose_steps(one, 0.0) == 2
    assert choose_steps(one, 1e9) == 500


def test_ratios_are_taken_within_a_round():
    # The machine is ten times slower in the second round; the ratio of the sides stays 2.
    seconds = {"fast": [1.0, 10.0, 1.0], "slow": [2.0, 20.0, 2.0]}
    assert speed_ratio(seconds, "fast", "slow") == Spread(2, 2, 2)
    assert speed_ratio(seconds, "slow", "fast") == Spread(0.5, 0.5, 0.5)


def test_records_are_shown_with_three_digits_and_kept_whole_as_json():
    record = {"name": "vgg16", "ms": Spread(0.12345, 0.1, 0.2), "n": 3, "x": 1234.5, "none": None}
    section = Section("s", "S", "how", [record])
    (row,) = section.rows()
    assert row == {"name": "vgg16", "ms": "0.123 (0.100–0.200)", "n": "3", "x": "1234", "none": "–"}
    (plain,) = section.to_json()["records"]
    assert plain["ms"] == {"median": 0.12345, "low": 0.1, "high": 0.2}
    assert plain["x"] == 1234.5
