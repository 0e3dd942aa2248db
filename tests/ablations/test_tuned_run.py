"""A question whose variants are tuned, as commands run it: plan, tune, plan, and its report."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import ablations
from ablations.cli import app
from bench.store.runs import Store
from fcn.errors import InputError

SPEC = """
question: Do finer skips help, each at its own rate?
common:
  model: {backbone: test_resnet, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 8, num_val: 4, num_test: 8}}
  train: {steps: 4, batch_size: 2}
  evaluate: {eval_every: 2}
variants:
  coarse: {model.skip: fcn32s}
  fine: {model.skip: fcn16s, train.init_from: coarse}
tune: {train.lr: [1.0e-3, 0.05, 1.0e+6]}
seeds: [5, 1]
baseline: coarse
claims:
  - fine > coarse by 0.9
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command line: call(*words) -> result."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.yaml").write_text(SPEC)
    return lambda *words: CliRunner().invoke(app, list(words))


def good(result):
    assert result.exit_code == 0, result.exception or result.output
    return result.output


def test_before_it_is_run_everything_tells_what_will_be(call, tmp_path):
    rows = json.loads(call("check", "q.yaml", "--json").stdout)
    states = [row["state"] for row in rows]
    assert states == ["missing"] * 3 + ["once tuned"] * (3 + 2)
    assert [bool(row["id"]) for row in rows] == [True] * 3 + [False] * 5
    shown = good(call("run", "q.yaml", "--dry-run", "--devices", "cpu"))
    assert "8 runs, 8 to do (6 of them choose, 3 for each variant)" in shown
    assert not (tmp_path / "out").exists()
    good(call("report", "q.yaml"))
    summary = pd.read_csv(tmp_path / "out" / "q" / "summary.csv")
    assert summary["num_done"].tolist() == [0, 0]
    refused = call("report", "q.yaml", "--watch").exception
    assert isinstance(refused, InputError)
    assert "values are still to be chosen for coarse, fine" in str(refused)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_tuned_question_is_run_reported_and_reported_again(call, tmp_path):
    words = ("run", "q.yaml", "--devices", "cpu", "--smoke")
    said = good(call(*words))
    assert "chosen by split val: coarse train.lr=" in said
    out = tmp_path / "out" / "q"
    table = pd.read_csv(out / "tables" / "tuning.csv")
    assert table.groupby("variant")["is_chosen"].sum().tolist() == [1, 1]
    best = table.groupby("variant")["miou"].max()
    assert table[table["is_chosen"]].set_index("variant")["miou"].to_dict() == best.to_dict()
    assert table["why"].str.startswith("nonfinite").sum() == 2
    runs = pd.read_csv(out / "runs.csv")
    assert runs["status"].tolist() == ["done"] * 4
    assert set(table[table["is_chosen"]]["run_id"]) == set(runs[runs["seed"] == 5]["run_id"])
    (claim,) = pd.read_csv(out / "tables" / "claims.csv").to_dict("records")
    assert claim["noted"] == "before its runs"
    page = (out / "index.html").read_bytes()
    assert b"<h3>Tuning</h3>" in page

    # Nothing is made again, and the same page follows from the store, and from its own folder.
    good(call(*words))
    assert (out / "index.html").read_bytes() == page
    good(call("report", "q.yaml", "--out", "told"))
    good(call("report", "--from", "out/q", "--out", "again"))
    for name in ("tables/tuning.csv", "tables/tuning.md", "summary.csv", "methods.md"):
        first = (out / name).read_text()
        assert (tmp_path / "told" / name).read_text() == first
        assert (tmp_path / "again" / name).read_text() == first
    assert "Chosen were: coarse train.lr=" in (out / "methods.md").read_text()

    # The order in which it is interrupted does not matter: what is missing is made.
    store = Store(tmp_path / "runs")
    chosen = table[table["is_chosen"]].iloc[0]
    (store.run_dir(chosen["run_id"]) / "result.json").unlink()
    assert "missing" in good(call("check", "q.yaml"))
    good(call(*words))
    again = pd.read_csv(out / "tables" / "tuning.csv")
    assert again["is_chosen"].tolist() == table["is_chosen"].tolist()
    assert ablations.plan("q.yaml", store=store).tuning.open == ()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_python_and_looks_tune_first(call, tmp_path):
    outcome = ablations.run("q.yaml", store=tmp_path / "mine", devices=["cpu"])
    assert outcome.undone == ()
    assert set(outcome.plan.tuning.chosen) == {"coarse", "fine"}
    words = ("run", "q.yaml", "--runs", "mine", "--devices", "cpu", "--until-decided")
    said = good(call(*words, "--max-seeds", "3"))
    assert "look 1, up to 3 seeds: 1 not held" in said
    runs = pd.read_csv(tmp_path / "out" / "q" / "runs.csv")
    assert sorted(runs["seed"]) == [0, 0, 1, 1, 5, 5]
    rates = {one.run.spec.train.lr for one in outcome.plan.runs if one.variant == "fine"}
    assert len(rates) == 1
