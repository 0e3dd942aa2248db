"""Commands over the store: runs list, show, verify, prune, export, import, log, reproduce."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.command import (
    AsJson,
    Device,
    Plugins,
    RunName,
    RunsDir,
    WeightsDir,
    complete_run,
    open_store,
    show,
    show_json,
    split_names,
)
from bench.plugins import load_plugins
from bench.text import clean_block, number_of

if TYPE_CHECKING:
    from bench.tracking.follower import Follower

runs_app = typer.Typer(no_args_is_help=True, help="Look into the store.")

Named = Annotated[
    list[str],
    typer.Argument(
        help="Runs, by id, its first digits, or ABLATION/VARIANT/SEED.",
        autocompletion=complete_run,
    ),
]


@runs_app.command("list")
def list_runs(
    runs: RunsDir = Path("runs"),
    ablation: Annotated[
        str, typer.Option(help="Runs of this question; * and ? stand for anything.")
    ] = "",
    variant: Annotated[str, typer.Option(help="Runs of this variant; likewise.")] = "",
    state: Annotated[
        list[str] | None,
        typer.Option(help="done, running, stopped, failed, missing or unreadable; repeatable."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE, such as model.skip=fcn8s; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of a store: question and variant, state, score, age and size.

    States: done, running, stopped (it goes on from its checkpoint), failed, missing (it was
    planned and has not begun). What was written last comes last. --json has more columns.
    """
    from bench.cli.run_rows import Filter, list_rows, show_row

    wanted = Filter.read(ablation, variant, state or (), where or ())
    rows = sorted(list_rows(open_store(runs), wanted), key=lambda row: str(row["changed"]))
    rows = rows if as_json else [show_row(row) for row in rows]
    fits = " that all of this fits" if ablation or variant or state or where else ""
    show(rows, as_json, none=f"there is no run in {runs}{fits}")


@runs_app.command("show")
def show_run(
    run: RunName,
    runs: RunsDir = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Show one run: its names, settings, state, scores, where it ran."""
    from bench.cli.run_rows import run_row

    store = open_store(runs)
    run_id = store.find(run)
    result, failure = store.result(run_id), store.failure(run_id)
    row = run_row(store, run_id, store.names.by_id.get(run_id, ()))
    assert row is not None
    values = row | {
        "folder": str(store.run_dir(run_id)),
        "parent": store.run(run_id).parent,
        "streams": list(store.run(run_id).streams),
        "environment": result.environment if result else None,
        "failure": None if failure is None else f"{failure.reason}: {failure.message}",
        "spec": store.run(run_id).spec.model_dump(mode="json"),
    }
    if as_json:
        show_json(values)
        return
    rows = [{"key": key, "value": value} for key, value in values.items() if key != "spec"]
    rows += [{"key": key, "value": value} for key, value in _flatten(values["spec"])]
    show(rows, as_json=False)


@runs_app.command("verify")
def verify_runs(runs: RunsDir = Path("runs"), as_json: AsJson = False) -> None:
    """Hash every file again; find damage, what was left behind, and what is not the store's."""
    from bench.upkeep import verify

    store = open_store(runs)
    findings = list(verify(store))
    rows = [{"kind": f.kind, "path": str(f.path), "what": f.message} for f in findings]
    number = number_of(len([*store.run_ids()]), "run")
    show(rows, as_json, none=f"{number} in {runs}: every file is as it was written")
    if any(finding.kind not in ("leftover", "foreign") for finding in findings):
        raise typer.Exit(1)


@runs_app.command("prune")
def prune_runs(
    run: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs to remove, by id or ABLATION/VARIANT/SEED.", autocompletion=complete_run
        ),
    ] = None,
    runs: RunsDir = Path("runs"),
    failed: Annotated[
        bool, typer.Option("--failed", help="Remove failed runs too; what was stopped goes on.")
    ] = False,
) -> None:
    """Remove what no result needs and nobody is at work on; a finished run only if it is named."""
    from bench.upkeep import prune

    store = open_store(runs)
    freed = prune(store, failed=failed, run_ids=[store.find(prefix) for prefix in run or ()])
    typer.echo(f"{freed / 2**20:.1f} MiB freed")


