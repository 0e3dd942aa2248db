"""The way out that a message names works as printed: its commands are there, and run."""

import ast
import re
import shlex
import shutil
import sys
from pathlib import Path

import click
import pytest
import typer

from ablations.cli import app, main
from ablations.planning import plan_spec
from bench.data.catalog import Catalog, open_data
from bench.grid.disk_space import DiskSpace
from bench.plan import Run
from bench.plugins import named_plugins
from bench.run.predict import predict
from bench.run.weights import load_parent
from bench.spec import RunSpec, parse
from bench.store.runs import Result, Store
from fcn.errors import InputError

ROOT = Path(__file__).parent.parent.parent
FOREIGN = {"--abbrev", "--always", "--dirty", "--error-unmatch", "--head", "--status", "--port"}
FOREIGN |= {"--query-gpu", "--format"}
FOREIGN |= {"--force-reinstall", "--no-deps"}
FOREIGN |= {"--grids", "--processes", "--worlds", "--designs", "--sections"}
"""Options of git, Ray, pip, nvidia-smi and `python -m reports.simulate`."""


def messages():
    """Yield every text of the code that is no docstring, values in it as `X`: (file, text)."""
    for package in ("ablations", "bench", "fcn", "reports"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            parts, docs = set(), set()
            for node in ast.walk(tree):
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                    docs.add(node.value)
                if isinstance(node, ast.JoinedStr):
                    parts |= set(ast.walk(node)) - {node}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    texts = [v.value if isinstance(v, ast.Constant) else "X" for v in node.values]
                    yield path, "".join(texts)
                elif isinstance(node, ast.Constant) and node not in parts | docs:
                    yield path, str(node.value)


def commands(group=None, name=()):
    """Yield every command: (its words, its options)."""
    group = group or typer.main.get_command(app)
    yield name, {option for one in group.params for option in (*one.opts, *one.secondary_opts)}
    for word, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*name, word))


COMMANDS = dict(commands())
OPTIONS = {option for options in COMMANDS.values() for option in options} | {"--help"}


def test_every_option_in_a_message_is_one():
    assert len(OPTIONS) > 30
    found = {
        (path.name, option)
        for path, text in messages()
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)
    }
    assert len(found) > 20
    assert {pair for pair in found if pair[1] not in OPTIONS | FOREIGN} == set()


def test_every_command_in_a_message_is_one_and_has_the_options_that_follow():
    found = [
        (path.name, shlex.split(line))
        for path, text in messages()
        for line in re.findall(r"`(fcn-bench [^`]*)`", text)
        + [f"fcn-bench {words}" for words in re.findall(r"^((?:runs|data) [a-z]+\b[^`]*)$", text)]
    ]
    assert len(found) > 5
    for name, (_, *words) in found:
        named = tuple(word for word in words if not word.startswith("-"))
        known = [named[:n] for n in (2, 1) if named[:n] in COMMANDS]
        assert known or words[0] in ("XX", "--help"), (name, words)
        options = {word for word in words if word.startswith("--")} - {"--help"}
        assert not known or options <= COMMANDS[known[0]], (name, words)


@pytest.fixture(params=["runs", "my 'runs'"])
def store(request, tmp_path, monkeypatch):
    """A store in the usual folder, and one elsewhere whose name a shell would take apart."""
    monkeypatch.chdir(tmp_path)
    return Store(Path(request.param))


@pytest.fixture
def follow(monkeypatch, store):
    """Run the command that a message holds, as printed; return it."""

    def run(message):
        (line,) = re.findall("`(fcn-bench .*?)`", message)
        assert ("--runs" in line) == (store.root != Path("runs"))
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return line

    return run


def made(store, **more):
    """A run with its data in the store: (run, folder)."""
    options = {"size": 32, "num_train": 2, "num_val": 1, "num_test": 1}
    values = {
        "data": {"dataset": "shapes", "options": options},
        "model": {"backbone": "test_resnet", "skip": "fcn32s"},
        "train": {"steps": 1},
    }
    spec = parse(RunSpec, values | more, where="made")
    run = Run(spec, Catalog(store, None).pack(spec.data).fingerprint)
    return run, store.prepare(run)


