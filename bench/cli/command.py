"""What all commands share: options, listings, and errors as one paragraph."""

import errno
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

from bench.output import guard_output, is_unicode, output_error
from bench.text import clean_block
from fcn.errors import InputError
from fcn.weights_folder import VARIABLE, use_weights_folder

if TYPE_CHECKING:
    from bench.store.runs import Store

INPUT_ERROR = 65
DISK_ERROR = 74
"""A file or folder cannot be written or read; the same as of a run, `bench.run.outcome.DISK`."""

RunsDir = Annotated[Path, typer.Option("--runs", help="Folder of the run store.")]
DataDir = Annotated[Path | None, typer.Option("--data", help="Folder of the images.")]


def _use_weights(folder: Path | None) -> Path | None:
    use_weights_folder(folder)
    return folder


WeightsDir = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        envvar=VARIABLE,
        callback=_use_weights,
        help="Folder in which model.pretrained is looked for, where it is the name of a file.",
    ),
]
"""Once it is read, all that looks for weights knows of it: see `fcn.weights_file`."""


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name or id of a run: of the store that the line names so far, or of `runs`."""
    root = Path(context.params.get("runs") or "runs")
    if not (root / "store.json").is_file():
        return []
    store = open_store(root)
    known = [*map(str, store.names.ids), *store.run_ids()]
    return sorted(name for name in known if name.startswith(incomplete))


RunName = Annotated[
    str,
    typer.Argument(
        help="A run: its id, its first digits, or ABLATION/VARIANT/SEED.",
        autocompletion=complete_run,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Module or .py file that registers parts; repeatable."),
]


def split_names(given: list[str] | None) -> list[str]:
    """Return names that are given by an option, with commas between them or one at a time."""
    return [name for text in given or () for name in text.replace(",", " ").split()]


def run_app(to_run: typer.Typer) -> None:
    """Run a command line; what a user or a disk causes becomes one paragraph.

    An `InputError` ends with exit code 65, what the system refuses to do to a file with 74. Output
    that cannot be written ends no command; see `bench.output`.
    """
    guard_output()
    try:
        to_run()
    except (InputError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        is_disk = isinstance(error, OSError)
        said = explain(error) if isinstance(error, OSError) else str(error)
        text = Text(clean_block(f"error: {said}"), style="red")
        Console(stderr=True, highlight=False).print(text, soft_wrap=True)
        sys.exit(DISK_ERROR if is_disk else INPUT_ERROR)


def explain(error: OSError) -> str:
    """Say in a sentence which file or folder the system refused, why, and what can be done."""
    if error.filename is None:
        return f"the system refused an operation: {error}; --debug shows where"
    place = Path(os.fsdecode(error.filename))
    blocking = next((p for p in (place, *place.parents) if os.path.lexists(p)), place)
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and not blocking.is_dir():
        return (
            f"{place} cannot be written or read as it would have to be: {blocking} is a file, and "
            "a folder is needed there; give another place, or move that file away"
        )
    way_out = next((way for codes, way in _WAYS_OUT.items() if error.errno in codes), "")
    return f"{place}: {error.strerror or error}{way_out and f'; {way_out}'}"


_WAYS_OUT = {
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG): "make room there, or give another place (of runs "
    "with --runs, of what a command writes with --out); nothing half written is left",
    (errno.EACCES, errno.EPERM, errno.EROFS): "give another place, or have it opened to this user",
    (errno.EISDIR,): "a folder is in the way of a file; give another place, or move it away",
    (errno.ENOENT,): "it is not there, or just went",
}


def end_at_once(code: int) -> NoReturn:
    """End this process with an exit code; taking large libraries down would take seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def open_store(root: Path) -> "Store":
    """Open a store. It is imported here: `--help` shall not wait for numpy and pydantic.

    Raises:
        InputError: The folder is none, or holds a file of a store's that no store wrote.
    """
    from bench.store.runs import Store

    if (root / "datasets.json").exists() and not (root / "store.json").exists():
        from bench.data.memory import read_memory

        try:
            read_memory(root)  # a store's whose store.json was deleted, as its message asks for
        except InputError:
            raise InputError(
                f"{root} is no store (it has no store.json), and its datasets.json would be "
                "written over; choose another folder with --runs DIR"
            ) from None
    return Store(root)


def show(rows: list[dict[str, Any]], as_json: bool, none: str = "there is nothing to list") -> None:
    """Print rows with the same keys as a table, or as JSON; for people, a sentence of none."""
    if as_json:
        show_json(rows)
        return
    if not rows:
        typer.echo(none)
        _require_written()
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for key in rows[0]:
        table.add_column(key, overflow="fold")
    for row in rows:
        values = ("–" if value is None else value for value in row.values())
        table.add_row(*(Text(clean_block(value)) for value in values))
    # Where there is no terminal, a table is as wide as it needs to be.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)
    _require_written()


def show_json(values: Any) -> None:
    """Print values as JSON, in letters that the output has."""
    typer.echo(json.dumps(values, indent=1, ensure_ascii=not is_unicode()))
    _require_written()


def show_remarks(remarks: Iterable[str], as_json: bool = False) -> None:
    """Print what numbers are to be read with, a line each; beside JSON, not in it."""
    console = Console(stderr=as_json, highlight=False)
    for remark in remarks:
        console.print(Text(clean_block(f"note: {remark}"), style="yellow"), soft_wrap=True)


def _require_written() -> None:
    """Leave when a listing, which is all that was asked for, could not be written."""
    error = output_error()
    if error:
        typer.echo(f"error: the output cannot be written: {error.strerror}", err=True)
        raise typer.Exit(DISK_ERROR)
