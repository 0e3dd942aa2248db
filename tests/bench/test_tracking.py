"""Trackers told of runs: all of them, once, while runs are made and after; what is lost of them."""

import json
import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bench.cli.runs import runs_app
from bench.metrics import summarize
from bench.plan import Plan, PlannedRun
from bench.run.execute import Options, execute
from bench.store.records import Failure, Reason
from bench.store.run_names import RunName
from bench.store.runs import Store
from bench.tracking import follower as following
from bench.tracking import process
from bench.tracking.contracts import FOLDER, TRACKERS
from bench.tracking.follower import Follower, follow
from bench.tracking.process import Trackers
from fcn.errors import InputError

REAL = ("tensorboard", "wandb", "mlflow", "trackio")


class Kept:
    """A tracker that keeps what it is told; fails or waits when it is said so."""

    package = "json"
    told, ended, closed, faults = {}, {}, [], []

    def __init__(self, folder):
        self.place = "memory"
        if "made" in self.faults:
            raise RuntimeError("no server")

    def open(self, run):
        self._fail("open")
        self.run = run
        return Sink(run, self)

    def _fail(self, where):
        if where in self.faults:
            self.faults.remove(where)
            raise SystemExit("the library leaves")


class Sink:
    def __init__(self, run, tracker):
        self.run, self.tracker = run, tracker

    def log(self, points):
        self.tracker._fail("log")
        Kept.told.setdefault(self.run.id, []).extend(points)

    def finish(self, state, last):
        self.tracker._fail("finish")
        Kept.ended.setdefault(self.run.id, []).append((state, last))

    def close(self):
        Kept.closed.append(self.run.id)


@pytest.fixture
def kept(monkeypatch):
    for name, value in {"told": {}, "ended": {}, "closed": [], "faults": []}.items():
        monkeypatch.setattr(Kept, name, value)
    monkeypatch.setitem(TRACKERS._parts, "kept", Kept)
    return Kept


MADE = {}
"""The run of `made` and a copy of its store: trained once for all tests here."""


@pytest.fixture
def made(tiny_run, tmp_path, tmp_path_factory):
    """A store with a run that is done, under a name."""
    if not MADE:
        store, run = tiny_run({"train.steps": 4, "evaluate.eval_every": 2})
        execute(store.run_dir(run.id), Options("cpu", 1))
        store.names.add([(run.id, RunName("a/question", "net, 8s", 0))])
        MADE["root"], MADE["run"] = tmp_path_factory.mktemp("made") / "store", run
        shutil.copytree(store.root, MADE["root"])
    shutil.copytree(MADE["root"], tmp_path / "made")
    return Store(tmp_path / "made"), MADE["run"]


def follower_of(store, run, name="kept", **options):
    follower = Follower(store, name, **options)
    follower.add(run.id, "a/question", "net, 8s", 0)
    return follower


def test_all_of_a_run_is_told_once(kept, made):
    store, run = made
    assert follower_of(store, run).look() == 1
    rows = store.logs(run.id)
    points = kept.told[run.id]
    assert [p.step for p in points] == [row["step"] for row in rows]
    assert [p.values["train/loss"] for p in points if "train/loss" in p.values] == [
        row["loss"] for row in rows if "loss" in row
    ]
    scored = [p.values["val/miou"] for p in points if "val/miou" in p.values]
    assert scored == [summarize(row["confusion"]).miou for row in rows if "confusion" in row]
    ((state, last),) = kept.ended[run.id]
    assert (state, last.step) == ("done", 4)
    assert last.values["test/miou"] == summarize(store.result(run.id).confusion).miou
    assert follower_of(store, run).look() == 0  # by another command, as by the same
    assert follower_of(store, run, again=True).look() == 1
    assert len(kept.told[run.id]) == 2 * len(rows)


