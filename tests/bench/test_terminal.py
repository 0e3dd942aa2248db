"""What a terminal is shown: names and messages that anyone may have written stay text."""

import io

import pytest
import typer
from pretend import run_of
from rich.console import Console

from ablations.report_cli import say
from bench.cli.command import run_app, show
from bench.grid.progress import GridProgress
from bench.plan import Plan, PlannedRun
from bench.store.runs import Failure, Store
from fcn.errors import InputError

CLEARS = "\x1b[2J"
"""Clears a terminal that is sent it."""

HOSTILE, SHOWN = f"{CLEARS}[/b][red]x\u202e\r", r"\x1b[2J[/b][red]x\u202e\x0d"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_grid_shows_names_and_messages_as_they_are(tmp_path, is_terminal):
    planned = PlannedRun(HOSTILE, run_of(0))
    plan, store = Plan("p", "q", "", (planned,)), Store(tmp_path)
    store.prepare(planned.run)
    said = io.StringIO()
    console = Console(file=said, force_terminal=is_terminal, width=200)
    with GridProgress(plan, store, console) as progress:
        progress.started(planned)
        progress.tick()
        progress._display.refresh()
        progress.retried(planned, Failure("error", HOSTILE))
        progress.paused(HOSTILE)
        progress.ended(planned, Failure("error", f"first\n{HOSTILE}"))
    assert CLEARS not in said.getvalue()
    assert said.getvalue().count(SHOWN) >= 5 + is_terminal
    assert f"first\n{SHOWN}" in said.getvalue()


def test_commands_show_cells_lines_and_errors_as_they_are(capsys, monkeypatch):
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise InputError(f"no variant {HOSTILE}")

    show([{"variant": HOSTILE, "miou": None}], as_json=False)
    say(HOSTILE)
    monkeypatch.setattr("sys.argv", ["fcn-bench"])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == 65
    said = capsys.readouterr()
    assert CLEARS not in said.out + said.err
    assert said.out.count(SHOWN) == 2
    assert f"error: no variant {SHOWN}" in said.err
