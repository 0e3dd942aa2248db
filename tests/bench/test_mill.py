"""Kill, freeze, corrupt, swap: what comes out in the end is what an undisturbed twin gives."""

import sys
import time

import pytest
from mill import Mill

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    mill = Mill(tmp_path_factory.mktemp("mill") / "twin")
    assert mill.settle() == 1
    return mill.outcome()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_seconds_in_the_mill_leave_no_trace(tmp_path, twin):
    mill = Mill(tmp_path / "milled", seed=1)
    mill.turn(10)
    mill.settle()
    assert mill.outcome() == twin, mill.done


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_minutes_in_the_mill_leave_no_trace(tmp_path, twin):
    """Stores one after the other, each for a minute and a half, until the time is over."""
    until, seed = time.monotonic() + 600, int(time.time())
    while time.monotonic() < until:
        mill = Mill(tmp_path / str(seed), seed)
        mill.turn(min(90.0, until - time.monotonic()))
        mill.settle()
        assert mill.outcome() == twin, (seed, mill.done)
        seed += 1