def test_a_run_is_told_as_it_grows(kept, tiny_run):
    store, run = tiny_run({"train.steps": 4})
    folder = store.prepare(run)
    follower = follower_of(store, run)
    assert follower.look() == 0
    log = folder / "metrics.jsonl"
    row = '{"step": %d, "loss": 1.5, "lr": 0.1, "seconds": 2.0}\n'
    log.write_text(row % 1 + row % 2 + '{"step": 3, "lo')
    assert follower.look() == 1
    assert [p.step for p in kept.told[run.id]] == [1, 2]
    # An attempt that goes on from step 1 makes step 2 again, to the same bits.
    log.unlink()
    log.write_text(row % 1 + row % 2 + row % 3)
    follower.look()
    assert [p.step for p in kept.told[run.id]] == [1, 2, 3]
    store.record_failure(run.id, Failure(Reason.ERROR, "stumbled"))
    follower.look()
    assert [state for state, _ in kept.ended[run.id]] == ["failed"]
    store.forget_failure(run.id)
    log.write_text(row % 1 + row % 2 + row % 3 + row % 4)
    follower.look()
    assert [p.step for p in kept.told[run.id]] == [1, 2, 3, 4]
    assert follower.look() == 0


@pytest.mark.parametrize("where", ["open", "log", "finish"])
def test_what_a_failing_tracker_did_not_take_is_told_again(kept, made, where):
    store, run = made
    kept.faults.append(where)
    follower = follower_of(store, run)
    with pytest.raises(InputError, match=r"'kept' failed on run .*SystemExit: the library leaves"):
        follower.look()
    assert follower.look() == 1
    steps = [p.step for p in kept.told[run.id]]
    assert set(steps) == {row["step"] for row in store.logs(run.id)}
    assert kept.ended[run.id][-1][0] == "done"


def test_a_tracker_is_given_up_in_the_end(kept, made, monkeypatch):
    store, run = made
    kept.faults += ["open"] * 100
    said, waits = [], []
    assert not follow(follower_of(store, run), lambda: False, said.append, sleep=waits.append)
    assert len(said) == following.MOST_TRIES
    assert waits == sorted(waits)
    assert len(set(waits)) == len(waits)
    del kept.faults[1:]  # at the end there is one more try
    assert follow(follower_of(store, run), lambda: True, said.append, sleep=waits.append)
    assert kept.ended[run.id][-1][0] == "done"


def test_a_memory_that_is_damaged_is_no_obstacle(kept, made):
    store, run = made
    (store.root / FOLDER).mkdir()
    (store.root / FOLDER / "kept.json").write_text('{"places": 3')
    assert follower_of(store, run).look() == 1
    assert json.loads((store.root / FOLDER / "kept.json").read_text())["places"]["memory"]


def test_the_command_logs_what_is_named_or_all(kept, made):
    store, run = made
    words = ["log", "--to", "kept", "--runs", str(store.root)]
    ran = CliRunner().invoke(runs_app, words)
    assert ran.output == "kept: 1 run logged to memory\n"
    assert "kept: 0 runs" in CliRunner().invoke(runs_app, [*words, run.id[:6]]).output
    assert "kept: 1 run " in CliRunner().invoke(runs_app, [*words, "--again"]).output
    kept.faults.append("made")
    failed = CliRunner().invoke(runs_app, words)
    assert "'kept' cannot be had: RuntimeError: no server" in str(failed.exception)
    unknown = CliRunner().invoke(runs_app, ["log", "--to", "tensorbord", "--runs", str(store.root)])
    assert "did you mean 'tensorboard'" in str(unknown.exception)


def test_neither_the_store_nor_a_runs_id_knows_of_trackers(kept, made):
    from bench.upkeep import verify

    store, run = made
    before = {p: p.read_bytes() for p in store.run_dir(run.id).rglob("*") if p.is_file()}
    follower_of(store, run).look()
    assert {p: p.read_bytes() for p in store.run_dir(run.id).rglob("*") if p.is_file()} == before
    assert list(verify(store)) == []


PLUGIN = """
import os, sys, time
from bench.tracking.contracts import TRACKERS

@TRACKERS.register("lost")
class Lost:
    package = "json"

    def __init__(self, folder):
        self.place = str(folder)
        how = os.environ["LOST"]
        if how == "hangs at once":
            time.sleep(600)
        if how == "leaves":
            os._exit(3)

    def open(self, run):
        if os.environ["LOST"] == "hangs":
            time.sleep(600)
        if os.environ["LOST"] == "raises":
            raise ConnectionError("the server is gone")
        return self

    def log(self, points):
        with open(self.place + ".seen", "a") as file:
            file.writelines(f"{point.step}\\n" for point in points)

    def finish(self, state, last):
        with open(self.place + ".seen", "a") as file:
            file.write(state + "\\n")

    def close(self):
        pass
"""


