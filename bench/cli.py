"""bench's commands: exec, predict, runs, data. Heavy imports wait until a command needs them."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.metrics import summarize
from bench.plan import Run
from bench.spec import DataSpec, parse
from bench.store import Store
from fcn.errors import InputError

INPUT_ERROR = 65

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
runs_app = typer.Typer(no_args_is_help=True, help="Look into the store.")
data_app = typer.Typer(no_args_is_help=True, help="Check and pack pictures.")
app.add_typer(runs_app, name="runs")
app.add_typer(data_app, name="data")

RunsDir = Annotated[Path, typer.Option("--runs", help="Folder of the run store.")]
DataDir = Annotated[Path | None, typer.Option("--data", help="Folder of the pictures.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]


def run_app(to_run: typer.Typer) -> None:
    """Run a command line; an `InputError` becomes one paragraph and exit code 65."""
    try:
        to_run()
    except InputError as error:
        if "--debug" in sys.argv:
            raise
        Console(stderr=True, highlight=False).print(
            Text(f"error: {error}", style="red"), soft_wrap=True
        )
        sys.exit(INPUT_ERROR)


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows with the same keys as a table, or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for key in rows[0] if rows else ():
        table.add_column(key, overflow="fold")
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    # Where there is no terminal, a table is as wide as it needs to be.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)


@app.command("exec")
def exec_run(
    run_dir: Path,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Leave when standard input closes.")
    ] = False,
) -> None:
    """Execute the run of one folder; the engines call this."""
    from bench.run.signals import leave_with_parent

    if with_parent:
        leave_with_parent(sys.stdin.fileno())  # before torch is imported, which takes seconds
    from bench.run.execute import Options, execute

    code = execute(run_dir, Options(device=device, threads=threads))
    if code:
        failure = Store(run_dir.parent.parent).failure(run_dir.name)
        typer.echo(
            f"{failure.reason}: {failure.message}\n{failure.details}" if failure else code, err=True
        )
    raise typer.Exit(code)


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="Id of a finished run, or its first digits.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures, any size.")],
    runs: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(help="Folder for masks and overlays.")] = Path("predictions"),
    device: Device = "auto",
) -> None:
    """Predict pictures with a run's network: a mask and an overlay of each."""
    store = Store(runs)
    run_id = store.find(run)
    from bench.run.environment import choose_device
    from bench.run.predict import predict as predict_all
    from bench.run.predict import save_prediction

    result = store.result(run_id)
    out.mkdir(parents=True, exist_ok=True)
    for path, image, pred in predict_all(store, run_id, images, choose_device(device)):
        assert result is not None
        for written in save_prediction(out / path.stem, image, pred, result.palette):
            typer.echo(written)


@runs_app.command("list")
def list_runs(runs: RunsDir = Path("runs"), as_json: AsJson = False) -> None:
    """List every run of a store with its state and scores."""
    store = Store(runs)
    show([_row(store, run_id) for run_id in store.run_ids()], as_json)


@runs_app.command("show")
def show_run(
    run: Annotated[str, typer.Argument(help="Run id, or its first digits.")],
    runs: RunsDir = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Show one run: settings, state, scores, where it ran."""
    store = Store(runs)
    run_id = store.find(run)
    result, failure = store.result(run_id), store.failure(run_id)
    values = _row(store, run_id) | {
        "folder": str(store.run_dir(run_id)),
        "parent": store.run(run_id).parent,
        "environment": result.environment if result else None,
        "failure": None if failure is None else f"{failure.reason}: {failure.message}",
        "spec": store.run(run_id).spec.model_dump(mode="json"),
    }
    if as_json:
        typer.echo(json.dumps(values, indent=1, ensure_ascii=False))
        return
    rows = [{"key": key, "value": value} for key, value in values.items() if key != "spec"]
    rows += [{"key": key, "value": value} for key, value in _flatten(values["spec"])]
    show(rows, as_json=False)


@runs_app.command("verify")
def verify_runs(runs: RunsDir = Path("runs"), as_json: AsJson = False) -> None:
    """Hash every file again; find damage, and what was left behind."""
    from bench.upkeep import verify

    findings = list(verify(Store(runs)))
    show([{"kind": f.kind, "path": str(f.path), "what": f.message} for f in findings], as_json)
    if any(finding.kind != "leftover" for finding in findings):
        raise typer.Exit(1)


@runs_app.command("prune")
def prune_runs(
    run: Annotated[list[str] | None, typer.Argument(help="Runs to remove, by id.")] = None,
    runs: RunsDir = Path("runs"),
    failed: Annotated[bool, typer.Option("--failed", help="Remove failed runs too.")] = False,
) -> None:
    """Remove what no result needs; a finished run only if it is named."""
    from bench.upkeep import prune

    store = Store(runs)
    freed = prune(store, failed=failed, run_ids=[store.find(prefix) for prefix in run or ()])
    typer.echo(f"{freed / 2**20:.1f} MiB freed")


@data_app.command("check")
def check_data(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset.")],
    data: DataDir = None,
    option: Annotated[list[str] | None, typer.Option(help="key=value of the dataset.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read every picture and label; name each that cannot be used."""
    from bench.data.check import check
    from bench.data.registry import open_dataset

    report = check(open_dataset(data_spec(dataset, option or []), data))
    show(report.rows(), as_json)
    report.raise_problems()


@data_app.command("prepare")
def prepare_data(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset.")],
    data: DataDir = None,
    runs: RunsDir = Path("runs"),
    option: Annotated[list[str] | None, typer.Option(help="key=value of the dataset.")] = None,
) -> None:
    """Check a dataset and decode it into the store, so that runs start at once."""
    from bench.data.catalog import Catalog

    packed = Catalog(Store(runs), data).pack(data_spec(dataset, option or []))
    typer.echo(f"{packed.folder}: {len(packed)} pictures, fingerprint {packed.fingerprint[:16]}")


def data_spec(dataset: str, options: list[str]) -> DataSpec:
    """Build a `DataSpec` from a name and key=value texts."""
    import yaml

    pairs = dict(option.partition("=")[::2] for option in options)
    values = {key: yaml.safe_load(value) for key, value in pairs.items()}
    return parse(DataSpec, {"dataset": dataset, "options": values}, where="--option")


def _row(store: Store, run_id: str) -> dict[str, Any]:
    run: Run = store.run(run_id)
    result = store.result(run_id)
    scores = None if result is None else summarize(result.confusion)
    return {
        "id": run_id,
        "state": store.status(run_id),
        "backbone": run.spec.model.backbone,
        "skip": run.spec.model.skip,
        "dataset": run.spec.data.dataset,
        "steps": run.spec.train.steps,
        "seed": run.spec.seed,
        "pixel_acc": None if scores is None else round(scores.pixel_acc, 4),
        "miou": None if scores is None else round(scores.miou, 4),
        "seconds": None
        if result is None
        else round(result.train_seconds + result.evaluate_seconds, 1),
    }


def _flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        nested = isinstance(value, dict) and value
        rows += _flatten(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return rows
