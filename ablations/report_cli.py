"""`fcn-bench report`: what a store holds of a question, once or following a grid."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from ablations.planning import LimitImages, Only, Set, Specs, plan_spec
from bench.cli.command import DataDir, Plugins, RunsDir, WeightsDir, open_store
from bench.importing import importing
from bench.plugins import load_plugins
from bench.text import clean_block, number_of
from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.store.runs import Store
    from reports.study import Study

CLAIMS_OPEN = 4
"""Exit code where a claim that must hold is not held."""

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

Out = Annotated[Path | None, typer.Option(help="Folder of the report; out/NAME by default.")]


@app.command()
def report(
    specs: Specs = None,
    runs: RunsDir = Path("runs"),
    out: Out = None,
    data: DataDir = None,
    weights: WeightsDir = None,
    settings: Set = None,
    plugin: Plugins = None,
    only: Only = None,
    limit_images: LimitImages = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write it again while runs go on, until all ended.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 10.0,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also export scalars of all runs there.")
    ] = None,
    from_folder: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Make it again from a report's folder, without a spec or a store.",
        ),
    ] = None,
    claims_must_hold: Annotated[
        bool, typer.Option("--claims-must-hold", help="Exit with 4 unless all claims are held.")
    ] = False,
    lean: Annotated[
        bool,
        typer.Option("--lean", help="Keep figures on the page alone, for a repository."),
    ] = False,
    across: Annotated[
        bool,
        typer.Option(
            "--across",
            help="The same variants on several data sets: of several questions, or of one whose "
            "grid has data.dataset. Differences on each, ranks over all.",
        ),
    ] = False,
) -> None:
    """Write the report of what the store holds; nothing is trained."""
    load_plugins(plugin)
    store: Store
    if from_folder is not None:
        given = {
            "SPEC": specs, "--data": data, "--set": settings, "--only": only,
            "--limit-images": limit_images, "--watch": watch, "--tensorboard": tensorboard,
            "--across": across,
        }  # fmt: skip
        plan, store = _open_folder(from_folder, [name for name, value in given.items() if value])
    elif not specs:
        raise typer.BadParameter("give SPEC, or --from DIR, the folder of a report")
    else:
        store = open_store(runs)
        plans = [
            plan_spec(
                spec, store, data, settings, recall=data is None, only=only,
                limit_images=limit_images,
            )[0]
            for spec in _require_one(specs, across=across)
        ]  # fmt: skip
        if across:
            for one in plans:
                _require_settled(one, "--across")
            beside = {
                "--watch": watch, "--tensorboard": tensorboard,
                "--claims-must-hold": claims_must_hold,
            }  # fmt: skip
            _write_across(plans, store, out, [name for name, value in beside.items() if value])
            return
        (plan,) = plans
    if claims_must_hold and not plan.claims:
        raise InputError(f"{plan.name} claims nothing; write `claims:` into its spec")
    if watch:
        _require_settled(plan, "--watch")
    require_folder(plan, out)
    if tensorboard:
        from reports.scalars import export_scalars, open_export

        open_export(plan, tensorboard)
    study = _watch(plan, store, out, every) if watch else write(plan, store, out, lean=lean)
    if tensorboard:
        number = export_scalars(plan, store, tensorboard)
        say(f"scalars of {number_of(number, 'run')}: {tensorboard}")
    if claims_must_hold:
        _require_held(study)


def _require_settled(plan: "Plan", option: str) -> None:
    """Refuse what is about runs that are all known, where values are still to be chosen."""
    from ablations.names import list_names

    if plan.unsettled:
        from ablations.names import list_names

        raise InputError(
            f"{plan.name}: {option} is about runs that are known, and values are still to be "
            f"chosen for {list_names(sorted(plan.unsettled))} (`tune`): `fcn-bench run` chooses; "
            "until then `fcn-bench report` alone tells how far that is"
        )


def _require_one(specs: list[str], *, across: bool) -> list[str]:
    """See that there are several specs only where they are asked about together."""
    if len(specs) > 1 and not across:
        raise InputError(
            f"{len(specs)} questions are given, and a report is of one; --across tells how the "
            "same variants do on the data sets of several"
        )
    return specs


def _write_across(plans: "list[Plan]", store: "Store", out: Path | None, given: list[str]) -> None:
    """Write the report of some questions over their data sets, and say its answer.

    `given` names what goes with the report of one question alone.
    """
    from reports.across import read_across
    from reports.across_page import open_across, say_answer, write_across
    from reports.results.data_sets import list_parts

    if given:
        raise InputError(f"{', '.join(given)} goes with the report of one question, not --across")
    parts = list_parts([(plan, store) for plan in plans])
    folder = out or Path("out") / (f"{plans[0].name}-across" if len(plans) == 1 else "across")
    open_across(plans, folder, chosen=out is not None)  # refused before anything is computed
    found = read_across(parts)
    page = write_across(found, plans, folder, chosen=out is not None)
    for line in (*(f"note: {note}" for note in found.notes), *say_answer(found)):
        say(line)
    say(f"report: {page}")


def _open_folder(folder: Path, given: list[str]) -> "tuple[Plan, Store]":
    """Open a report's folder; `given` names what says another report than the one there."""
    from reports.results.report_folder import ReportFolder

    if given:
        raise InputError(
            f"--from makes the report of {folder} again as it was, without {', '.join(given)}; "
            "leave out the one or the other"
        )
    opened = ReportFolder(folder)
    return opened.plan, opened


