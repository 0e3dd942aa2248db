"""Commands over the store: runs list, show, verify, prune."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.command import AsJson, RunsDir, open_store, show, show_json
from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.store.runs import Store
runs_app = typer.Typer(no_args_is_help=True, help="Look into the store.")


@runs_app.command("list")
def list_runs(runs: RunsDir = Path("runs"), as_json: AsJson = False) -> None:
    """List every run of a store with its scores and state.

    States: done, running, stopped (it goes on from its checkpoint), failed, missing.
    """
    store = open_store(runs)
    show([_row(store, run_id) for run_id in store.run_ids()], as_json)


@runs_app.command("show")
def show_run(
    run: Annotated[str, typer.Argument(help="Run id, or its first digits.")],
    runs: RunsDir = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Show one run: settings, state, scores, where it ran."""
    store = open_store(runs)
    run_id = store.find(run)
    result, failure = store.result(run_id), store.failure(run_id)
    values = _row(store, run_id) | {
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

    findings = list(verify(open_store(runs)))
    show([{"kind": f.kind, "path": str(f.path), "what": f.message} for f in findings], as_json)
    if any(finding.kind not in ("leftover", "foreign") for finding in findings):
        raise typer.Exit(1)


@runs_app.command("prune")
def prune_runs(
    run: Annotated[list[str] | None, typer.Argument(help="Runs to remove, by id.")] = None,
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


def _row(store: "Store", run_id: str) -> dict[str, Any]:
    from bench.metrics import summarize
    from bench.store.state import state_of

    try:
        spec = store.run(run_id).spec
        result = store.result(run_id)
        failure = None if result else store.failure(run_id)
    except InputError as error:
        return dict.fromkeys(_COLUMNS) | {"id": run_id, "state": "unreadable", "reason": str(error)}
    scores = None if result is None else summarize(result.confusion)
    return {
        "id": run_id,
        "state": state_of(store, run_id),
        "reason": None if failure is None else failure.reason,
        "backbone": spec.model.external or spec.model.backbone,
        "skip": None if spec.model.external else spec.model.skip,
        "dataset": spec.data.dataset,
        "steps": spec.train.steps,
        "seed": spec.seed,
        "pixel_acc": None if scores is None else round(scores.pixel_acc, 4),
        "miou": None if scores is None else round(scores.miou, 4),
        "seconds": None
        if result is None
        else round(result.train_seconds + result.evaluate_seconds, 1),
    }


_COLUMNS = (
    *("id", "state", "reason", "backbone", "skip", "dataset", "steps", "seed"),
    *("pixel_acc", "miou", "seconds"),
)


def _flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        nested = isinstance(value, dict) and value
        rows += _flatten(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return rows
