"""Claims on their way to a report: refused early, left out with a word, noted, and tested for."""

import json

import pytest
from typer.testing import CliRunner

from ablations.cli import app
from fcn.errors import InputError

SPEC = """
question: Do finer skips help?
common:
  model: {backbone: test_resnet, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 8, num_val: 2, num_test: 8}}
  train: {steps: 2, batch_size: 2}
grid: {model.skip: [fcn32s, fcn16s]}
seeds: [0, 1]
claims:
  - num_parameters of fcn32s <= fcn16s
  - CLAIM
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command line: call(claim, *words) -> result; the spec claims this."""
    monkeypatch.chdir(tmp_path)

    def run(claim, *words):
        (tmp_path / "q.yaml").write_text(SPEC.replace("CLAIM", claim))
        return CliRunner().invoke(app, list(words))

    return run


def test_a_claim_that_cannot_be_judged_is_refused_before_anything_is_made(call, tmp_path):
    result = call("fcn8s > fcn32s", "run", "q.yaml")
    assert isinstance(result.exception, InputError)
    assert "did you mean 'fcn32s'" in str(result.exception)
    assert not (tmp_path / "runs").exists()


def test_a_claim_about_what_set_leaves_out_is_left_out_with_a_word(call):
    words = ("check", "q.yaml", "--set", "grid.model.skip=[fcn32s]")
    result = call("fcn16s > fcn32s", *words)
    assert result.exit_code == 0, result.output
    assert "not judged, since --set changed the question" in result.output


def test_a_claim_about_what_a_variant_does_not_count_is_refused(call, tmp_path):
    """One of the two would have no such score, which showed once all was trained."""
    variants = "variants:\n  fcn32s: {model.skip: fcn32s}\n  fcn16s: {COUNT}\n"
    counted = SPEC.replace("grid: {model.skip: [fcn32s, fcn16s]}\n", variants)
    for claim in ("fcn16s < fcn32s in ece", "fcn16s < fcn32s in image_nll"):
        for count, refused in (("evaluate.calibration: true", True), ("", True)):
            (tmp_path / "q.yaml").write_text(
                counted.replace("CLAIM", claim).replace("COUNT", count)
            )
            result = CliRunner().invoke(app, ["check", "q.yaml", "--seconds", "0"])
            assert isinstance(result.exception, InputError) == refused
            assert "common: {evaluate.calibration: true}" in str(result.exception)
    (tmp_path / "q.yaml").write_text(
        counted.replace("common:", "score: {primary: boundary_miou}\ncommon:")
        .replace("CLAIM", "fcn16s > fcn32s")
        .replace("COUNT", "evaluate.boundary: true")
    )
    result = CliRunner().invoke(app, ["check", "q.yaml", "--seconds", "0"])
    assert "some variants do not ask for it (fcn32s)" in str(result.exception)


def test_claims_that_must_hold_decide_the_exit_code_and_are_noted_before_the_runs(call, tmp_path):
    made = call("fcn16s > fcn32s by 0.9", "run", "q.yaml", "--devices", "cpu")
    assert made.exit_code == 0, made.output
    noted = json.loads((tmp_path / "runs" / "claims.json").read_text())
    assert len(noted["q"]) == 2
    table = (tmp_path / "out" / "q" / "tables" / "claims.csv").read_text()
    assert "before its runs" in table
    must = ("report", "q.yaml", "--claims-must-hold")
    refused = call("fcn16s > fcn32s by 0.9", *must)
    assert refused.exit_code == 4, refused.output
    assert "1 of 2 claims are not held" in refused.output
    held = call("num_parameters of fcn32s <= 2 * fcn16s", *must)
    assert held.exit_code == 0, held.output
    none = call("fcn16s > fcn32s", "report", "q.yaml", "--claims-must-hold", "--set", "claims=[]")
    assert isinstance(none.exception, InputError)
    assert "claims nothing" in str(none.exception)


def test_a_question_of_one_seed_learns_from_another_how_far_seeds_spread(tmp_path, monkeypatch):
    """Named by a path beside it; before that has run, and where it is none, the page says so."""
    monkeypatch.chdir(tmp_path)
    spec = SPEC.partition("seeds:")[0]
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "wide.yaml").write_text(f"{spec}seeds: [0, 1]\n")
    (tmp_path / "specs" / "one.yaml").write_text(f"{spec}spread_of: wide.yaml\n")

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return (tmp_path / "out" / "one" / "index.html").read_text() if "one" in words[1] else ""

    before = run("run", "specs/one.yaml", "--devices", "cpu")
    assert "is unknown: one seed tells nothing of how far seeds spread. wide has no two" in before
    run("run", "specs/wide.yaml", "--devices", "cpu")
    assert "if seeds spread here as in wide, in points" in run("report", "specs/one.yaml")
    (tmp_path / "specs" / "one.yaml").write_text(f"{spec}spread_of: wied.yaml\n")
    result = CliRunner().invoke(app, ["check", "specs/one.yaml"])
    assert "wied.yaml does not exist" in str(result.exception or result.output)


def test_stages_that_start_from_one_another_are_steps_of_one_factor(call, tmp_path):
    """The name of a parent differs with the skip: it is no context of its own."""
    staged = SPEC.replace(
        "grid: {model.skip: [fcn32s, fcn16s]}",
        "variants:\n  coarse: {model.skip: fcn32s}\n"
        "  fine: {model.skip: fcn16s, train.init_from: coarse}",
    ).replace("  - num_parameters of fcn32s <= fcn16s\n", "")
    (tmp_path / "staged.yaml").write_text(staged.replace("CLAIM", "fcn16s > fcn32s"))
    result = CliRunner().invoke(app, ["check", "staged.yaml"])
    assert result.exit_code == 0, result.exception or result.output
