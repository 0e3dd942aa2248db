"""One thread for each worker: the workers share the cores. No plugin outlives its tests."""

import gc
import os
import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Shells start what goes on in the background so; commands that tests start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
gc.disable()  # until all tests are imported: what they import stays, and is much to look through
os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported


LONGEST = (
    *("test_signals", "test_engines", "test_ray", "test_takeover", "test_output", "test_evidence"),
    *("test_speed_page", "test_mill", "test_distributed", "test_simulate", "test_mishaps"),
    *("test_plugins", "test_tracking", "test_slurm", "test_log", "test_tuned_run"),
    *("test_renamed", "test_paper_data", "test_compiling", "test_many_runs", "test_faults"),
    *("test_examples", "test_api", "test_cli", "test_everyday", "test_geometry"),
    *("test_claims_planned", "test_records"),
)
"""Files that take longest, in the fast stage or in that of the slow tests."""


def pytest_collection_modifyitems(items):
    """Put the longest files first: no worker is left with one when the others have ended.

    They are shared out in this order, by `--no-loadscope-reorder`, not by their number of tests.
    """
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


def pytest_collection_finish():
    """Look for garbage again from here on, but not in a million objects that stay."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    """Have the last look, at the end of the process, see all: libraries count what comes back."""
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="module")
def _leave_no_plugin():
    """Which files of tests a worker runs, and in which order, is chance: none may see another's."""
    from bench.plugins import loaded_plugins

    before = loaded_plugins()
    yield
    assert loaded_plugins() == before, "import it in a process of its own, or undo it"


@pytest.fixture
def own_parts():
    """Take back what a test registers, in every registry."""
    from fcn.registry import undone_on_error

    class UndoError(Exception):
        pass

    undo = undone_on_error()
    undo.__enter__()
    yield
    undo.__exit__(UndoError, UndoError(), None)
