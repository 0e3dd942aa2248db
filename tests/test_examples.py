"""Each file of docs/examples is run as its docstring says, and does what it says there.

An example of a part has in its docstring a question that uses the part (a `yaml` block, the text of
question.yaml) and the command that asks it (a `console` block). Files without such a question show
something else, and have tests of their own.
"""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from ablations.execution import check_plan
from ablations.planning import plan_spec
from bench import plugins
from bench.grid.engines import Request, create_engine
from bench.plugins import load_plugins
from bench.store.runs import Store
from fcn.errors import InputError
from fcn.registry import undone_on_error

ROOT = Path(__file__).parent.parent
KINDS = {"backbone", "skip", "head", "data_set", "engine", "external_net", "levers", "report_parts"}
"""What others may add parts of."""


def block(path, language):
    """Return a block of an example's docstring, or None."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    found = re.search(rf"```{language}\n(.*?)```", text, flags=re.S)
    return found and found[1]


FILES = sorted((ROOT / "docs" / "examples").glob("*.py"))
EXAMPLES = [path for path in FILES if block(path, "yaml")]
each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


def command(example):
    """Return the words of the one command, without the program's name."""
    prompt, program, *words = shlex.split(block(example, "console"))
    assert (prompt, program) == ("$", "fcn-bench")
    return words


def value(words, option):
    return words[words.index(option) + 1] if option in words else None


TINY = ["train.steps=2", "train.batch_size=2"]
FEW = [f"data.options.num_{split}=4" for split in ("train", "val", "test")]
"""Images drawn by `shapes`."""


def settings(texts):
    return [word for text in texts for word in ("--set", text)]


def dataset_of(example):
    return yaml.safe_load(block(example, "yaml"))["common"]["data"]["dataset"]


@pytest.fixture
def asked(example, tmp_path, monkeypatch):
    """Work in a folder that has the question and the examples, as the command names them."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "docs" / "examples", "docs/examples")
    Path("question.yaml").write_text(block(example, "yaml"))
    return tmp_path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store, where data are packed once."""
    return Store(tmp_path_factory.mktemp("runs"))


class UndoneError(Exception):
    pass


@contextmanager
def loaded(example, monkeypatch):
    """Load an example into this process, and take it back afterwards."""
    monkeypatch.setattr(plugins, "_LOADED", dict(plugins._LOADED))
    with suppress(UndoneError), plugins._nothing_left_on_error(str(example)), undone_on_error():
        load_plugins([str(example)])
        yield
        raise UndoneError


def test_every_kind_of_part_has_an_example():
    assert {path.stem for path in EXAMPLES} >= KINDS


@each_example
def test_its_command_names_it_and_the_question(example):
    words = command(example)
    assert words[:2] == ["run", "question.yaml"]
    assert value(words, "--plugin") == str(example.relative_to(ROOT))


@each_example
def test_its_question_is_planned_with_it_alone(example, asked, store, monkeypatch):
    """Every network is built without values, and the data are read; without it, they cannot be."""
    engine = value(command(example), "--engine") or "local"

    def plan():
        create_engine(engine, Request(store.root, devices=("cpu",)))
        plan, catalog = plan_spec("question.yaml", store, None, ["train.steps=2"])
        check_plan(plan, store, catalog)
        return {run.variant for run in plan.runs}

    with pytest.raises(InputError):
        plan()
    with loaded(example, monkeypatch):
        assert plan() == set(yaml.safe_load(block(example, "yaml"))["variants"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "example",
    [  # every third one in .ci/run, all of them in .ci/long
        pytest.param(path, marks=[pytest.mark.long] * bool(number % 3))
        for number, path in enumerate(EXAMPLES)
    ],
    ids=lambda path: path.stem,
)
def test_its_command_ends_well_and_gives_results(example, asked):
    words = [*command(example), *settings(TINY)]
    if dataset_of(example) == "shapes":
        words += settings(FEW)
    ended = subprocess.run(
        [sys.executable, "-m", "ablations.cli", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    question = yaml.safe_load(block(example, "yaml"))
    results = [json.loads(path.read_text()) for path in asked.glob("runs/??/*/result.json")]
    assert len(results) == len(question["variants"])
    for result in results:
        assert result["environment"]["plugins"].startswith(f"{asked / 'docs' / 'examples'}")
    page = (asked / "out" / "question" / "index.html").read_text()
    assert question["question"] in page
