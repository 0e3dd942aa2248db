"""Everything that a store holds of its runs, as four tidy tables for whoever computes on.

    runs      a row for each run: names, status, every setting, scores, costs, environment
    steps     a row for each line of its log: loss and learning rate, or scores along the way
    classes   a row for each class of a finished run: its pixels, and IoU
    images    a row for each image of a finished run: its pixels, and scores

Units are raw: fractions, seconds, counts. `run_id` joins them.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.metrics import BOUNDARY_SCORE, SCORES, score_boundary, score_many, summarize
from bench.store.runs import Store
from fcn.errors import InputError
from fcn.registry import unknown_name
from reports.results.frame import unique_names
from reports.results.settings import flatten

Row = dict[str, Any]


def read_table(source: Store | str | Path, table: str = "runs") -> pd.DataFrame:
    """Return one of the tables of a store: `runs`, `steps`, `classes` or `images`.

    Each column is of one kind: where values of several stand in one, such as a setting that is a
    number here and a name there, all are JSON.

    Raises:
        InputError: There is no store, no such table, or a record cannot be read.
    """
    if table not in TABLES:
        raise InputError(unknown_name("table", table, TABLES))
    store = source if isinstance(source, Store) else _open(Path(source))
    rows = [row for run_id in store.run_ids() for row in TABLES[table](store, run_id)]
    names = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame({name: _of_one_kind([row.get(name) for row in rows]) for name in names})


def to_parquet(frame: pd.DataFrame) -> bytes:
    """Return a table as Parquet, which needs the extra `fcn-bench[parquet]`.

    Raises:
        InputError: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401  # pandas writes by it
    except ImportError:
        raise InputError(
            "Parquet is written by pyarrow, which is not installed; pip install "
            "'fcn-bench[parquet]', or give a name that ends in .csv"
        ) from None
    content: bytes = frame.to_parquet(index=False, engine="pyarrow")
    return content


def _open(folder: Path) -> Store:
    if not (folder / "store.json").is_file():
        raise InputError(f"{folder} is no store (it has no store.json); give the folder of --runs")
    return Store(folder)


def _run_rows(store: Store, run_id: str) -> Iterator[Row]:
    run, names = store.run(run_id), store.names.by_id.get(run_id, ())
    result, failure = store.result(run_id), store.failure(run_id)
    row: Row = {
        "run_id": run_id,
        "ablation": names[0].ablation if names else None,
        "variant": names[0].variant if names else None,
        "names": json.dumps([str(name) for name in names]),
        "status": store.status(run_id),
        "reason": str(failure.reason) if failure else None,
        "message": failure.message if failure else None,
        "fingerprint": run.fingerprint,
        "parent": run.parent,
    }
    row |= flatten(run.spec.model_dump(mode="json"))
    if result is not None:
        scores = summarize(result.confusion)
        row |= {name: getattr(scores, name) for name in SCORES}
        if result.boundary is not None:
            row[BOUNDARY_SCORE] = float(score_boundary(np.array(result.boundary))[BOUNDARY_SCORE])
        row |= {name: getattr(result, name) for name in _RECORDED}
        row |= {f"environment.{key}": value for key, value in flatten(result.environment).items()}
        row["notes"] = "; ".join(result.notes)
    yield row


_RECORDED = (
    *("split", "num_images", "train_seconds", "evaluate_seconds", "num_parameters", "gmacs"),
    *("latency_ms", "latency_quartiles_ms", "timed_size", "timed_beside", "step_memory_mib"),
    *("peak_memory_mib", "selected_step", "finished"),
)
"""Of a record, as they are there."""


def _step_rows(store: Store, run_id: str) -> Iterator[Row]:
    train = store.run(run_id).spec.train
    seconds = None  # the log is in order: a step's loss comes before its score
    for logged in store.logs(run_id):
        row: Row = dict(logged)
        seconds = row.get("seconds", seconds)
        scores = summarize(row["confusion"]) if "confusion" in row else None
        yield {
            "run_id": run_id,
            "step": row["step"],
            "images": row["step"] * train.batch_size * train.grad_accum_steps,
            "seconds": seconds,
            "split": row.get("split"),
            "loss": row.get("loss"),
            "lr": row.get("lr"),
            **{name: getattr(scores, name, None) for name in SCORES},
        }


def _class_rows(store: Store, run_id: str) -> Iterator[Row]:
    result = store.result(run_id)
    if result is None:
        return
    counts = np.array(result.confusion)
    iou = summarize(result.confusion).iou
    for number, name in enumerate(unique_names(result.class_names)):
        yield {
            "run_id": run_id,
            "split": result.split,
            "class": number,
            "class_name": name,
            "target_pixels": int(counts[number].sum()),
            "predicted_pixels": int(counts[:, number].sum()),
            "correct_pixels": int(counts[number, number]),
            "iou": iou[number],
        }


def _image_rows(store: Store, run_id: str) -> Iterator[Row]:
    result = store.result(run_id)
    if result is None:
        return
    names, counts = store.confusions(run_id, result.split)
    scores = score_many(counts)
    pixels = counts.sum((1, 2))
    for number, name in enumerate(names):
        row: Row = {"run_id": run_id, "split": result.split, "image": name}
        row["pixels"] = int(pixels[number])
        yield row | {score: float(scores[score][number]) for score in SCORES}


TABLES: dict[str, Callable[[Store, str], Iterator[Row]]] = {
    "runs": _run_rows,
    "steps": _step_rows,
    "classes": _class_rows,
    "images": _image_rows,
}


def _of_one_kind(values: list[Any]) -> "pd.Series[Any]":
    """Return a column of numbers, of truth values or of text, with its gaps."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    plain = [None if isinstance(value, float) and math.isnan(value) else value for value in plain]
    kinds = {type(value) for value in plain if value is not None}
    for kind, dtype in ({int}, "Int64"), ({int, float}, "Float64"), ({bool}, "boolean"):
        if kinds and kinds <= kind:
            return pd.Series(plain, dtype=dtype)
    if not kinds <= {str}:
        plain = [None if value is None else json.dumps(value) for value in plain]
    return pd.Series(plain, dtype="string")
