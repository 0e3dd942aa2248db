"""A mill: a grid killed, frozen and damaged at random while it runs, until its time is over.

Then it is left alone, and whoever sits before it does what the messages ask for, and nothing else.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from attempts import bits
from damages import DISKS, damage_one

from bench.store.runs import Store

SPEC = """
question: Does the mill leave a trace?
common:
  data: {dataset: shapes, options: {size: 32, num_train: 8, num_val: 2, num_test: 3}}
  model: {backbone: test_resnet, skip: fcn32s, score_init: random, dropout: 0.1}
  train: {steps: 25, batch_size: 2, lr: 0.02, crop: [32, 32], scale: [0.8, 1.25]}
variants:
  parent: {}
  child: {model.skip: fcn16s, train.init_from: parent}
  other: {train.ema_decay: 0.9}
"""

SLOWLY = """
import time
from bench.run import execute

def is_due(self, saved, stopping):
    time.sleep(0.1)
    return True

execute._Execution.is_due = is_due
"""
"""A plugin with which a run leaves a checkpoint after each step, and takes its time."""

ROUNDS = 20
"""Commands after which a store has to be whole again."""


class Mill:
    """A store in a folder, and the same command on it again and again.

    Args:
        folder: Where store and spec are.
        seed: Of all that is done to them, but for the moments at which it happens.
    """

    def __init__(self, folder, seed=0):
        folder.mkdir()
        (folder / "q.yaml").write_text(SPEC)
        (folder / "slowly.py").write_text(SLOWLY)
        self.folder, self.runs = folder, folder / "runs"
        self.rng = random.Random(seed)
        self.done = []
        self._mark = f"{folder.name}-{os.getpid()}-{seed}"

    def turn(self, seconds):
        """Disturb the grid for some seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            engine = self.rng.choice(["local", "warm"])
            with open(self.folder / "log.txt", "ab") as log:
                process = self._start("run", *_RUN, "--engine", engine, stdout=log, stderr=log)
                try:
                    time.sleep(self.rng.uniform(2, 15))
                    action = self.rng.choice([*_SIGNALS, *[self._damage] * 4])
                    self.done.append(str(action(self, process) or action.__name__))
                    process.wait(self.rng.uniform(1, 10))
                except subprocess.TimeoutExpired:
                    pass
                finally:
                    self._end_all()
                    process.wait()

    def settle(self):
        """Give the command until all is well, doing what its messages ask for; count the rounds."""
        said = ""
        for number in range(1, ROUNDS + 1):
            code, said = self.call("run", *_RUN)
            if code == 0 and not self._damaged():
                return number
            self._follow(said)
        raise AssertionError(f"not whole after {ROUNDS} commands: {said}; done: {self.done}")

    def call(self, *words):
        """Give a command, and return its exit code and what it says."""
        process = self._start(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = process.communicate(timeout=300)[0].decode()
        return process.returncode, said

    def outcome(self):
        """Return the bits of every run by variant."""
        code, listed = self.call("check", "q.yaml", "--runs", "runs", "--json")
        assert code == 0, listed
        store = Store(self.runs)
        rows = json.loads(listed[listed.index("[") :])
        return {row["variant"]: bits(store, store.run(row["id"])) for row in rows}

    def _damaged(self):
        """Say whether verify finds damage, and remove the runs that it names."""
        code, said = self.call("runs", "verify", "--runs", "runs", "--json")
        assert code in (0, 1), said
        found = [one for one in json.loads(said) if one["kind"] != "leftover"]
        for one in found:
            run_ids = re.findall(r"runs/[0-9a-f]{2}/([0-9a-f]{16})", one["path"])
            if run_ids and (self.runs / run_ids[0][:2] / run_ids[0]).exists():
                code, said = self.call("runs", "prune", run_ids[0], "--runs", "runs")
                assert code in (0, 65), said
            self._follow(one["what"])
        return bool(found)

    def _follow(self, said):
        """Do what messages ask for."""
        text = " ".join(said.split())
        named = re.findall(r"`fcn-bench runs prune ([0-9a-f]{16})\b", text)
        for run_id in dict.fromkeys(named):
            self.call("runs", "prune", run_id, "--runs", "runs")
        for name in re.findall(r"(runs/[\w./-]+) is damaged[^;]*; delete it", text):
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _start(self, *words, **streams):
        command = [sys.executable, "-W", "ignore", "-m", "ablations.cli", *words]
        paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        own = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "FCN_MILL": self._mark}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, **own},
            start_new_session=True,
            **streams,
        )

    def _damage(self, mill, process):
        try:
            return damage_one(self.runs, self.rng, DISKS) if self.runs.exists() else "nothing yet"
        except OSError as error:  # what was to be damaged has gone meanwhile
            return f"missed: {error}"

    def pids(self):
        """List the processes that the mill's commands started, the youngest last."""
        mark, found = f"FCN_MILL={self._mark}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:
                pass
        return sorted(found)

    def _end_all(self):
        for number in (signal.SIGCONT, signal.SIGKILL):
            for pid in self.pids():
                _send(pid, number)


def _send(pid, number):
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _send_to_one(mill, number):
    if pids := mill.pids():
        _send(mill.rng.choice(pids), number)


def kill_the_command(mill, process):
    process.kill()


def kill_a_process(mill, process):
    _send_to_one(mill, signal.SIGKILL)


def stop_all(mill, process):
    for pid in mill.pids():
        _send(pid, signal.SIGTERM)


def stop_the_command(mill, process):
    process.terminate()


def freeze_a_process(mill, process):
    _send_to_one(mill, signal.SIGSTOP)


_SIGNALS = (kill_the_command, kill_a_process, stop_all, stop_the_command, freeze_a_process)
_RUN = ("q.yaml", "--plugin", "slowly.py", "--runs", "runs", "--out", "out", "--slots", "2")
