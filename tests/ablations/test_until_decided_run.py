"""`run --until-decided` on a question of seconds: looks taken, kept, gone on with, and reported."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import ablations
from ablations.cli import app
from fcn.errors import InputError

SPEC = """
question: Do finer skips help?
common:
  model: {backbone: test_resnet, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 8, num_val: 2, num_test: 8}}
  train: {steps: 2, batch_size: 2, lr: 0.05}
variants:
  coarse: {model.skip: fcn32s}
  fine: {model.skip: fcn16s, train.init_from: coarse}
seeds: [5]
claims:
  - num_parameters of coarse <= fine
  - fine > coarse by 0.9
  - train_seconds of fine <= 1.0001 * coarse
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command line on the question: call(*words) -> result."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.yaml").write_text(SPEC)

    def run(*words):
        return CliRunner().invoke(app, [words[0], "q.yaml", *words[1:]])

    return run


@pytest.mark.timeout(600)
def test_seeds_are_added_and_looks_are_reported_by_every_command(call, tmp_path):
    words = ("run", "--until-decided", "--max-seeds", "4", "--devices", "cpu")
    made = call(*words)
    assert made.exit_code == 0, made.exception or made.output
    kept = (tmp_path / "runs" / "looks.json").read_bytes()
    ((looks,),) = (own.values() for own in json.loads(kept).values())
    assert looks["seeds"] == [5, 0, 1, 2]
    assert f"look {len(looks['looks'])}, up to" in made.output
    assert list(looks["looks"][-1]["words"].values())[:2] == ["held", "not held"]
    again = call(*words)
    assert again.exit_code == 0, again.exception or again.output
    assert (tmp_path / "runs" / "looks.json").read_bytes() == kept
    rows = pd.read_csv(tmp_path / "out" / "q" / "tables" / "claims.csv")
    assert rows["decided_at"][:2].tolist() == [1, 1]
    reported = call("report", "--out", "told")
    assert reported.exit_code == 0, reported.exception or reported.output
    told = pd.read_csv(tmp_path / "told" / "tables" / "claims.csv")
    pd.testing.assert_frame_equal(told, rows)
    seeds = looks["looks"][-1]["seeds"]
    listed = call("check", "--json").stdout
    planned = json.loads(listed[listed.index("[\n") :])
    assert len(planned) == sum(seeds.values())


@pytest.mark.slow
def test_from_python_the_same_looks_are_taken(call, tmp_path):
    asked = {"store": "runs", "devices": ["cpu"], "max_seeds": 3}
    outcome = ablations.run("q.yaml", **asked)
    assert outcome.undone == ()
    assert {planned.run.spec.seed for planned in outcome.plan.runs} == {5, 0, 1}
    kept = (tmp_path / "runs" / "looks.json").read_bytes()
    noted = json.loads((tmp_path / "runs" / "claims.json").read_bytes())
    assert len(noted["q"]) == 3  # before the first step, as the command notes them
    again = call("run", "--until-decided", "--max-seeds", "3", "--devices", "cpu")
    assert again.exit_code == 0, again.exception or again.output
    assert (tmp_path / "runs" / "looks.json").read_bytes() == kept
    with pytest.raises(InputError, match="the first look is at 3 seeds"):
        ablations.run("q.yaml", store="other", max_seeds=2)


def test_what_the_options_lack_is_said_before_anything_is_made(call, tmp_path):
    for words, said in (
        (("--until-decided",), "--max-seeds N"),
        (("--max-seeds", "4"), "give both"),
        (("--until-decided", "--max-seeds", "2"), "the first look is at 3 seeds"),
        (("--until-decided", "--max-seeds", "4", "--only", "coarse"), "not both"),
        (("--until-decided", "--max-seeds", "4", "--set", "claims=[]"), "claims nothing"),
    ):
        refused = call("run", *words)
        assert isinstance(refused.exception, InputError), refused.output
        assert said in str(refused.exception)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_shows_the_first_look(call):
    shown = call("run", "--until-decided", "--max-seeds", "4", "--dry-run")
    assert shown.exit_code == 0, shown.exception or shown.output
    assert "6 runs, 6 to do" in shown.output
