"""Where the numbers are from: settings, software and logs, as text to show.

In: a plan and the records of its runs. Out: cleaned text, unescaped.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from bench.plan import Plan
from reports.formats import Table
from reports.frame import Record
from reports.style import MISSING, clean, clean_block

MAX_LOG = 4000
"""Characters of a failure's log that are shown: its end."""


@dataclass(frozen=True)
class Unfinished:
    """A planned run without a result, and why."""

    name: str
    status: str
    reason: str
    message: str
    details: str


def list_unfinished(records: Sequence[Record]) -> list[Unfinished]:
    """List the planned runs that have no result, in the plan's order."""
    return [
        Unfinished(
            name=f"{clean(record.planned.variant)}, seed {record.planned.run.spec.seed}",
            status=record.status,
            reason=clean(record.failure.reason) if record.failure else "",
            message=clean(record.failure.message) if record.failure else "not run yet",
            details=clean_block(record.failure.details)[-MAX_LOG:] if record.failure else "",
        )
        for record in records
        if record.status != "done"
    ]


def shared_settings(plan: Plan) -> str:
    """Write the settings that all runs have in common, as YAML."""
    specs = [planned.run.spec.model_dump(mode="json") for planned in plan.runs]
    common = _intersect(specs)
    return clean_block(yaml.safe_dump(common, sort_keys=False, allow_unicode=True))


def settings_table(runs: pd.DataFrame, factors: Sequence[str]) -> Table:
    """Show each variant's value of every setting in which the variants differ."""
    variants = runs.drop_duplicates("variant")
    cells = pd.DataFrame({"variant": [clean(name) for name in variants["variant"]]})
    names = {"backbone": "model.backbone", "skip": "model.skip"}
    for factor in ("backbone", "skip", *factors):
        if factor not in names or variants[factor].nunique() > 1:
            cells[clean(names.get(factor, factor))] = [clean(value) for value in variants[factor]]
    return Table(cells, frozenset())


def environment_table(records: Iterable[Record]) -> Table:
    """Show device and versions; where runs differ, each value with the number of its runs."""
    values: dict[str, list[str]] = {}
    for record in records:
        for key, value in record.result.environment.items() if record.result else ():
            values.setdefault(clean(key), []).append(clean(value))
    rows = [(key, _tally(found)) for key, found in values.items()]
    return Table(pd.DataFrame(rows, columns=["what", "value"]), frozenset())


def weights_table(records: Iterable[Record]) -> Table:
    """Show where each variant's starting weights came from, as its runs recorded it."""
    weights: dict[str, list[str]] = {}
    for record in records:
        if record.result and record.result.weights:
            text = "; ".join(f"{k}: {_brief(v)}" for k, v in record.result.weights.items())
            weights.setdefault(clean(record.planned.variant), []).append(clean(text))
    rows = [(variant, found[0]) for variant, found in weights.items()]
    return Table(pd.DataFrame(rows, columns=["variant", "starting weights"]), frozenset())


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} entries" if value else "none"
    return value if isinstance(value, str) else json.dumps(value)


def _tally(found: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(found))
    if len(distinct) == 1:
        return distinct[0] or MISSING
    return ", ".join(f"{value} ({found.count(value)} runs)" for value in distinct)


def _intersect(specs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Keep the keys whose value is the same in all nested dictionaries."""
    common: dict[str, Any] = {}
    for key, value in specs[0].items() if specs else ():
        others = [spec.get(key) for spec in specs]
        if all(other == value for other in others):
            common[key] = value
        elif all(isinstance(other, dict) for other in others):
            common[key] = _intersect([other for other in others if isinstance(other, dict)])
    return common
