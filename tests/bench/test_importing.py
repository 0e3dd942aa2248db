"""Imports without the garbage collector: it is left as it was, and what came is left alone."""

import gc
import os
import subprocess
import sys
from pathlib import Path

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


def run_quietly(words, folder):
    """Run Python in a process of its own; return what it printed. It says nothing on stderr."""
    root = str(Path(__file__).parent.parent.parent)
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_what_came_is_given_back_at_the_end_of_the_process(tmp_path):
    """A cycle is freed at the end of a process, as libraries that count their objects expect."""
    code = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count(), "left"))  # registered first, called last
from bench.importing import importing
with importing():
    import json
print(gc.get_freeze_count() > 0)
"""
    assert run_quietly(["-c", code], tmp_path) == "True\n0 left\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["--help"], ["list"], ["list", "backbones"], ["check", "quickstart"]], ids=" ".join
)
def test_a_command_ends_without_a_word_beside_its_output(tmp_path, words):
    assert run_quietly(["-m", "ablations.cli", *words], tmp_path)
