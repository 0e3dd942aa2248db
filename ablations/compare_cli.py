"""`fcn-bench compare`: two specs in one store, or two stores; what changed, and a gate for CI."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from ablations.planning import Set, plan_spec
from ablations.report_cli import say
from bench.cli.command import (
    AsJson,
    DataDir,
    Plugins,
    RunsDir,
    WeightsDir,
    open_store,
    show,
    show_json,
)
from bench.plugins import load_plugins
from bench.text import clean_block
from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.plan import Plan
    from reports.sides import Comparison, Side

WORSE = 3
"""Exit code where a variant is shown to be worse than `--fail-if` allows."""

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="A spec, or the folder of a store.")],
    after: Annotated[str, typer.Argument(help="The same for the other side.")],
    spec: Annotated[
        str | None, typer.Option(help="Of two stores, compare the runs of this spec alone.")
    ] = None,
    runs: RunsDir = Path("runs"),
    data: DataDir = None,
    weights: WeightsDir = None,
    settings: Set = None,
    plugin: Plugins = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page and its tables; none by default.")
    ] = None,
    fail_if: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help='Exit with 3 if a variant is shown to be worse: "worse", "worse by 0.01" (a '
            "fraction: the upper end of its interval, simultaneous over all variants, is below "
            '-0.01) or "worse by 0.01 pixel_acc".',
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two specs in one store, or two stores: what changed, and by how much.

    Exit code 3 with --fail-if where a variant is worse than it allows.
    """
    from reports.compare import open_comparison, say_outcome, to_rows, write_comparison
    from reports.gate import parse_gate, try_gate
    from reports.sides import compare_sides

    load_plugins(plugin)  # a question, or the gate, may name a score of theirs
    gate = parse_gate(fail_if) if fail_if is not None else None
    if out:
        open_comparison(before, after, out)  # refused before anything is computed
    sides = _plan_sides((before, after), spec, runs, data, settings)
    comparison = compare_sides(sides[0], sides[1], [gate.score] if gate and gate.score else ())
    outcome = try_gate(gate, comparison) if gate else None
    remarks = list(dict.fromkeys(text for side in sides for text in side.plan.remarks))
    if out:
        say(f"comparison: {write_comparison(comparison, out, remarks, outcome)}")
    if as_json:
        show_json(to_rows(comparison))
    elif not out:
        _print(comparison, remarks)
    if outcome:
        for line in say_outcome(outcome):  # beside what a program reads
            Console(stderr=True, highlight=False).print(Text(clean_block(line)), soft_wrap=True)
        if outcome.worse:
            raise typer.Exit(WORSE)


def _plan_sides(
    names: tuple[str, str],
    spec: str | None,
    runs: Path,
    data: Path | None,
    settings: list[str] | None,
) -> "list[Side]":
    """Plan both sides: what two stores hold, what they hold of a spec, or two specs in one store.

    Raises:
        InputError: The two are neither stores nor specs.
    """
    from reports.results.matching import plan_stores
    from reports.sides import Side

    plans: list[Plan]
    if all((Path(name) / "store.json").is_file() for name in names):
        stores = [open_store(Path(name)) for name in names]
        if spec is None:
            plans = plan_stores(stores)
        else:
            plans = [plan_spec(spec, store, data, settings, recall=True)[0] for store in stores]
    elif spec is not None:
        raise InputError(
            f"{names[0]} and {names[1]} are no stores (no store.json); with --spec both are"
        )
    else:
        stores = [open_store(runs)] * 2
        plans = [
            plan_spec(name, stores[0], data, settings, recall=data is None)[0] for name in names
        ]
    return [Side(*side) for side in zip(names, plans, stores, strict=True)]


def _print(comparison: "Comparison", remarks: Sequence[str]) -> None:
    """Print a comparison on a terminal: what changed once, then a row for each variant."""
    from reports.compare import say_answer
    from reports.results.differences import group_changes
    from reports.sides import group_by_variant
    from reports.style import enumerate_names
    from reports.tables.sides import sides_table

    changes = group_by_variant(comparison.variants)
    for change, names in group_changes(changes):
        where = "" if len(names) == len(changes) else f" ({enumerate_names(names)})"
        say(f"changed: {change}{where}")
    cells = sides_table(comparison.frame, comparison.margin).cells
    show([{str(k): v for k, v in row.items()} for row in cells.to_dict("records")], False)
    for text in (*say_answer(comparison), *remarks):
        say(text)
