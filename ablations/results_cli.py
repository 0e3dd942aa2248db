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

    A table that this command wrote there is written anew, as long as it is as it was written:
    fcn-bench.json beside it says so. Any other file stays.
    """
    with importing():
        from bench.outputs.folder import Outputs
        from reports.formats import to_csv
        from reports.results.everything import read_table, to_parquet
    if file.suffix not in (".parquet", ".csv"):
        raise InputError(f"{file} has no ending that says what it is; give .parquet or .csv")
    option = f"`results save DIR/{file.name}`"
    folder = Outputs(file.parent, by="table", of={"table": file.name}, option=option)
    folder.require([file.name])
    frame = read_table(open_store(runs), table)
    if not len(frame):
        raise InputError(f"{runs} has nothing for a table of {table}; give another --runs DIR")
    content = to_csv(frame).encode() if file.suffix == ".csv" else to_parquet(frame)
    folder.write({file.name: content})
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
