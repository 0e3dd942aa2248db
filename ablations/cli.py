"""The front door: list, check, run; the commands of reports and bench are gathered in.

`run` reads as the whole story: load, expand, pack, execute, report.
"""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablations.foreign import require_ours

with require_ours():
    import ablations.data_cli  # noqa: F401  # a command among bench's
    from ablations.bound_cli import app as bound_app
    from ablations.compare_cli import app as compare_app
    from ablations.evaluations_cli import app as evaluations_app
    from ablations.execution import (
        How,
        check_plan,
        count_undone,
        find_plan_paces,
        find_unreadable,
        make_runs,
        say_remarks,
        track,
    )
    from ablations.init_cli import app as init_app
    from ablations.planning import (
        LimitImages,
        Only,
        Set,
        Spec,
        SpecsToCheck,
        open_spec,
        plan_spec,
    )
    from ablations.report_cli import Out, require_folder, say, write
    from ablations.report_cli import app as report_app
    from ablations.results_cli import app as results_app
    from ablations.spec_cli import app as spec_app
    from ablations.speed_cli import app as speed_app
    from bench.cli.app import app as bench_app
    from bench.cli.command import (
        AsJson,
        DataDir,
        Plugins,
        RunsDir,
        WeightsDir,
        open_store,
        run_app,
        show,
        show_json,
        show_remarks,
        split_names,
    )
    from bench.plugins import load_plugins
    from bench.version import __version__
    from fcn.errors import InputError
    from fcn.registry import unknown_name

if TYPE_CHECKING:
    from bench.data.catalog import Catalog
    from bench.plan import Plan
    from bench.store.runs import Store

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a question about segmentation networks to a report one can publish.",
)


CHECK_SECONDS = 20.0
"""Time for timing steps in place of training."""

Devices = Annotated[list[str] | None, typer.Option("--devices", help="As --device; repeatable.")]
Slots = Annotated[int | None, typer.Option(help="Runs at a time on each device.", min=1)]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fcn-bench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """From a question about segmentation networks to a report one can publish."""


