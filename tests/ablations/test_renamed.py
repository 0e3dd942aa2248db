"""Keys that have another name today: read under both, refused under both at once, ids as before."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ablations.cli import app
from ablations.expand import specs_of
from ablations.registry import load_ablation
from bench.metrics import summarize
from bench.settings.keys import RENAMED
from bench.spec import RunSpec
from bench.store.runs import Store
from fcn.errors import InputError

BEFORE = Path(__file__).parents[1] / "stores" / "0.1"
"""A store and its question as version 0.1 wrote them."""

DONE, STOPPED = "320973cd0f14e58f", "14dda9ea03d5a9af"

SPEC = """
question: What?
common: {model: {backbone: resnet18}, COMMON}
variants:
  a: {model.skip: fcn32s}
  train: {VARIANT}
"""


@pytest.fixture
def spec(tmp_path):
    def write(common="train: {steps: 1}", variant="train.lr: 1.0"):
        path = tmp_path / "q.yaml"
        path.write_text(SPEC.replace("COMMON", common).replace("VARIANT", variant))
        return path.as_posix()

    return write


def test_every_earlier_name_stands_for_a_key():
    for old, new in RENAMED.items():
        section, key = new.split(".")
        fields = RunSpec.model_fields[section].annotation.model_fields
        assert key in fields
        assert old.split(".")[1] not in fields


@pytest.mark.parametrize(
    "texts",
    [
        {"common": "train: {steps: 1, accumulate: 3}"},
        {"common": "train.steps: 1, train.accumulate: 3"},
        {"common": "train: {steps: 1}, evaluate.watch_every: 0", "variant": "train.accumulate: 3"},
        {"variant": "train: {accumulate: 3}"},
    ],
)
def test_an_earlier_name_is_read_and_said_in_a_line(spec, texts):
    ablation = load_ablation(spec(**texts))
    assert specs_of(ablation)["train"].train.grad_accum_steps == 3
    told = [text for text in ablation.notices if "train.accumulate" in text]
    assert told == [
        f"{spec(**texts)}: train.accumulate is called train.grad_accum_steps today; the earlier "
        "name is still read"
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.accumulate", 3),
        ("common.train.accumulate", 3),
        ("variants.train.train.accumulate", 3),
        ("train", {"accumulate": 3}),
    ],
)
def test_set_takes_an_earlier_name_wherever_it_takes_a_key(spec, key, value):
    ablation = load_ablation(spec(), {key: value})
    assert specs_of(ablation)["train"].train.grad_accum_steps == 3
    assert any(text.startswith("--set: train.accumulate") for text in ablation.notices)


def test_a_grid_over_an_earlier_name_is_over_todays(tmp_path):
    path = tmp_path / "q.yaml"
    path.write_text(
        "question: What?\ncommon: {train.steps: 1}\n"
        "grid: {train.accumulate: [1, 2]}\nexclude: [{train.accumulate: 1}]\n"
        "adjust: [{when: {train.accumulate: 2}, set: {evaluate.watch_every: 7}}]\n"
    )
    specs = specs_of(load_ablation(path.as_posix()))
    assert {name: s.evaluate.eval_every for name, s in specs.items()} == {"2": 7}


@pytest.mark.parametrize(
    "texts",
    [
        {"common": "train: {steps: 1, accumulate: 3, grad_accum_steps: 3}"},
        {"common": "train: {steps: 1, accumulate: 3}", "variant": "train.grad_accum_steps: 2"},
        {"common": "evaluate.watch_split: val, evaluate: {eval_split: val}"},
    ],
)
def test_both_names_in_one_spec_are_refused(spec, texts):
    said = r"q\.yaml: '.*' is the earlier name of '.*', and both are given; keep"
    with pytest.raises(InputError, match=said):
        load_ablation(spec(**texts))


def test_what_names_nothing_is_still_refused(spec):
    with pytest.raises(InputError, match="unknown key 'acumulate'"):
        specs_of(load_ablation(spec(variant="train.acumulate: 3")))


@pytest.fixture
def before(tmp_path, monkeypatch):
    shutil.copytree(BEFORE, tmp_path / "before")
    monkeypatch.chdir(tmp_path / "before")
    return Store(Path("runs"))


def call(*words):
    result = CliRunner().invoke(app, [*words, "--runs", "runs"])
    assert result.exit_code == 0, result.output
    return result.output


class TestStoreOfVersion01:
    def test_its_records_are_read_under_todays_names(self, before):
        spec = before.run(STOPPED).spec
        assert (spec.train.grad_accum_steps, spec.evaluate.eval_every) == (2, 100)
        result = before.result(DONE)
        assert summarize(result.confusion).miou == pytest.approx(0.1555, abs=5e-5)
        assert before.run(DONE).to_json()["spec"]["train"]["grad_accum_steps"] == 2
        assert len(before.logs(DONE)) == 202  # 200 steps, and val scored twice

    def test_its_question_has_the_ids_that_it_had(self, before):
        listed = call("check", "question.yaml", "--json")
        rows = json.loads(listed[listed.index("[\n") :])
        states = {row["id"]: row["state"] for row in rows}
        assert states[DONE] == "done"
        assert states[STOPPED] == "stopped"
        assert len(states) == 3

    def test_its_files_are_whole(self, before):
        call("runs", "verify")

    @pytest.mark.slow
    def test_it_is_gone_on_with_to_a_report(self, before):
        """The run that was stopped half way goes on; one more starts from what was done."""
        said = call("run", "question.yaml", "--out", "out", "--engine", "local")
        assert "the earlier name is still read" in " ".join(said.split())
        assert [before.status(run_id) for run_id in before.run_ids()] == ["done"] * 3
        went_on = before.result(STOPPED)
        assert not [note for note in went_on.notes if "damaged" in note]
        assert [row["step"] for row in before.logs(STOPPED) if "loss" in row] == [*range(1, 201)]
        assert Path("out/index.html").is_file()
