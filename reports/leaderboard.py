"""A leaderboard: finished runs of any number of stores in one CSV file, which others can merge.

A row is a run, known by its id and the split that it was scored on. Merging is a union: in any
order, any number of times, the same file comes of the same rows.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.metrics import SCORES, summarize
from bench.store.runs import Store
from fcn.errors import InputError
from reports.formats import defuse

COLUMNS = (
    *("dataset", "split", "fingerprint", "miou", "pixel_acc", "mean_acc", "fw_iou"),
    *("ablation", "variant", "seed", "backbone", "skip", "steps", "num_images"),
    *("num_parameters", "gmacs", "train_seconds", "device", "torch", "finished", "run_id"),
)
"""In their order. Scores are fractions, to the last bit; `fingerprint` names the data's content by
its first 16 digits, and scores of different ones cannot be compared; `run_id` hashes all that can
change a result."""
LARGEST = 100_000_000
"""Bytes of a file that is merged."""

Row = Mapping[str, str]


def rows_of(store: Store) -> list[Row]:
    """Return the rows of a store's finished runs; records that cannot be read have none."""
    rows: list[Row] = []
    for run_id in store.run_ids():
        try:
            found = _row_of(store, run_id)
        except InputError:
            continue  # `runs verify` names it, and what is to be done
        if found is not None:
            rows.append(found)
    return rows


def read_board(path: Path) -> list[Row]:
    """Read a leaderboard, which anybody may have written.

    Raises:
        InputError: It is none; the message names the line.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there; give a leaderboard, a CSV that this command wrote")
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path} is larger than a leaderboard may be ({LARGEST} bytes)")
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV: {error}") from None
    if not lines or tuple(lines[0]) != COLUMNS:
        raise InputError(f"{path} is no leaderboard: its columns are not {','.join(COLUMNS)}")
    rows: list[Row] = []
    for number, line in enumerate(lines[1:], start=2):
        row = dict(zip(COLUMNS, line, strict=False))
        problem = f"it has {len(line)} cells" if len(line) != len(COLUMNS) else _problem_of(row)
        if problem:
            raise InputError(f"{path}, line {number}: {problem}; nothing was merged")
        rows.append({name: defuse(text) for name, text in row.items()})
    return rows


def merge(boards: Iterable[Sequence[Row]]) -> list[Row]:
    """Return all rows once, the best of each data set first.

    Of two rows of one run and split, as when two machines made it, the one that finished first
    stays; by their text, where both finished at once.
    """
    found: dict[tuple[str, str], Row] = {}
    for row in (row for board in boards for row in board):
        key = row["run_id"], row["split"]
        if key not in found or _age(row) < _age(found[key]):
            found[key] = row
    return sorted(found.values(), key=_place)


def write_board(rows: Sequence[Row]) -> str:
    """Write rows as the text of a leaderboard."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[name] for name in COLUMNS] for row in rows)
    return text.getvalue()


def _row_of(store: Store, run_id: str) -> Row | None:
    result = store.result(run_id)
    if result is None:
        return None
    run, names = store.run(run_id), store.names.by_id.get(run_id, ())
    scores, spec, environment = summarize(result.confusion), run.spec, result.environment
    if any(math.isnan(getattr(scores, name)) for name in SCORES):
        return None  # no labelled pixel was judged
    values: dict[str, Any] = {
        "dataset": spec.data.dataset,
        "split": result.split,
        "fingerprint": run.fingerprint[:16],
        **{name: getattr(scores, name) for name in SCORES},
        "ablation": names[0].ablation if names else "",
        "variant": names[0].variant if names else "",
        "seed": spec.seed,
        "backbone": spec.model.external or spec.model.backbone,
        "skip": "" if spec.model.external else spec.model.skip,
        "steps": spec.train.steps,
        "num_images": result.num_images,
        "num_parameters": result.num_parameters,
        "gmacs": result.gmacs,
        "train_seconds": result.train_seconds,
        "device": environment.get("device_name", ""),
        "torch": environment.get("torch", ""),
        "finished": result.finished,
        "run_id": run_id,
    }
    return {name: _cell(values[name]) for name in COLUMNS}


def _cell(value: object) -> str:
    if value is None:
        return ""
    return defuse(value) if isinstance(value, str) else repr(value)


def _problem_of(row: Row) -> str:
    """Say what is wrong with a row; nothing where it can be one of ours."""
    for name, form in (("run_id", "[0-9a-f]{16}"), ("fingerprint", "[0-9a-f]{16}")):
        if not re.fullmatch(form, row[name]):
            return f"{name} is {row[name]!r}, not 16 hex digits"
    for name in SCORES:
        if not 0.0 <= _number(row[name]) <= 1.0:
            return f"{name} is {row[name]!r}, no fraction"
    for name in ("seed", "steps", "num_images", "num_parameters"):
        if not re.fullmatch("[0-9]{1,18}", row[name]):
            return f"{name} is {row[name]!r}, no whole number"
    for name in ("gmacs", "train_seconds"):
        if row[name] and not _number(row[name]) >= 0.0:
            return f"{name} is {row[name]!r}, no number"
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)", row["finished"]):
        return f"finished is {row['finished']!r}, no time"
    return ""


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _age(row: Row) -> tuple[str, ...]:
    return (row["finished"], *(row[name] for name in COLUMNS))


def _place(row: Row) -> tuple[object, ...]:
    data = row["dataset"], row["split"], row["fingerprint"]
    return (*data, -float(row["miou"]), row["run_id"], _age(row))
