"""What all commands share: options, listings, and errors as one paragraph."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.text import clean_block
from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.store import Store

INPUT_ERROR = 65

RunsDir = Annotated[Path, typer.Option("--runs", help="Folder of the run store.")]
DataDir = Annotated[Path | None, typer.Option("--data", help="Folder of the pictures.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Module or .py file that registers parts; repeatable."),
]


def run_app(to_run: typer.Typer) -> None:
    """Run a command line; an `InputError` becomes one paragraph and exit code 65."""
    try:
        to_run()
    except InputError as error:
        if "--debug" in sys.argv:
            raise
        text = Text(clean_block(f"error: {error}"), style="red")
        Console(stderr=True, highlight=False).print(text, soft_wrap=True)
        sys.exit(INPUT_ERROR)


def end_at_once(code: int) -> NoReturn:
    """End this process with an exit code; taking large libraries down would take seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def open_store(root: Path) -> "Store":
    """Open a store. It is imported here: `--help` shall not wait for numpy and pydantic."""
    from bench.store import Store

    return Store(root)


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows with the same keys as a table, or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for key in rows[0] if rows else ():
        table.add_column(key, overflow="fold")
    for row in rows:
        values = ("–" if value is None else value for value in row.values())
        table.add_row(*(Text(clean_block(value)) for value in values))
    # Where there is no terminal, a table is as wide as it needs to be.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


def show_remarks(remarks: Iterable[str], as_json: bool = False) -> None:
    """Print what numbers are to be read with, a line each; beside JSON, not in it."""
    console = Console(stderr=as_json, highlight=False)
    for remark in remarks:
        console.print(Text(clean_block(f"note: {remark}"), style="yellow"), soft_wrap=True)
