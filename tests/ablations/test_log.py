"""`run --log`: a tracker sees runs while they are made, and whatever it does, they are made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store.runs import Store

ROOT = Path(__file__).parent.parent.parent
SPEC = """
question: Does a skip help?
common:
  model: {backbone: test_resnet, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 4, num_val: 2, num_test: 2}}
  train: {steps: 12, batch_size: 2, optimizer: adamw, lr: 1e-3}
variants:
  coarse: {model.skip: fcn32s}
  fine: {model.skip: fcn16s}
baseline: coarse
seeds: [0]
"""

PLUGIN = """
import os, time
from bench.tracking.contracts import TRACKERS

@TRACKERS.register("seen")
class Seen:
    package = "json"

    def __init__(self, folder):
        self.place = str(folder)

    def open(self, run):
        if os.environ.get("HANG"):
            time.sleep(600)
        return Sink(self.place, run)

class Sink:
    def __init__(self, place, run):
        self.path, self.run = place + ".txt", run

    def write(self, what):
        with open(self.path, "a") as file:
            file.write(f"{self.run.name} {what}\\n")

    def log(self, points):
        for point in points:
            if "train/loss" in point.values:
                self.write(point.step)

    def finish(self, state, last):
        self.write(state)

    def close(self):
        pass
"""


@pytest.fixture
def run(tmp_path):
    """Run the question in a process of its own, which may wait a second for trackers at its end."""
    (tmp_path / "question.yaml").write_text(SPEC)
    (tmp_path / "seen_tracker.py").write_text(PLUGIN)

    def run_with(*words, grace=100.0, **environment):
        code = (
            "import sys; from ablations.cli import main; from bench.tracking import process\n"
            f"process.GRACE_SECONDS = {grace}; sys.argv[0] = 'fcn-bench'; main()"
        )
        command = ["run", "question.yaml", "--engine", "local", "--plugin", "seen_tracker.py"]
        return subprocess.run(
            [sys.executable, "-c", code, *command, *words],
            cwd=tmp_path, capture_output=True, text=True, timeout=280,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )  # fmt: skip

    return run_with


@pytest.mark.slow
def test_every_run_is_shown_and_none_twice(run, tmp_path):
    ran = run("--log", "seen")
    assert ran.returncode == 0, ran.stderr
    assert "not all was logged" not in ran.stdout
    seen = (tmp_path / "runs" / "trackers" / "seen.txt").read_text().splitlines()
    expected = {
        f"{variant}/seed-0 {what}"
        for variant in ("coarse", "fine")
        for what in (*range(1, 13), "done")
    }
    assert sorted(seen) == sorted(expected)
    assert run("--log", "seen").returncode == 0  # all is made, and all was shown
    assert len((tmp_path / "runs" / "trackers" / "seen.txt").read_text().splitlines()) == len(seen)


@pytest.mark.slow
def test_a_tracker_that_hangs_keeps_no_run_from_being_made(run, tmp_path):
    ran = run("--log", "seen", grace=1.0, HANG="1")
    assert ran.returncode == 0, ran.stderr
    assert "not all was logged to seen: it took longer than 1 s" in ran.stdout
    store = Store(tmp_path / "runs")
    assert [store.status(run_id) for run_id in store.run_ids()] == ["done"] * 2


def test_an_unknown_tracker_is_said_before_anything_is_made(run, tmp_path):
    ran = run("--log", "wand")
    assert ran.returncode == 65
    assert "did you mean 'wandb'" in ran.stderr
    assert not (tmp_path / "runs" / "store.json").exists()