@runs_app.command("export")
def export_runs_to(
    run: Named,
    to: Annotated[Path, typer.Option(help="File to write, such as runs.tar.")],
    runs: RunsDir = Path("runs"),
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Add their decoded images, which reports draw.")
    ] = False,
) -> None:
    """Write finished runs into one file, which `runs import` puts into another store."""
    from bench.transfer import export_runs

    store = open_store(runs)
    ids = list(dict.fromkeys(store.find(name) for name in run))
    size = export_runs(store, ids, to, with_data=with_data)
    typer.echo(f"{to}: {number_of(len(ids), 'run')}, {size / 2**20:.1f} MiB")


@runs_app.command("import")
def import_runs_from(
    file: Annotated[Path, typer.Argument(help="What `runs export` wrote.")],
    runs: RunsDir = Path("runs"),
) -> None:
    """Put the runs of a file into a store, each checked first; a run that is there stays."""
    from bench.transfer import import_runs

    store = open_store(runs)
    for taken in import_runs(store, file):
        typer.echo(clean_block(taken))


@runs_app.command("log")
def log_runs(
    named: Annotated[
        list[str] | None,
        typer.Argument(help="Runs, as above; all that have a name, if none is given."),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(help="tensorboard, wandb, mlflow, trackio, with commas; repeatable."),
    ] = None,
    runs: RunsDir = Path("runs"),
    again: Annotated[
        bool, typer.Option("--again", help="Also what the tracker was told before.")
    ] = False,
    plugin: Plugins = None,
    follow_input: Annotated[bool, typer.Option("--follow", hidden=True)] = False,
) -> None:
    """Log what runs have logged to where people look already; only what is not there yet."""
    load_plugins(plugin)
    from bench.tracking.follower import Follower, follow_named

    store = open_store(runs)
    names = split_names(to)
    if not names:
        raise typer.BadParameter("give --to, such as --to tensorboard")
    for name in names:
        follower = Follower(store, name, again=again)
        if follow_input:
            _follow_input(follower)
            continue
        wanted = [store.find(one) for one in named or ()] or list(store.names.by_id)
        unnamed = follow_named(store, follower, wanted)
        count = follower.look()
        follower.close()
        typer.echo(f"{name}: {number_of(count, 'run')} logged to {follower.place}")
        for folder in unnamed:
            typer.echo(f"{folder} has no name in this store, and is not logged", err=True)


def _follow_input(follower: "Follower") -> None:
    """Follow the runs that standard input names, until it ends; what a grid starts."""
    from collections import deque
    from threading import Thread

    from bench.tracking.follower import follow

    lines: deque[str] = deque()
    reader = Thread(target=lines.extend, args=(sys.stdin,), daemon=True)
    reader.start()

    def is_over() -> bool:
        has_ended = not reader.is_alive()
        while lines:
            follower.add(*json.loads(lines.popleft()))
        return has_ended

    if not follow(follower, is_over, typer.echo):
        raise typer.Exit(1)


@runs_app.command("reproduce")
def reproduce_run(
    run: RunName,
    runs: RunsDir = Path("runs"),
    device: Device = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; as many as the run had by default.", min=1)
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder of a new store for the second run; none is kept.")
    ] = None,
    plugin: Plugins = None,
    weights: WeightsDir = None,
    as_json: AsJson = False,
) -> None:
    """Train a finished run again from its record, and say whether the same bits came out.

    Ends with 1 where they did not: then by how much they differ is said, and what has changed.
    """
    load_plugins(plugin)
    from bench.grid.reproduce import reproduce

    store = open_store(runs)
    found = reproduce(store, store.find(run), device, threads, plugin or (), keep)
    if as_json:
        show_json(found.to_json())
    else:
        for line in found.lines():
            typer.echo(clean_block(line))
    if not found.is_same:
        raise typer.Exit(1)


def _flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        nested = isinstance(value, dict) and value
        rows += _flatten(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return rows
