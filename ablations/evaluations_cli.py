"""`fcn-bench evaluations`: scores taken after training, listed and compared."""

from pathlib import Path
from typing import Annotated

import typer

from ablations.report_cli import say
from bench.cli.command import AsJson, RunsDir, open_store, show, show_json

app = typer.Typer(no_args_is_help=True, help="Scores taken after training (evaluate).")


@app.command("list")
def list_evaluations(runs: RunsDir = Path("runs"), as_json: AsJson = False) -> None:
    """List the evaluations of a store, the latest last."""
    from bench.cli.evaluations import evaluation_row, show_evaluations
    from bench.store.scored import list_scored

    rows = [evaluation_row(one) for one in list_scored(open_store(runs).root)]
    show_evaluations(rows, as_json)


@app.command("remove")
def remove_evaluations(
    evaluation: Annotated[list[str], typer.Argument(help="By id, or its first digits.")],
    runs: RunsDir = Path("runs"),
) -> None:
    """Remove evaluations from a store; what they are of stays."""
    from bench.store.scored import find_scored
    from bench.upkeep import remove_evaluation

    store = open_store(runs)
    for one in [find_scored(store.root, text) for text in evaluation]:
        remove_evaluation(store, one.id)
        say(f"removed: {one.id} ({one.label} on {one.dataset} {one.split})")


@app.command("compare")
def compare_them(
    evaluation: Annotated[
        list[str] | None,
        typer.Argument(help="Evaluations by id or its first digits; all of the store by default."),
    ] = None,
    runs: RunsDir = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="Folder for evaluations.md and .csv.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put evaluations side by side: intervals, and what differs from the first.

    Runs of one question and variant with several seeds are one row.
    """
    from bench.outputs.folder import Outputs
    from bench.store.scored import find_scored, list_scored
    from fcn.errors import InputError
    from reports.formats import to_csv, to_markdown
    from reports.stats.evaluations import compare_evaluations
    from reports.tables.evaluations import evaluations_table

    store = open_store(runs)
    found = [find_scored(store.root, text) for text in evaluation or ()]
    found = found or list(list_scored(store.root))
    if not found:
        raise InputError(f"{store.root} has no evaluations; `fcn-bench evaluate` makes them")
    frame = compare_evaluations(store, found)
    table = evaluations_table(frame)
    if out is not None:
        folder = Outputs(out, by="evaluations", of={"store": str(store.root)}, chosen=True)
        texts = {"evaluations.csv": to_csv(frame), "evaluations.md": to_markdown(table)}
        folder.write({name: text.encode() for name, text in texts.items()})
        if not as_json:
            say(f"comparison: {out / 'evaluations.md'}")
    if as_json:
        show_json(frame.astype(object).where(frame.notna(), None).to_dict("records"))
        return
    show([{str(k): v for k, v in row.items()} for row in table.cells.to_dict("records")], False)
    apart: dict[str, dict[str, None]] = {}
    for name, note in zip(frame["name"], frame["note"], strict=True):
        apart.setdefault(note, {})[name] = None
    for note, names in apart.items():
        if note:
            say(f"{', '.join(names)}: no difference to the first: {note}")
    if any(apart):
        say("`fcn-bench evaluations compare ID ID...` compares those that are named with the first")
    say(table.caption)
