"""Records as tidy frames: one row for each planned run, finished or not.

In: a plan and a store. Out: pandas frames with raw units (fractions, seconds, counts).
Rows follow the plan's order, and everything later keeps it: the spec decides what is shown first.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.metrics import SCORES, summarize
from bench.plan import Plan, PlannedRun
from bench.store import Failure, Result, Status, Store
from fcn.errors import InputError

IDENTITY = ["variant", "seed", "backbone", "skip", "run_id"]
"""Columns that every frame begins with."""
NOT_FACTORS = {"seed", "model.backbone", "model.skip"}
"""Keys with a column of their own."""


@dataclass(frozen=True)
class Record:
    """What the store knows of one planned run."""

    planned: PlannedRun
    status: Status
    result: Result | None
    failure: Failure | None


def read_records(plan: Plan, store: Store) -> list[Record]:
    """Read the outcome of each planned run; a record that cannot be read counts as failed."""
    return [_read_record(planned, store) for planned in plan.runs]


def find_factors(plan: Plan) -> list[str]:
    """List the dotted keys in which the plan's variants differ, besides backbone and skip."""
    specs = [_flatten(planned.run.spec.model_dump(mode="json")) for planned in plan.runs]
    keys = dict.fromkeys(key for spec in specs for key in spec)
    differ = [key for key in keys if len({_plain(spec.get(key)) for spec in specs}) > 1]
    return [key for key in differ if key not in NOT_FACTORS]


def runs_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """Return one row for each planned run: identity, status, factors, scores, costs.

    Scores are fractions, durations seconds; both are NaN where there is no result.
    """
    factors = find_factors(plan)
    rows = [_run_row(record, factors) for record in read_records(plan, store)]
    numbers = [*SCORES, "num_parameters", "train_seconds", "evaluate_seconds"]
    frame = pd.DataFrame(rows, columns=[*_RUN_COLUMNS, *factors])
    return frame.astype(dict.fromkeys(numbers, "float64"))


def class_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """Return one row for each finished run and class: `class_name` and `iou`.

    IoU is NaN for a class in neither target nor prediction.
    """
    rows = []
    for record in read_records(plan, store):
        if record.result is None:
            continue
        scores = summarize(np.array(record.result.confusion))
        for name, iou in zip(_unique(record.result.class_names), scores.iou, strict=True):
            rows.append({**_identity(record.planned), "class_name": name, "iou": float(iou)})
    return pd.DataFrame(rows, columns=[*IDENTITY, "class_name", "iou"])


def curves_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """Return one row for each logged step: `step`, `loss`, `lr`, `seconds`."""
    columns = ["step", "loss", "lr", "seconds"]
    rows = [
        {**_identity(planned), **{key: row.get(key) for key in columns}}
        for planned in plan.runs
        for row in store.logs(planned.run.id)
        if "loss" in row
    ]
    return pd.DataFrame(rows, columns=[*IDENTITY, *columns])


def watched_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """Return one row for each score taken along the way: `step`, `split` and the four scores."""
    rows = []
    for planned in plan.runs:
        for row in store.logs(planned.run.id):
            if "confusion" in row:
                scores = summarize(np.array(row["confusion"]))
                values = {name: getattr(scores, name) for name in SCORES}
                where = {"step": row["step"], "split": row["split"]}
                rows.append({**_identity(planned), **where, **values})
    return pd.DataFrame(rows, columns=[*IDENTITY, "step", "split", *SCORES])


_RUN_COLUMNS = [
    *["variant", "seed", "backbone", "skip", "status", "reason", "message", *SCORES],
    *["num_parameters", "train_seconds", "evaluate_seconds", "steps", "split", "num_images"],
    *["device", "finished", "run_id"],
]


def _read_record(planned: PlannedRun, store: Store) -> Record:
    try:
        result = store.result(planned.run.id)
        failure = store.failure(planned.run.id)
    except (InputError, TypeError) as error:  # TypeError: fields of another version
        return Record(planned, "failed", None, Failure("unreadable", str(error)))
    if result is not None:
        return Record(planned, "done", result, None)
    return Record(planned, "failed" if failure else "missing", None, failure)


def _identity(planned: PlannedRun) -> dict[str, Any]:
    spec = planned.run.spec
    return {
        "variant": planned.variant,
        "seed": spec.seed,
        "backbone": spec.model.backbone,
        "skip": spec.model.skip,
        "run_id": planned.run.id,
    }


def _run_row(record: Record, factors: Sequence[str]) -> dict[str, Any]:
    spec = record.planned.run.spec
    settings = _flatten(spec.model_dump(mode="json"))
    row = {
        **_identity(record.planned),
        "status": record.status,
        "reason": record.failure.reason if record.failure else "",
        "message": record.failure.message if record.failure else "",
        "steps": spec.train.steps,
        "split": spec.evaluate.split,
        **{key: _plain(settings.get(key)) for key in factors},
    }
    if record.result is not None:
        scores = summarize(np.array(record.result.confusion))
        row |= {name: getattr(scores, name) for name in SCORES}
        costs = ("num_parameters", "train_seconds", "evaluate_seconds", "num_images", "finished")
        row |= {name: getattr(record.result, name) for name in costs}
        row["device"] = str(record.result.environment.get("device_name", ""))
    return row


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        flat |= _flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _plain(value: Any) -> str:
    """Write a setting as text: lists are not hashable, and 1 and true are different settings."""
    return value if isinstance(value, str) else json.dumps(value)


def _unique(names: Sequence[str]) -> list[str]:
    """Number the classes that share a name, so that each keeps its own column."""
    counts = Counter(names)
    return [n if counts[n] == 1 else f"{n} (class {i})" for i, n in enumerate(names)]