def _require_held(study: "Study") -> None:
    """Leave with exit code 4 where a claim is not held."""
    from reports.stats.claims import HELD

    open_claims = [one for one in study.verdicts if one.word != HELD]
    for one in open_claims:
        say(f"{one.word}: {one.question.claim}")
    if open_claims:
        say(f"{len(open_claims)} of {len(study.verdicts)} claims are not held")
        raise typer.Exit(CLAIMS_OPEN)


def write(plan: "Plan", store: "Store", out: Path | None, *, lean: bool = False) -> "Study":
    """Write a plan's report; say what must be known of its numbers, the answer, and where it is.

    `lean` keeps figures on the page alone.

    Returns:
        What it was written from.
    """
    with importing():
        from reports.page import write_report
        from reports.study import read_study
        from reports.terminal import print_answer
    study = read_study(plan, store)
    folder, chosen = _folder(plan, out), out is not None
    page = write_report(plan, store, folder, chosen=chosen, say=say, study=study, lean=lean)
    # Where there is no terminal, a table is as wide as it needs to be.
    print_answer(study, Console(highlight=False, width=None if sys.stdout.isatty() else 1000))
    say(f"report: {page}")
    return study


def require_folder(plan: "Plan", out: Path | None) -> None:
    """See that a plan's report can be written, before anything is computed.

    Raises:
        InputError: There are files in its folder that are not of this report.
        OSError: Nothing can be written there.
    """
    from reports.files import list_possible, open_folder

    folder = open_folder(plan, _folder(plan, out), chosen=out is not None)
    folder.require(list_possible(plan))


def say(text: str) -> None:
    """Print a line as it is."""
    Console(highlight=False).print(Text(clean_block(text)), soft_wrap=True)


def _watch(plan: "Plan", store: "Store", out: Path | None, every: float) -> "Study":
    """Write a report again and again until all runs ended; return what is known then."""
    from reports.study import read_study
    from reports.watch import watch_report

    try:
        folder, chosen = _folder(plan, out), out is not None
        page = watch_report(plan, store, folder, every_seconds=every, say=say, chosen=chosen)
    except KeyboardInterrupt:
        write(plan, store, out)  # so that the page does not go on loading itself
        raise typer.Exit(130) from None
    say(f"report: {page}")
    return read_study(plan, store)


def _folder(plan: "Plan", out: Path | None) -> Path:
    """Return a report's folder; that of a part of a question is not that of the whole."""
    return out or Path("out") / (f"{plan.name}-part" if plan.is_part else plan.name)
