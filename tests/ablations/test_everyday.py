"""Everyday use of the command line: trials, names, listings, what a spec says, completion."""

import json
import os
import subprocess
import sys

import jsonschema
import pytest
import yaml
from everyday import command_line, make_work

from ablations.registry import list_ablations
from ablations.spec_schema import base_schema, question_schema
from bench.data.packs import space
from bench.settings.yaml_file import load_yaml
from bench.spec import TrainSpec

TRAIN = ("q.yaml", "--data", "mine")


@pytest.fixture
def cli(monkeypatch, capsys):
    return command_line(monkeypatch, capsys)


@pytest.fixture
def work(tmp_path):
    return make_work(tmp_path)


def listed(cli, work, *words):
    return json.loads(cli("runs", "list", "--json", *words, cwd=work).stdout)


def test_a_run_ends_with_the_answer_and_the_scores(work, cli):
    done = cli("run", *TRAIN, cwd=work)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "report: out/q/index.html"
    (best,) = [line for line in lines if line.startswith("best: ")]
    rows = {row["variant"]: row for row in listed(cli, work)}
    highest = max(row["miou"] for row in rows.values())
    assert rows[best.split()[1].strip(":")]["miou"] == highest
    assert f"mIoU {100 * highest:.1f}" in best
    table = {line.split()[0]: line for line in lines[lines.index(best) :]}
    for name, row in rows.items():
        assert f" {100 * row['miou']:.1f} " in table[name]
    assert any("evaluation included (by a timed step)" in line for line in lines)

    # A second seed is foreseen by what the first took, and a run is named as its question names it.
    checked = cli("check", *TRAIN, "--set", "seeds=[0, 1]", cwd=work)
    assert "6 runs, 3 to do, about" in checked.stdout
    assert "by this store's past runs" in checked.stdout
    shown = json.loads(cli("runs", "show", "q/fine/0", "--json", cwd=work).stdout)
    assert shown["id"] == rows["fine"]["id"]
    assert shown["names"] == ["q/fine/0"]
    wrong = cli("runs", "show", "q/fin/0", cwd=work)
    assert wrong.returncode == 65
    assert "did you mean 'q/fine/0'" in wrong.stderr


def test_a_trial_has_ids_of_its_own_and_is_called_so_everywhere(work, cli):
    whole = {row["variant"]: row["id"] for row in json.loads(
        cli("check", *TRAIN, "--json", cwd=work).stdout)}  # fmt: skip
    tried = cli("run", *TRAIN, "--only", "fine", "--limit-images", "1", cwd=work)
    assert tried.returncode == 0, tried.stderr
    rows = listed(cli, work)
    assert {row["variant"] for row in rows} == {"coarse", "fine"}  # what it starts from comes along
    assert not {row["id"] for row in rows} & set(whole.values())
    assert {row["trial"] for row in rows} == {1}
    assert "done (trial)" in cli("runs", "list", cwd=work).stdout
    assert "trial: no more than 1 image of each split were used" in tried.stdout
    table = (work / "out/q-trial-part/runs.csv").read_text()
    assert table.count("trial: no more than 1 image") == 2
    result = json.loads(next((work / "runs").glob("??/*/result.json")).read_text())
    assert result["num_images"] == 1
    assert not (work / "out/q").exists()
    again = cli("report", *TRAIN, "--only", "f*", "--limit-images", "1", cwd=work)
    assert again.returncode == 0
    ended = cli("run", *TRAIN, "--only", "fin", cwd=work)
    assert ended.returncode == 65
    assert "--only: unknown variant 'fin'; did you mean 'fine'?" in ended.stderr


def test_runs_are_found_by_what_they_are(work, cli):
    assert cli("run", *TRAIN, "--set", "seeds=[0, 1]", cwd=work).returncode == 0

    def found(*words):
        return sorted((row["variant"], row["seed"]) for row in listed(cli, work, *words))

    assert len(found()) == 6
    assert found("--variant", "fine") == [("fine", 0), ("fine", 1)]
    assert found("--variant", "[cf]*", "--where", "seed=1") == [("coarse", 1), ("fine", 1)]
    assert found("--where", "model.skip=fcn8s") == [("other", 0), ("other", 1)]
    assert found("--where", "train.crop=[64, 64]", "--where", "train.lr=0.001") == found()
    assert found("--ablation", "p") == found("--state", "failed") == []
    assert found("--ablation", "q", "--state", "done") == found()
    for words, said in (
        (("--state", "dne"), "unknown state 'dne'; did you mean 'done'?"),
        (("--where", "model.skp=fcn8s"), "skp"),
        (("--where", "train.steps=many"), "train.steps"),
    ):
        ended = cli("runs", "list", *words, cwd=work)
        assert ended.returncode == 65
        assert said in ended.stderr
    none = cli("runs", "list", "--state", "failed", cwd=work).stdout
    assert none == "there is no run in runs that all of this fits\n"
    whole = cli("runs", "verify", cwd=work).stdout
    assert whole == "6 runs in runs: every file is as it was written\n"
    pruned = cli("runs", "prune", "q/other/0", "q/fine/1", cwd=work)
    assert pruned.returncode == 0, pruned.stderr
    assert found() == [("coarse", 0), ("coarse", 1), ("fine", 0), ("other", 1)]


def test_runs_go_to_a_colleague(work, cli):
    assert cli("run", *TRAIN, "--only", "coarse", cwd=work).returncode == 0
    sent = cli("runs", "export", "q/coarse/0", "--to", "it.tar", cwd=work)
    assert sent.returncode == 0, sent.stderr
    taken = cli("runs", "import", "it.tar", "--runs", "theirs", cwd=work)
    assert taken.returncode == 0, taken.stderr
    assert "(q/coarse/0): imported" in taken.stdout
    told = cli("report", "q.yaml", "--only", "coarse", "--runs", "theirs", "--out", "o", cwd=work)
    assert told.returncode == 0, told.stderr
    assert "done" in (work / "o/runs.csv").read_text()


