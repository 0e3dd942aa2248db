"""`fcn-bench results`: what a store holds, for who computes on it: tables and a leaderboard."""

from pathlib import Path
from typing import Annotated

import typer

from ablations.report_cli import say
from bench.cli.command import RunsDir, open_store
from bench.importing import importing
from bench.text import number_of
from fcn.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Results as tables, and as a leaderboard.")


@app.command("save")
def save(
    file: Annotated[Path, typer.Argument(help="What is written: .parquet or .csv.")],
    runs: RunsDir = Path("runs"),
    table: Annotated[
        str, typer.Option(help="runs (with every setting), steps, classes or images.")
    ] = "runs",
) -> None:
    """Save everything that a store holds of its runs as a table, one kind of row at a time.

    A file that is there is written anew.
    """
    with importing():
        from bench.store.atomic import replacing
        from reports.formats import to_csv
        from reports.results.everything import read_table, save_table
    if file.suffix not in (".parquet", ".csv"):
        raise InputError(f"{file} has no ending that says what it is; give .parquet or .csv")
    frame = read_table(open_store(runs), table)
    if not len(frame):
        raise InputError(f"{runs} has nothing for a table of {table}; give another --runs DIR")
    with replacing(file) as temporary:
        if file.suffix == ".csv":
            temporary.write_text(to_csv(frame), encoding="utf-8")
        else:
            save_table(frame, temporary)
    say(f"{number_of(len(frame), 'row')}, {number_of(len(frame.columns), 'column')}: {file}")


@app.command("leaderboard")
def leaderboard(
    file: Annotated[Path, typer.Argument(help="The CSV; if it is there, its rows stay.")],
    runs: Annotated[
        list[Path] | None, typer.Option("--runs", help="A store; repeatable. `runs` by default.")
    ] = None,
    merging: Annotated[
        list[Path] | None,
        typer.Option("--merge", help="A leaderboard of somebody; repeatable."),
    ] = None,
) -> None:
    """Put the finished runs of stores, and the rows of other leaderboards, into one.

    Rows are known by run and split: what is there already changes nothing, in whichever order.
    """
    with importing():
        from bench.store.atomic import replacing
        from reports.leaderboard import merge, read_board, rows_of, write_board
    stores = runs or ([] if merging else [Path("runs")])
    boards = [read_board(file)] if file.exists() else []
    before = sum(map(len, boards))
    boards += [read_board(other) for other in merging or ()]
    boards += [rows_of(open_store(root)) for root in stores]
    rows = merge(boards)
    if not rows:
        raise InputError(f"there is no finished run in {', '.join(map(str, stores))}")
    with replacing(file) as temporary:
        temporary.write_text(write_board(rows), encoding="utf-8")
    say(f"{number_of(len(rows), 'row')}, {len(rows) - before} of them new: {file}")
