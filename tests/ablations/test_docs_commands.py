"""Every command of the documentation: it parses, what it names is there, and it runs as printed."""

import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import documented
import pytest
import typer
from documented import ALL, ROOT, STORIES, UNRUN, make_world, prepare, words_of

from ablations.cli import app, main
from ablations.registry import list_ablations
from bench import plugins
from fcn.weights_folder import VARIABLE

from console import read_blocks  # isort: skip  # of the site, as is the next
from story import follow  # isort: skip

TREE = typer.main.get_command(app)
SPECS = set(list_ablations())


def parse(words):
    """Parse a command line as it would be, without running it; return what it asks for."""
    command, context, words = TREE, typer.Context(TREE, info_name="fcn-bench"), list(words)
    while words and words[0] in getattr(command, "commands", {}):
        name = words.pop(0)
        command = command.commands[name]
        if not getattr(command, "commands", {}):
            return name, command.make_context(name, words, parent=context).params
        context = typer.Context(command, info_name=name, parent=context)
    raise AssertionError(f"{words} begins with no command")


OURS = [
    (command, part)
    for command in ALL
    for part in command.parts
    if re.match(r"(\.venv/bin/)?fcn-bench ", part)
]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder, and undo what options do to the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")
    for name in ("weights", "WEIGHTS"):
        Path(name).mkdir()


@pytest.mark.parametrize(
    ("command", "part"), OURS, ids=[f"{command.page}-{command.line}" for command, _ in OURS]
)
def test_its_words_and_options_are_known_and_so_are_specs_of_ours(command, part, elsewhere):
    name, values = parse(shlex.split(part)[1:])
    specs = values.get("spec") or ()
    for spec in (specs,) if isinstance(specs, str) else specs:
        assert spec.endswith(".yaml") or spec in SPECS, f"{name}: no spec {spec}"


def test_commands_are_found_and_a_wrong_one_is_seen():
    assert len(OURS) > 60
    with pytest.raises(Exception, match="no-such"):
        parse(["run", "quickstart", "--no-such"])
    with pytest.raises(AssertionError, match="begins with no command"):
        parse(["trian", "quickstart"])


def inline():
    """Yield every command of ours that stands in a sentence or table: (page, text)."""
    for page in documented.PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
        for words in re.findall(r"`fcn-bench ([^`]+)`", text):
            yield page.name, words.replace("\\|", "|")


def test_commands_in_sentences_and_tables_name_what_there_is():
    found = list(inline())
    assert len(found) > 60
    for page, text in found:
        words = re.split(r"[\s|\[\]]+", text)
        command = TREE
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        placeholder = text.split()[0].isupper() or text.startswith("-")
        assert placeholder or command is not TREE, (page, text)
        assert options <= known | {"--help"} | {o for p in TREE.params for o in p.opts}, (
            page,
            text,
        )


def test_each_reason_not_to_run_a_command_is_of_one():
    for start in UNRUN:
        assert any(re.match(start, command.text) for command in ALL), start


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with what the pages take for given, a question's runs among it."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    with pytest.MonkeyPatch.context() as patch:
        run = plain_command_line(patch)
        run("run", "question.yaml", "--data", "mine", cwd=folder)
        run("results", "leaderboard", "theirs.csv", cwd=folder)
        run(
            "export", "question/fcn8s/0", "--to", "safetensors", "--out", "model-folder", cwd=folder
        )
    return folder


def plain_command_line(patch):
    """Return a function that runs a command line in this process, and sees it end well."""

    def run(*words, cwd):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["fcn-bench", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, words

    return run


def run_part(part, run, here, patch):
    """Run one of the commands of a line: ours in this process, others by a shell."""
    if re.match(r"(\.venv/bin/)?fcn-bench ", part):
        run(*words_of(part), cwd=here)
        return
    line = part.replace("python ", f"{shlex.quote(sys.executable)} ")
    ended = subprocess.run(
        ["bash", "-c", line], cwd=here, capture_output=True, text=True, check=True
    )
    patch.setattr(sys, "stdin", io.StringIO(ended.stdout))  # of what follows in a pipe


TOLD_APART = {path.name for path in STORIES}
BLOCKS = sorted({(c.page, c.block) for c in ALL if c.unrun is None and c.page not in TOLD_APART})
PLACES = {"python recompute.py": "out/question"}
"""Where a command is given, if that is not the folder that has the question."""


LONG = {("everyday.md", 1), ("extending.md", 0), ("questions.md", 0)}
"""Blocks that train several runs: .ci/long runs them."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "block"),
    [pytest.param(*one, marks=[pytest.mark.long] * (one in LONG)) for one in BLOCKS],
)
def test_a_block_of_commands_runs_as_printed(page, block, world, tmp_path, monkeypatch, own_parts):
    monkeypatch.setattr(plugins, "_LOADED", dict(plugins._LOADED))
    here = tmp_path / "world"
    shutil.copytree(world, here, symlinks=True)
    prepare(page, here)
    run = plain_command_line(monkeypatch)
    for command in ALL:
        if (command.page, command.block) == (page, block) and command.unrun is None:
            for part in command.parts:
                run_part(part, run, here / PLACES.get(part, ""), monkeypatch)


SAME_ANYWHERE = r"python docs/|fcn-bench (init|explain) "
"""Commands of tutorials whose output is the same with small trainings, and on any machine."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [  # .ci/long follows both
        pytest.param(path, marks=[pytest.mark.long] * (path.stem == "first-report"))
        for path in STORIES
    ],
    ids=lambda path: path.stem,
)
def test_a_tutorial_can_be_followed_and_prints_what_it_says(page, tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    line = plain_command_line(monkeypatch)

    def run(command):
        capsys.readouterr()
        for part in documented.Told(page.name, 0, 0, command.text).parts:
            run_part(part, line, tmp_path, monkeypatch)
        return [one.rstrip() for one in capsys.readouterr().out.rstrip().splitlines()]

    text = page.read_text()
    followed = follow(page, tmp_path, run)
    told = [command for block in read_blocks(text) for command in block]
    found = [command for block in read_blocks(followed) for command in block]
    compared = [
        (one.output, other.output)
        for one, other in zip(told, found, strict=True)
        if re.match(SAME_ANYWHERE, one.text)
    ]
    assert compared
    for one, other in compared:
        assert one == other
    shown = r"<!-- shows \S+question.yaml -->\n.*?^```$"
    assert re.findall(shown, text, flags=re.M | re.S) == re.findall(
        shown, followed, flags=re.M | re.S
    )
    for figure in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text):
        assert (page.parent / figure).exists()