def test_a_large_pack_is_told_before_it_is_written(work, cli, monkeypatch):
    monkeypatch.setattr(space, "LARGE_BYTES", 1000)
    checked = cli("check", *TRAIN, cwd=work)
    assert checked.returncode == 0
    (line,) = [line for line in checked.stderr.splitlines() if "decoded into" in line]
    pack = next((work / "runs/packs").iterdir())
    assert str(pack.relative_to(work)) in line
    size = sum(path.stat().st_size for path in pack.glob("*.bin"))
    assert "for 6 images" in line
    said = float(line.split("about ")[1].split()[0]) * 1024
    assert said == pytest.approx(size, rel=0.2)  # by four of six images of different sizes
    assert "decoded into" not in cli("check", *TRAIN, cwd=work).stderr  # it is there


def test_a_spec_is_explained_by_what_differs(work, cli):
    values = json.loads(cli("explain", "q.yaml", "--set", "seeds=[3]", "--json", cwd=work).stdout)
    assert values["seeds"] == [3]
    assert values["shared"]["train.crop"] == [64, 64]
    assert "train.flip" not in values["shared"]  # a default
    assert values["differences"] == {
        "model.skip": {"coarse": "fcn32s", "fine": "fcn16s", "other": "fcn8s"},
        "train.init_from": {"coarse": None, "fine": "coarse", "other": None},
    }
    said = cli("explain", "q.yaml", cwd=work).stdout
    assert "Does a skip help" in said
    whole = json.loads(cli("explain", "q.yaml", "--variant", "fine", "--json", cwd=work).stdout)
    assert whole["model.skip"] == "fcn16s"
    assert whole["train.flip"] is True
    assert cli("explain", "q.yaml", "--variant", "x", cwd=work).returncode == 65


@pytest.mark.parametrize("path", list_ablations().values(), ids=list_ablations())
def test_the_schema_takes_every_question_that_we_ask(path):
    validator(question_schema()).validate(load_yaml(path))


def validator(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("common: {model: {skp: fcn8s}}", ["common", "model"]),
        ("common: {model.skp: fcn8s}", ["common"]),
        ("variants: {a: {train.steps: many}}", ["variants", "a", "train.steps"]),
        ("variants: {a: {train: {steps: -1}}}", ["variants", "a", "train", "steps"]),
        ("grid: {train.precision: [lion]}", ["grid", "train.precision", 0]),
        ("sedes: [0]", []),
        ("adjust: [{when: {seed: 0}, set: {model.skp: 1}}]", ["adjust", 0, "set"]),
    ],
)
def test_the_schema_refuses_what_we_refuse(text, place):
    values = {"question": "Why?", **yaml.safe_load(text)}
    errors = list(validator(question_schema()).iter_errors(values))
    assert errors
    best = jsonschema.exceptions.best_match(errors)
    assert list(best.absolute_path) == place


def test_names_are_offered_and_others_taken():
    schema = question_schema({"model.skip": ["fcn8s"]})
    offered = schema["$defs"]["ModelSpec"]["properties"]["skip"]["anyOf"][0]
    assert offered == {"enum": ["fcn8s"]}
    values = {"question": "Why?", "variants": {"a": {"model.skip": "a_plugins"}}}
    validator(schema).validate(values)
    base = {"base": "camvid/base", "data.options.size": 3, "evaluate.watch_every": 3}
    validator(base_schema()).validate(base)


def test_every_spelling_of_a_lever_passes():
    levers = {
        "loss": {"name": "focal", "gamma": 3},
        "optimizer": {"name": "lamb", "betas": [0.9, 0.98]},
        "class_weights": {"name": "effective_number", "beta": 0.9},
        "select": {"name": "best", "patience": 3},
        "augment": [{"name": "RandomRotation", "degrees": 10}, "Grayscale"],
        "freeze": "backbone",
    }
    assert TrainSpec.model_validate(levers).class_weights == "effective_number(beta=0.9)"
    check = validator(question_schema()).validate
    check({"question": "Why?", "variants": {"a": {"train": levers}}})
    for value in ({"dice": 1, "cross_entropy": 0.5}, "dice"):
        check({"question": "Why?", "variants": {"a": {"train.loss": value}}})


def test_a_schema_is_written_over_nothing_but_a_schema(work, cli):
    (work / "mine.json").write_text("{}")
    assert cli("schema", "--out", "mine.json", cwd=work).returncode == 65
    assert (work / "mine.json").read_text() == "{}"
    for _ in range(2):
        done = cli("schema", "base", "--out", "ours.json", cwd=work)
        assert done.returncode == 0, done.stderr
    assert "# yaml-language-server: $schema=ours.json" in done.stdout
    assert "model.skip" in json.loads((work / "ours.json").read_text())["properties"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fcn-bench expl", "explain"),
        ("fcn-bench explain quickst", "quickstart"),
        ("fcn-bench check q", "q.yaml"),
        ("fcn-bench runs show q/fi", "q/fine/0"),
        ("fcn-bench predict q/fi", "q/fine/0"),
    ],
)
def test_a_shell_completes_commands_specs_and_runs(work, line, offered):
    from bench.store.run_names import RunName
    from bench.store.runs import Store

    store = Store(work / "runs")
    store.begin()
    store.names.add([("0" * 16, RunName("q", "fine", 0))])
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    environment = os.environ | words | {"_FCN_BENCH_COMPLETE": "complete_bash"}
    code = "import sys; sys.argv[0] = 'fcn-bench'; from ablations.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=work, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert offered in done.stdout.split()
