"""Settings of runs by dotted key, and those in which the runs of a plan differ.

In: a plan. Out: one flat dictionary for each planned run. Runs that share a part of their spec, as
seeds of a variant do, share its reading: plans may hold ten thousand runs.
"""

import json
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

from pydantic import BaseModel

from bench.plan import Plan
from bench.settings.keys import overlap

NOT_FACTORS = {"seed", "model.backbone", "model.skip"}
"""Keys with a column of their own."""
NOT_CAUSES = ("train.init_from", "train.init_streams")
"""Factors that follow from others: the name of a parent says nothing about what was changed."""
FROZEN = "train.freeze."
NEVER, FOR_GOOD = "never", "for good"
"""Levels of a part that some runs freeze: not at all, and without an end."""


def flat_settings(plan: Plan) -> list[dict[str, Any]]:
    """Return the settings of each planned run by dotted key."""
    read = _read_parts(plan)
    rows = []
    for planned in plan.runs:
        row: dict[str, Any] = {}
        for name, part in planned.run.spec:
            row |= read[id(part)] if isinstance(part, BaseModel) else {name: part}
        rows.append(row)
    return rows


def find_factors(plan: Plan) -> list[str]:
    """List the dotted keys in which the plan's variants differ, besides backbone and skip."""
    read = _read_parts(plan)
    parts: dict[str, dict[int, dict[str, Any]]] = {}
    for planned in plan.runs:
        for name, part in planned.run.spec:
            known = parts.setdefault(name, {})
            if isinstance(part, BaseModel):
                known[id(part)] = read[id(part)]
            else:
                known[hash(part)] = {name: part}
    factors = []
    for own in parts.values():
        rows = list(own.values())
        keys = dict.fromkeys(key for row in rows for key in row)
        factors += [key for key in keys if key not in NOT_FACTORS and _differs(key, rows)]
    return factors


def _read_parts(plan: Plan) -> dict[int, dict[str, Any]]:
    """Read each part of the specs once, by its identity: seeds of a variant share one object.

    What is a mapping in one run and a word in another, as a sum of losses and one alone, is one
    value in both.
    """
    parts: dict[str, dict[int, BaseModel]] = {}
    for planned in plan.runs:
        for name, part in planned.run.spec:
            if isinstance(part, BaseModel):
                parts.setdefault(name, {})[id(part)] = part
    read: dict[int, dict[str, Any]] = {}
    for name, own in parts.items():
        nested = {place: _dump(part) for place, part in own.items()}
        flat = {place: flatten(values, f"{name}.") for place, values in nested.items()}
        keys = {key for row in flat.values() for key in row}
        above = {key[: dot.start()] for key in keys for dot in re.finditer(r"\.", key)}
        whole = keys & above
        if whole:
            flat = {place: flatten(one, f"{name}.", whole) for place, one in nested.items()}
        for key in (key for key in keys if key.startswith(FROZEN)):
            for row in flat.values():
                row.setdefault(key, NEVER)
        read |= flat
    return read


def _dump(part: BaseModel) -> dict[str, Any]:
    """Dump a part; what is frozen without an end is told from what is not frozen."""
    values = part.model_dump(mode="json")
    if frozen := values.get("freeze"):
        ends = {name: FOR_GOOD if end is None else end for name, end in frozen.items()}
        values["freeze"] = ends
    return values


def find_causes(plan: Plan) -> list[str]:
    """List those of `find_factors` that somebody changed: not what follows from them, or is tuned.

    A key of which each variant has its best is no difference between variants; it belongs to each.
    """
    tuned = plan.tuning.values if plan.tuning else ()
    return [
        name
        for name in find_factors(plan)
        if name not in NOT_CAUSES and not any(overlap(name, key) for key in tuned)
    ]


def flatten(
    values: Mapping[str, Any], prefix: str = "", whole: Set[str] = frozenset()
) -> dict[str, Any]:
    """Return nested settings by dotted key; mappings under the keys in `whole` stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and f"{prefix}{key}" not in whole:
            flat |= flatten(value, f"{prefix}{key}.", whole)
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def share_values(specs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Keep the keys whose value is the same in all nested dictionaries."""
    common: dict[str, Any] = {}
    for key, value in specs[0].items() if specs else ():
        others = [spec[key] for spec in specs if key in spec]
        if len(others) < len(specs):  # a null that is there is not one that is missing
            continue
        if all(other == value for other in others):
            common[key] = value
        elif all(isinstance(other, dict) for other in others):
            common[key] = share_values(others)
    return common


def own_values(spec: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the keys of a nested dictionary whose value is not in the one that all share."""
    own: dict[str, Any] = {}
    for key, value in spec.items():
        if key not in common:
            own[key] = value
        elif isinstance(value, dict) and value != common[key]:
            own[key] = own_values(value, common[key])
    return own


def join_values(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `own_values`."""
    joined = dict(common)
    for key, value in own.items():
        shared = common.get(key)
        is_part = isinstance(value, Mapping) and isinstance(shared, Mapping)
        joined[key] = join_values(shared or {}, value) if is_part else value
    return joined


def plain(value: Any) -> str:
    """Write a setting as text: lists are not hashable, and 1 and true are different settings."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {plain(one)}' for key, one in value.items())}}}"
    return value if isinstance(value, str) else json.dumps(value)


def _differs(key: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    first = rows[0].get(key)
    text = plain(first)
    values = (row.get(key) for row in rows)
    return any(value is not first and plain(value) != text for value in values)
