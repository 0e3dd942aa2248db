"""Commands about what specs say: explain (resolved differences) and schema (for editors)."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ablations.planning import Set, Spec, load_spec
from ablations.report_cli import say
from bench.cli.command import AsJson, Plugins, show, show_json
from bench.plugins import load_plugins
from fcn.errors import InputError
from fcn.registry import unknown_name

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

KINDS = ("question", "base")


@app.command()
def explain(
    spec: Spec,
    settings: Set = None,
    variant: Annotated[
        str | None, typer.Option(help="Every setting of this variant, defaults too.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Print what a spec asks for, resolved: what all variants share, and in what they differ."""
    from ablations.explaining import (
        difference_rows,
        explain_spec,
        explain_variant,
        shared_rows,
        tuned_rows,
    )
    from ablations.fitting import spelled
    from bench.settings.yaml_file import parse_setting

    load_plugins(plugin)
    given = dict(parse_setting(setting, option="--set") for setting in settings or ())
    ablation = load_spec(spec, given, settings or ())
    if variant is not None:
        values = explain_variant(ablation, variant)
        rows = [{"key": key, "value": spelled(value)} for key, value in values.items()]
        show_json(values) if as_json else show(rows, as_json=False)
        return
    explained = explain_spec(ablation)
    if as_json:
        show_json(explained)
        return
    seeds = ", ".join(map(str, explained["seeds"]))
    beside = f"; baseline {explained['baseline']}" if explained["baseline"] else ""
    say(f"{explained['name']}: {explained['question']}\nseeds {seeds}{beside}\n")
    show(shared_rows(explained), as_json=False)
    say("")
    if explained["tune"]:
        show(tuned_rows(explained), as_json=False)
        say("")
    show(difference_rows(explained), as_json=False)


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(help="question, or base.")] = "question",
    out: Annotated[
        Path | None, typer.Option(help="Write it there; it is printed by default.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Print the JSON schema of specs, by which editors complete keys and names.

    With --out also the line is printed that goes to the top of a spec.
    """
    from ablations.spec_schema import EDITOR_LINE, base_schema, question_schema

    if kind not in KINDS:
        raise typer.BadParameter(unknown_name("kind", kind, KINDS))
    load_plugins(plugin)
    values = (question_schema if kind == "question" else base_schema)(_list_names())
    if out is None:
        show_json(values)
        return
    _write(out, values)
    say(
        f"{out} is written; a spec whose first line is\n{EDITOR_LINE}{out}\nis completed by editors"
    )


def _list_names() -> dict[str, list[str]]:
    """Return the names of parts to offer, by key."""
    import fcn
    from bench.data.registry import list_datasets

    return {
        "model.backbone": list(fcn.list_backbones()),
        "model.skip": list(fcn.list_skips()),
        "model.head": list(fcn.list_heads()),
        "model.upsampling": list(fcn.list_upsamplings()),
        "model.fusion": list(fcn.list_fusions()),
        "data.dataset": list(list_datasets()),
    }


def _write(path: Path, values: dict[str, Any]) -> None:
    """Write a schema, over nothing but an earlier one."""
    from bench.store.atomic import replacing

    if path.exists():
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            earlier = None
        if not isinstance(earlier, dict) or not str(earlier.get("title", "")).endswith("fcn-bench"):
            raise InputError(f"{path} is there, and is no schema of ours; give --out another name")
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