@app.command("list")
def list_parts(
    kind: Annotated[str, typer.Argument(help="What to list.")] = "ablations",
    match: Annotated[str, typer.Option(help="Only names that contain this.")] = "",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List ablations, or the parts of a kind: backbones, skips, losses, datasets and the rest."""
    if kind not in _LISTINGS:
        raise typer.BadParameter(unknown_name("listing", kind, _LISTINGS))
    if kind != "ablations":
        load_plugins(plugin)
    show([row for row in _LISTINGS[kind]() if match in row["name"]], as_json)


@app.command()
def check(
    spec: SpecsToCheck,
    data: DataDir = None,
    runs: RunsDir = Path("runs"),
    weights: WeightsDir = None,
    settings: Set = None,
    plugin: Plugins = None,
    only: Only = None,
    limit_images: LimitImages = None,
    device: Devices = None,
    slots: Slots = None,
    models: Annotated[
        bool,
        typer.Option(
            "--models",
            help="Several specs, without data or weights: build every model, and list what runs "
            "will want.",
        ),
    ] = False,
    seconds: Annotated[
        float, typer.Option(help="Time for timing steps; 0 for none.", min=0)
    ] = CHECK_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Validate a spec, build every model, read the data; print the plan and how long it takes.

    How long is known from this store's past runs, or a step of each variant is timed.
    """
    load_plugins(plugin)
    store = open_store(runs)
    if models:
        if data is not None or limit_images is not None:
            raise InputError("--models looks at no image; leave --data and --limit-images out")
        _check_models(spec, store, settings, only, device, slots, seconds, as_json)
        return
    if len(spec) > 1:
        raise InputError(
            f"check takes one spec, and {len(spec)} are given; with --models it takes several, "
            "and neither data nor weights"
        )
    plan, catalog = plan_spec(spec[0], store, data, settings, only=only, limit_images=limit_images)
    _show_plan(plan, store, catalog, device, slots, as_json, seconds)
    if not as_json:  # advice, of which no number depends
        from bench.grid.training_remarks import bf16_remarks

        show_remarks(bf16_remarks(plan))


@app.command()
def run(
    spec: Spec,
    data: DataDir = None,
    runs: RunsDir = Path("runs"),
    out: Out = None,
    weights: WeightsDir = None,
    settings: Set = None,
    plugin: Plugins = None,
    only: Only = None,
    limit_images: LimitImages = None,
    device: Devices = None,
    slots: Slots = None,
    devices_per_run: Annotated[
        int, typer.Option(help="GPUs, or CPU processes, that each run is spread over.", min=1)
    ] = 1,
    engine: Annotated[
        str,
        typer.Option(
            help="local: a process per run; warm: forked, for short runs; ray: a cluster; "
            "slurm: array jobs; auto: warm on CPUs, else local."
        ),
    ] = "auto",
    address: Annotated[
        str | None, typer.Option(help="With ray: HOST:PORT of the cluster's head, or auto.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="With ray: use a cluster that asks for no token.")
    ] = False,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="With slurm: partition=gpu, time=4:00:00, gpus_per_node=1, or a YAML file; "
            "repeatable.",
        ),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            help="Also show losses and scores there while runs go on: tensorboard, wandb, mlflow, "
            "trackio, with commas. What happens to these hurts no run.",
        ),
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first failure.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try runs again too whose loss was not finite.")
    ] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try two steps of every variant before the rest.")
    ] = False,
    until_decided: Annotated[
        bool,
        typer.Option("--until-decided", help="Add seeds, look by look, to claims not decided yet."),
    ] = False,
    max_seeds: Annotated[
        int | None, typer.Option(help="With --until-decided: most seeds of each variant.", min=1)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan; run nothing.")
    ] = False,
) -> None:
    """Train what is missing, evaluate it, write the report; print the answer and the scores."""
    from ablations.run_tuned import tune_first
    from ablations.until_decided import begin_looks, plan_look, require_number, run_looks
    from bench.grid.controller import Policy
    from bench.grid.engines import Request, require_engine
    from bench.tracking.trackers import TRACKERS

    load_plugins(plugin)
    trackers = [name for name in split_names(log) if TRACKERS[name]]
    require_engine(engine, slurm or ())  # also where nothing is left to be made
    store = open_store(runs)
    number = 0
    if until_decided or max_seeds is not None:
        number = require_number(until_decided, max_seeds, only)
    planner = open_spec(spec, store, data, settings, only=only, limit_images=limit_images)
    if number:
        own, grow = planner.plan_own_seeds()
        plan, _ = plan_look(own, begin_looks(own, store, number), grow)
    else:
        plan = planner.plan()
    catalog = planner.catalog
    if dry_run:
        _show_plan(plan, store, catalog, device, slots, as_json=False)
        return
    require_folder(plan, out)  # before hours are spent on what could not be told
    request = Request(
        store.root, device or ["auto"], slots, plugin or (), address, insecure, devices_per_run,
        slurm or (),
    )  # fmt: skip
    policy = Policy(fail_fast=fail_fast, retry_failed=retry_failed)
    with track(trackers, store, plugin or ()) as following:
        how = How(engine, request, policy, smoke, following)
        make = partial(make_runs, store=store, catalog=catalog, how=how)
        if plan.tuning is not None:
            tries = bool(plan.unsettled)
            plan = tune_first(plan, planner.plan, make, say, retry_failed=retry_failed)
            make = partial(make, how=replace(how, smoke=smoke and not tries))
        if plan.unsettled:
            num_undone = count_undone(plan, store)
        elif number:
            own, grow = planner.plan_own_seeds()  # with the values that were chosen
            looks = begin_looks(own, store, number)
            plan, num_undone = run_looks(own, store, looks, grow, make, say)
        else:
            num_undone = make(plan)
    try:
        write(plan, store, out)
    except (InputError, OSError):
        say(
            _say_without_report(
                plan,
                num_undone,
                _report_command(spec, runs, data, settings, plugin, only, limit_images),
            )
        )
        raise
    unreadable = find_unreadable(plan, store)
    for problem in unreadable:
        say(f"not counted: {problem}")
    if num_undone:
        say(f"{num_undone} of {len(plan.runs)} runs did not finish; the report says why")
    if num_undone or unreadable:
        raise typer.Exit(1)


