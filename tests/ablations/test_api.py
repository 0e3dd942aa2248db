"""Questions from Python are those of the commands: the same plans, runs and errors, no output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import ablations
from ablations.cli import app
from ablations.planning import plan_spec
from ablations.spec import Ablation
from bench.settings.yaml_file import parse_setting, write_setting
from bench.store.runs import Store
from fcn import InputError

ROOT = Path(__file__).parent.parent.parent

TINY = {
    "grid.model.backbone": ["test_resnet"],
    "grid.model.skip": ["fcn32s", "fcn16s"],
    "seeds": [0],
    "baseline": "test_resnet-fcn32s",
    "train.steps": 2,
    "train.warmup_steps": 0,
    "data.options": {"size": 32, "num_train": 4, "num_val": 1, "num_test": 2},
}


def texts(settings):
    return [write_setting(key, value) for key, value in settings.items()]


def test_a_plan_is_that_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(Path("store"))
    ours = ablations.plan(ablations.load("quickstart", TINY), store=store)
    theirs, _ = plan_spec("quickstart", store, None, texts(TINY))
    assert ours == theirs
    assert ours.command.startswith("fcn-bench run quickstart --set ")
    assert [planned.variant for planned in ours.runs] == [
        "test_resnet-fcn32s",
        "test_resnet-fcn16s",
    ]
    assert ablations.plan("quickstart", store="store").runs != ours.runs
    assert not list(Path("store").glob("*/*/spec.yaml"))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Z"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(VALUES)
@example("{")
@example("null")
@example("1e-3")
@example("a\u2028b\x85\U0001f600")
@example({"size": 32, "b": [1e-05, 1e16]})
def test_a_setting_is_read_as_it_was_written(value):
    key, read = parse_setting(write_setting("a.b", value), option="--set")
    assert key == "a.b"
    assert json.dumps(read) == json.dumps(value)  # 1 is not true, and 1.0 not 1


def test_what_cannot_be_used_is_told_as_by_the_command(tmp_path):
    with pytest.raises(InputError, match="did you mean 'quickstart'"):
        ablations.load("quickstar")
    with pytest.raises(InputError, match="stepz"):
        ablations.plan(ablations.load("quickstart", {"train.stepz": 3}), store=tmp_path / "store")
    with pytest.raises(InputError, match="--plugin nowhere cannot be imported"):
        ablations.plan("quickstart", store=tmp_path / "store", plugins=["nowhere"])
    with pytest.raises(InputError, match="cannot be written in a spec"):
        ablations.load("quickstart", {"train.lr": float("nan")})
    made = Ablation(name="mine", question="Why?", variants={"a": None})
    with pytest.raises(InputError, match="no spec was read"):
        ablations.run(made, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_what_is_missing_is_trained_without_a_word_and_once(tmp_path, capfd):
    question = ablations.load("quickstart", TINY)
    outcome = ablations.run(question, store=tmp_path, devices=["cpu"], engine="local")
    assert outcome.undone == ()
    assert capfd.readouterr() == ("", "")
    ids = [planned.run.id for planned in outcome.plan.runs]
    stamps = [(outcome.store.run_dir(i) / "result.json").stat().st_mtime_ns for i in ids]
    again = ablations.run(question, store=tmp_path, devices=["cpu"])
    assert again.plan.runs == outcome.plan.runs
    assert [(again.store.run_dir(i) / "result.json").stat().st_mtime_ns for i in ids] == stamps
    words = ["run", "quickstart", "--runs", tmp_path, "--out", tmp_path / "out"]
    words += [word for text in texts(TINY) for word in ("--set", text)]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    assert [(again.store.run_dir(i) / "result.json").stat().st_mtime_ns for i in ids] == stamps


@pytest.mark.slow
def test_runs_that_fail_are_told_and_stop_no_other(tmp_path, capfd):
    settings = {**TINY, "adjust": [{"when": {"model.skip": "fcn16s"}, "set": {"train.lr": 1e30}}]}
    question = ablations.load("quickstart", {**settings, "train.steps": 30})
    outcome = ablations.run(
        question, store=tmp_path, devices=["cpu"], engine="local", progress=True
    )
    assert [planned.variant for planned in outcome.undone] == ["test_resnet-fcn16s"]
    assert outcome.store.failure(outcome.undone[0].run.id).reason == "nonfinite"
    shown = capfd.readouterr().out
    assert "test_resnet-fcn32s" in shown
    assert "FAILED (nonfinite)" in shown


@pytest.mark.slow
def test_a_script_that_asks_for_runs_is_not_run_again_in_each_of_them(tmp_path):
    """The warm engine forks its runs: without a guard, each would run the script from the top."""
    script = tmp_path / "script.py"
    script.write_text(f"""
import ablations
print("begins", flush=True)
question = ablations.load("quickstart", {TINY!r})
print(len(ablations.run(question, store="runs", devices=["cpu"], engine="warm").undone))
""")
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("begins\n0\n", "")
