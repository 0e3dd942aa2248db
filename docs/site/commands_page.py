"""The command line, command by command: from typer, as `--help` has it."""

import re
from html import unescape
from typing import Any

import typer
from typer.cli import get_docs_for_click

from ablations.cli import app

PROGRAM = "fcn-bench"


def write() -> str:
    """Return the page: all commands with a line each, then each with its options."""
    root = typer.main.get_command(app)
    context = typer.Context(root, info_name=PROGRAM)
    rows, parts = [], []
    for name, command in sorted(root.commands.items()):
        rows.append(f"| [`{PROGRAM} {name}`](#{PROGRAM}-{name}) | {_first_line(command)} |")
        parts.append(_describe(command, context, name))
    table = "\n".join(["| command | does |", "| --- | --- |", *rows])
    return f"{_HEAD}\n{table}\n\n" + "\n\n".join(parts)


_HEAD = f"""# The command line

Each command with all its options, as `{PROGRAM} COMMAND --help` prints them; this page is made from
the code. `{PROGRAM} --debug COMMAND` shows tracebacks, `{PROGRAM} --version` the version. What
commands are for is told in [Everyday use](../everyday.md), exit codes in
[Running](../running.md#exit-codes).
"""


def _describe(command: Any, context: typer.Context, name: str) -> str:
    """Return what typer tells of a command and those below it, a level deeper than typer has it."""
    text = get_docs_for_click(
        obj=command, ctx=context, indent=1, name=name, call_prefix=PROGRAM, title=None
    )
    # A group's listing cuts its lines short; each of its commands follows with all of it.
    text = re.sub(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n?", "", unescape(text))
    text = re.sub(r"^\* `--help`: .*\n", "", text, flags=re.M)
    text = re.sub(r"\*\*Options\*\*:\n\n(?!\*)", "", text)
    text = re.sub(r"^(#+) `(.+)`$", r"\1 \2", text, flags=re.M)
    # What stands outside of code marks may hold signs of HTML.
    return re.sub(r"  \[(.*)\]$", r" *(\1)*", text, flags=re.M)


def _first_line(command: Any) -> str:
    return (command.help or "").strip().split("\n")[0]