def _report_command(
    spec: str,
    runs: Path,
    data: Path | None,
    settings: list[str] | None,
    plugins: list[str] | None,
    only: list[str] | None,
    limit_images: int | None,
) -> str:
    """Return the command that writes a report alone, but for its folder."""
    words = ["fcn-bench", "report", spec, "--runs", str(runs)]
    words += ["--data", str(data)] if data else []
    words += ["--limit-images", str(limit_images)] if limit_images else []
    for option, values in (("--set", settings), ("--plugin", plugins), ("--only", only)):
        words += [word for value in values or () for word in (option, value)]
    return shlex.join(words)


def main() -> None:
    """Run the command line; what `fcn-bench` starts."""
    with require_ours():
        run_app(app)


def _say_without_report(plan: "Plan", num_undone: int, command: str) -> str:
    total = len(list(plan.unique_runs()))
    return (
        f"{total - num_undone} of {total} runs are done and in the store; the report could not be "
        f"written. Once the cause below is gone, `{command} --out DIR` writes it"
    )


def _show_plan(
    plan: "Plan",
    store: "Store",
    catalog: "Catalog",
    devices: list[str] | None,
    slots: int | None,
    as_json: bool,
    seconds: float = CHECK_SECONDS,
) -> None:
    """Check a plan; print its runs with what they cost, and how long they take where it is known.

    Where values are still to be chosen, first the runs that choose, then what follows.
    """
    from ablations.plan_listing import list_all, plan_rows, sum_up
    from bench.grid.engines import Request, slots_here

    whole = list_all(plan)
    costs = check_plan(whole, store, catalog)
    places = slots_here(Request(store.root, devices or ["auto"], slots))
    paces = find_plan_paces(whole, store, costs, places, seconds)
    say_remarks(plan, store, as_json)
    show(plan_rows(whole, store, costs, paces, as_json=as_json), as_json)
    if not as_json:
        say(sum_up(whole, store, paces, places))


def _check_models(
    specs: list[str],
    store: "Store",
    settings: list[str] | None,
    only: list[str] | None,
    devices: list[str] | None,
    slots: int | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Print what each variant of some questions costs, and what their runs will want."""
    from ablations.check_models import check_specs, sum_up
    from bench.grid.engines import Request, slots_here

    places = slots_here(Request(store.root, devices or ["auto"], slots))
    checked, wants = check_specs(specs, settings, only, places, seconds)
    rows = [row for one in checked for row in one.rows(as_json=as_json)]
    if as_json:
        show_json({"variants": rows, "wants": [want.row() for want in wants]})
        return
    show(rows, as_json)
    for one in checked:
        say(sum_up(one, places))
    for want in wants:
        say(str(want))


def _list_ablations() -> Iterable[dict[str, Any]]:
    from ablations.registry import list_ablations
    from bench.settings.yaml_file import load_yaml

    for name, path in list_ablations().items():
        yield {"name": name, "question": load_yaml(path)["question"]}


def _list_registry(module: str, listing: str) -> Callable[[], Iterable[dict[str, Any]]]:
    def rows() -> Iterable[dict[str, Any]]:
        from importlib import import_module

        found = getattr(import_module(module), listing)()
        return [{"name": one} if isinstance(one, str) else one for one in found]

    return rows


_LISTINGS: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {
    "ablations": _list_ablations,
    "backbones": _list_registry("fcn", "list_backbones"),
    "skips": _list_registry("fcn", "list_skips"),
    "heads": _list_registry("fcn", "list_heads"),
    "upsamplings": _list_registry("fcn", "list_upsamplings"),
    "fusions": _list_registry("fcn", "list_fusions"),
    "datasets": _list_registry("bench.data.registry", "list_datasets"),
    "trackers": _list_registry("bench.tracking.trackers", "list_trackers"),
    "augmentations": _list_registry("bench.data.augmentations", "list_augmentations"),
    "losses": _list_registry("bench.run.losses", "list_losses"),
    "optimizers": _list_registry("bench.run.optim", "list_optimizers"),
    "schedules": _list_registry("bench.run.schedules", "list_schedules"),
    "metrics": _list_registry("bench.metrics", "list_metrics"),
    "sections": _list_registry("reports.sections", "list_sections"),
}

app.add_typer(init_app)
app.add_typer(report_app)
app.add_typer(compare_app)
app.add_typer(spec_app)
app.add_typer(evaluations_app, name="evaluations")
app.add_typer(bound_app)
app.add_typer(results_app, name="results")
app.add_typer(bench_app)
app.add_typer(speed_app)

if __name__ == "__main__":
    main()