def test_the_ids_of_runs_are_shown_to_who_names_none(store, follow, capsys):
    run, _ = made(store)
    with pytest.raises(InputError, match="no run in") as error:
        store.find("ffffffffffff")
    follow(str(error.value))
    assert run.id in capsys.readouterr().out.replace("\n", "")


def test_a_run_that_is_not_finished_is_shown_as_such(store, follow, capsys):
    run, _ = made(store)
    with pytest.raises(InputError, match="is not finished") as error:
        next(predict(store, run.id, [], None))
    follow(str(error.value))
    assert "missing" in capsys.readouterr().out


def test_a_damaged_spec_is_gone_after_pruning_and_made_again(store, follow):
    run, folder = made(store)
    (folder / "spec.yaml").write_text("{")
    with pytest.raises(InputError, match="is damaged") as error:
        store.run(run.id)
    assert f"prune {run.id}" in follow(str(error.value))
    assert not folder.exists()
    store.prepare(run)
    assert store.run(run.id) == run


def test_a_parent_whose_weights_are_damaged_is_gone_after_pruning(store, follow):
    run, folder = made(store)
    (folder / "model.safetensors").write_bytes(b"damaged")
    digests = {"model.safetensors": "0" * 64}
    values = ("test", 1, ("a",), ((0, 0, 0),), [[1]], 1, 1.0, 1.0, {}, digests, "")
    store.publish(Result(run.id, run.to_json(), *values))
    with pytest.raises(InputError, match="is damaged") as error:
        load_parent(store, run.id)
    follow(str(error.value))
    assert store.status(run.id) == "missing"
    assert not folder.exists()


def test_room_is_made(store, follow):
    _, folder = made(store)
    left = folder / "quarantine" / "checkpoint-000000001.json"
    left.parent.mkdir()
    left.write_text("damaged, and set aside")
    shortage = DiskSpace(store.root, 2**60).shortage()
    follow(shortage)
    assert not left.exists()


def test_a_dataset_that_is_not_in_the_store_is_decoded(store, follow):
    run, _ = made(store)
    shutil.rmtree(store.packs_dir)
    with pytest.raises(InputError, match="is not decoded") as error:
        open_data(store, run)
    follow(str(error.value))
    assert open_data(store, run).fingerprint == run.fingerprint


SPEC = """
question: q
common:
  model: {backbone: test_resnet, skip: fcn32s, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 2, num_val: 1, num_test: 1}}
  train: {steps: 1, batch_size: 2}
variants: {a: {}}
"""


def test_the_command_on_a_page_makes_the_same_plan(store, monkeypatch):
    """Settings and plugins are in it; the store and the folder of the images are the reader's."""
    Path("my q.yaml").write_text(SPEC)
    monkeypatch.setattr("ablations.planning.named_plugins", lambda: ["my parts.py"])
    plan, _ = plan_spec("my q.yaml", store, None, ["train.lr=0.5"])
    assert shlex.split(plan.command) == [
        *("fcn-bench", "run", "my q.yaml", "--set", "train.lr=0.5", "--plugin", "my parts.py")
    ]
    assert named_plugins() == []
    with click.Context(typer.main.get_command(app)) as context:
        command = context.command.get_command(context, "run")
        command.make_context("run", shlex.split(plan.command)[2:])


@pytest.mark.slow
@pytest.mark.parametrize("store", ["my 'runs'"], indirect=True)
def test_a_damaged_pack_that_is_deleted_as_asked_is_written_anew(store, monkeypatch, capsys):
    Path("q.yaml").write_text(SPEC)

    def run():
        words = ["run", "q.yaml", "--runs", str(store.root), "--engine", "local"]
        monkeypatch.setattr(sys, "argv", ["fcn-bench", *words, "--devices", "cpu"])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0

    spec = plan_spec("q.yaml", store, None, None)[0].runs[0].run.spec
    folder = Catalog(store, None).pack(spec.data).folder
    content = bytearray((folder / "images.bin").read_bytes())
    content[100:108] = b"XXXXXXXX"
    (folder / "images.bin").write_bytes(content)
    assert run() == 1
    said = capsys.readouterr().out
    assert f"{folder} is damaged or of another version" in said
    shutil.rmtree(folder)
    assert run() == 0