@pytest.fixture
def lost(tmp_path):
    (tmp_path / "lost_tracker.py").write_text(PLUGIN)
    return str(tmp_path / "lost_tracker.py")


def plan_of(run):
    return Plan("a/question", "q", "", (PlannedRun("net, 8s", run),))


@pytest.fixture
def registered(monkeypatch, lost):
    """The tracker is known here too, as after `--plugin`."""
    monkeypatch.setitem(TRACKERS._parts, "lost", type("Lost", (), {"package": "json"}))
    return lost


@pytest.mark.slow
def test_a_process_follows_what_a_command_makes(made, registered, monkeypatch):
    monkeypatch.setenv("LOST", "works")
    store, run = made
    said = []
    with Trackers(["lost"], store.root, [registered], said.append) as trackers:
        trackers.add(plan_of(run))
        trackers.add(plan_of(run))  # a look at a question adds to its plan
    assert said == []
    seen = (store.root / FOLDER / "lost.seen").read_text().split()
    assert seen == [str(row["step"]) for row in store.logs(run.id)] + ["done"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", ["raises", "hangs", "hangs at once", pytest.param("leaves", marks=pytest.mark.long)]
)
def test_a_lost_tracker_is_said_and_left(made, registered, monkeypatch, how):
    monkeypatch.setenv("LOST", how)
    monkeypatch.setattr(process, "GRACE_SECONDS", 1.0 if "hangs" in how else 120.0)
    store, run = made
    said = []
    begun = time.monotonic()
    with Trackers(["lost"], store.root, [registered], said.append) as trackers:
        # More than a pipe holds, and nobody need read it.
        for _ in range(400):
            trackers.add(Plan("q" * 500, "q", "", (PlannedRun("net, 8s", run),)))
        told = time.monotonic() - begun
    assert told < 60
    assert len(said) == 1
    assert "not all was logged to lost" in said[0]
    assert "fcn-bench runs log --to lost" in said[0]
    assert {"raises": "the server is gone", "leaves": "exit code 3"}.get(how, "longer") in said[0]


def test_a_library_that_is_not_installed_stops_nothing(made, monkeypatch):
    monkeypatch.setitem(TRACKERS._parts, "gone", type("Gone", (), {"package": "no_such_library"}))
    store, run = made
    said = []
    with Trackers(["gone"], store.root, (), said.append) as trackers:
        trackers.add(plan_of(run))
    (line,) = said
    assert "pip install 'fcn-bench[no_such_library]'" in line


def test_a_store_is_told_of_by_one_command_at_a_time(kept, made):
    store, run = made
    first = follower_of(store, run)
    with pytest.raises(InputError, match=r"another command logs from .* to kept just now"):
        follower_of(store, run)
    first.look()
    del first
    assert follower_of(store, run).look() == 0


def test_one_damaged_record_keeps_no_other_run_from_being_told(kept, made, tiny_run):
    store, run = made
    follower = Follower(store, "kept")
    _, other = tiny_run({"train.steps": 3})
    folder = store.prepare(other)
    (folder / "result.json").write_text("{")
    follower.add(other.id, "q", "a", 0)
    follower.add(run.id, "q", "b", 0)
    with pytest.raises(InputError, match=r"result\.json"):
        follower.look()
    assert list(kept.ended) == [run.id]


@pytest.mark.parametrize(
    ("name", "variable", "server"),
    [
        ("mlflow", "MLFLOW_TRACKING_URI", "https://example.org"),
        ("trackio", "TRACKIO_SPACE_ID", "me/space"),
        ("trackio", "TRACKIO_SERVER_URL", "https://example.org"),
    ],
)
def test_offline_no_server_is_asked(tmp_path, monkeypatch, name, variable, server):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv(variable, server)
    if name == "mlflow":  # as far as it is imported here
        monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(entities=None))
        monkeypatch.setitem(sys.modules, "mlflow.tracking", SimpleNamespace(MlflowClient=None))
    with pytest.raises(InputError, match=f"forbids to ask {server}, which {variable} names"):
        TRACKERS[name](tmp_path)


