"""From a spec's name to a plan, over the data at hand or that a store remembers.

In: a name or path, `--set` texts, a store. Out: a `Plan`, and the catalog of its datasets.
"""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcn.errors import InputError

if TYPE_CHECKING:
    from bench.data.catalog import Catalog
    from bench.plan import Plan
    from bench.store import Store

TRIAL_STEPS = 2

Spec = Annotated[str, typer.Argument(help="Name of an ablation, or path of a YAML file.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value on top of the spec.")]


def plan_spec(
    spec: str,
    store: "Store",
    data: Path | None,
    settings: list[str] | None,
    *,
    recall: bool = False,
) -> "tuple[Plan, Catalog]":
    """Load a spec and expand it.

    Args:
        spec: Name or path.
        store: Remembers datasets.
        data: Folder of the pictures, if they are at hand.
        settings: Texts `key=value` on top of the spec.
        recall: Take what the store remembers of the data without looking at the pictures.
    """
    from ablations.expand import expand
    from ablations.registry import load_ablation
    from bench.data.catalog import Catalog

    catalog = Catalog(store, data, recall=recall)
    ablation = load_ablation(spec, dict(map(_parse_setting, settings or ())))
    command = ["fcn-bench", "run", spec]
    command += [word for setting in settings or () for word in ("--set", setting)]
    command += ["--data", "DIR"] if data else []
    return expand(ablation, catalog.facts, command=shlex.join(command)), catalog


def plan_trial(spec: str, store: "Store", data: Path | None, settings: list[str] | None) -> "Plan":
    """Plan two steps of every variant with the first seed; takes what `plan_spec` takes."""
    plan, _ = plan_spec(spec, store, data, [*(settings or ()), f"train.steps={TRIAL_STEPS}"])
    seed = plan.runs[0].run.spec.seed
    return replace(plan, runs=tuple(run for run in plan.runs if run.run.spec.seed == seed))


def _parse_setting(setting: str) -> tuple[str, Any]:
    key, equals, value = setting.partition("=")
    if not equals or not key:
        raise InputError(f"--set {setting}: write key=value, such as --set train.steps=200")
    from ablations.yaml_file import parse_yaml

    return key, parse_yaml(value, where=f"--set {key}")
