"""Scalars of all runs for TensorBoard, through its own writer: extra `fcn-bench[tensorboard]`.

In: a plan and a store. Out: an event file for each run, under `<folder>/<variant>/seed-<n>/`.
"""

import re
from pathlib import Path
from typing import Any

from bench.metrics import SCORES, summarize
from bench.plan import Plan
from bench.records import LogRow
from bench.store import Store
from fcn.errors import InputError


def export_scalars(plan: Plan, store: Store, folder: Path) -> int:
    """Write loss, learning rate, watched and final scores of every run; return how many have any.

    A run's events of an earlier export are replaced. Time in TensorBoard is training time.

    Raises:
        InputError: The package tensorboard is not installed.
    """
    open_writer = _find_writer()
    count = 0
    for planned in plan.runs:
        rows = store.logs(planned.run.id)
        if not rows:
            continue
        count += 1
        place = folder / _to_path(planned.variant) / f"seed-{planned.run.spec.seed}"
        for old in place.glob("events.out.tfevents.*"):
            old.unlink()
        writer = open_writer(str(place))
        seconds = 0.0
        for row in rows:
            if "confusion" not in row:
                seconds = row["seconds"]
            for tag, value in _scalars(row):
                writer.add_scalar(tag, value, row["step"], wall_time=seconds)
        result = store.result(planned.run.id)
        if result is not None:
            final = summarize(result.confusion)
            for name in SCORES:
                value = getattr(final, name)
                writer.add_scalar(
                    f"{result.split}/{name}", value, rows[-1]["step"], wall_time=seconds
                )
        writer.close()
    return count


def _scalars(row: LogRow) -> list[tuple[str, float]]:
    """Return the tags and values of one line of a log."""
    if "confusion" in row:
        scores = summarize(row["confusion"])
        return [(f"{row['split']}/{name}", getattr(scores, name)) for name in SCORES]
    return [("train/loss", row["loss"]), ("train/lr", row["lr"])]


def _to_path(variant: str) -> str:
    """Turn a variant's name into one folder's name: nothing in it leaves the export."""
    return re.sub(r"[^\w.+=-]", "_", variant).strip(".")[:100] or "variant"


def _find_writer() -> Any:
    try:
        from tensorboard.summary import Writer
    except ImportError:
        raise InputError(
            "the export needs the package tensorboard; pip install 'fcn-bench[tensorboard]'"
        ) from None
    return Writer