@pytest.mark.parametrize("name", TRACKERS)
def test_each_tracker_says_what_it_needs(name, tmp_path, monkeypatch):
    """The contract of all that are registered."""
    tracker = TRACKERS[name]
    monkeypatch.setitem(sys.modules, tracker.package, None)
    monkeypatch.setitem(sys.modules, f"{tracker.package}.summary", None)
    with pytest.raises(InputError, match=rf"pip install 'fcn-bench\[{name}\]'"):
        tracker(tmp_path)
    assert tracker.__doc__


class TestRealLibraries:
    """Each by a process of its own, as commands use them; without any server."""

    @pytest.fixture
    def logged(self, made):
        store, _ = made

        def log(name):
            # Not imported here: some set variables that their next process would follow.
            if find_spec(name) is None:
                pytest.skip(f"{name} is not installed")
            own = ("WANDB_", "MLFLOW_", "TRACKIO_")
            environment = {k: v for k, v in os.environ.items() if not k.startswith(own)}
            for _ in range(2):
                subprocess.run(
                    [
                        *(sys.executable, "-m", "bench", "runs", "log"),
                        *("--to", name, "--runs", str(store.root)),
                    ],
                    check=True,
                    capture_output=True,
                    env={**environment, "HF_HUB_OFFLINE": "1"},
                    timeout=240,
                )
            return store.root / FOLDER / name

        return log

    def losses(self, made):
        store, run = made
        return [(row["step"], row["loss"]) for row in store.logs(run.id) if "loss" in row]

    @pytest.mark.slow
    def test_tensorboard(self, logged, made):
        folder = logged("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        (place,) = folder.glob("*/*/seed-0")
        assert place.relative_to(folder).as_posix() == "a-question/net--8s/seed-0"
        events = EventAccumulator(str(place), size_guidance={"tensors": 0, "scalars": 0})
        events.Reload()
        found = {
            (e.step, e.tensor_proto.float_val[0] if e.tensor_proto.float_val else None)
            for e in events.Tensors("train/loss")
        }
        assert {step for step, _ in found} == {step for step, _ in self.losses(made)}
        assert "test/miou" in events.Tags()["tensors"]

    @pytest.mark.slow
    def test_wandb(self, logged, made):
        folder = logged("wandb")
        (file,) = folder.rglob("run-*.wandb")
        assert made[1].id in file.name
        content = file.read_bytes()
        for word in (b"train/loss", b"val/miou", b"test/miou", b"net, 8s", b"train.steps"):
            assert word in content

    @pytest.mark.slow
    def test_mlflow(self, logged, made):
        if find_spec("alembic") is None:
            pytest.skip("mlflow-skinny keeps no files")
        folder = logged("mlflow")
        code = (
            "import json, sys; from mlflow.tracking import MlflowClient\n"
            "client = MlflowClient(tracking_uri=sys.argv[1])\n"
            "(e,) = [e for e in client.search_experiments() if e.name == 'a/question']\n"
            "(run,) = client.search_runs([e.experiment_id])\n"
            "history = client.get_metric_history(run.info.run_id, 'train/loss')\n"
            "print(json.dumps([[(m.step, m.value) for m in history], run.info.status, "
            "run.data.params, run.data.metrics, run.info.run_name]))"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code, f"sqlite:///{folder / 'mlflow.db'}"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        history, status, params, metrics, name = json.loads(ran.stdout.splitlines()[-1])
        assert sorted(map(tuple, history)) == self.losses(made)
        assert (status, params["train.steps"], name) == ("FINISHED", "4", "net, 8s/seed-0")
        assert metrics["test/miou"] >= 0

    @pytest.mark.slow
    def test_trackio(self, logged, made):
        folder = logged("trackio")
        import sqlite3

        (file,) = Path(folder).glob("*.db")
        with sqlite3.connect(file) as database:
            rows = database.execute("select step, metrics from metrics order by step").fetchall()
        losses = [
            (step, json.loads(text)["train/loss"]) for step, text in rows if b"train/loss" in text
        ]
        assert losses == self.losses(made)
        assert any(b"test/miou" in text for _, text in rows)
