"""Records as tidy frames: one row for each planned run, finished or not.

In: a plan and a store. Out: pandas frames with raw units (fractions, seconds, counts).
Rows follow the plan's order, and everything later keeps it: the spec decides what is shown first.
"""

import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.metrics import KINDS, SCORES, find_metric, summarize
from bench.plan import Plan, PlannedRun
from bench.scoring import Scoring
from bench.store.evaluation_file import UnusableCountsError
from bench.store.records import Reason
from bench.store.runs import Failure, Result, Status, Store
from fcn.errors import InputError
from reports.results.counts import add_images, group_sums, read_counts, score_flat
from reports.results.settings import find_factors, flat_settings, plain

IDENTITY = ["variant", "seed", "backbone", "skip", "run_id"]
"""Columns that every frame begins with."""
EXTRA_COSTS = ("gmacs", "latency_ms", "latency_low_ms", "latency_high_ms", "step_memory_mib")
"""Costs that a record may hold; the frame has a column for those that one does."""
TIMING = ("timed_size", "timed_beside", "threads")
"""How the latency of a record was taken: the image's size, other runs meanwhile, CPU threads."""


@dataclass(frozen=True)
class Record:
    """What the store knows of one planned run."""

    planned: PlannedRun
    status: Status
    result: Result | None
    failure: Failure | None


def read_records(plan: Plan, store: Store) -> list[Record]:
    """Read the outcome of each planned run; a record that cannot be read counts as failed.

    Of a variant whose values are not chosen yet all runs are missing, whatever the store has.
    """
    unsettled = plan.unsettled
    with _collector_at_rest():
        return [
            Record(planned, "missing", None, None)
            if planned.variant in unsettled
            else _read_record(planned, store)
            for planned in plan.runs
        ]


def runs_frame(plan: Plan, store: Store, records: Sequence[Record] | None = None) -> pd.DataFrame:
    """Return one row for each planned run: identity, status, factors, scores, costs.

    `records` are those of `read_records`, where they were read already.

    Scores are fractions, durations seconds; both are NaN where there is no result. Beside the four
    scores there are those that the question shows, and `boundary_miou` if a run has it.
    """
    with _collector_at_rest():
        records = read_records(plan, store) if records is None else records
        settings = flat_settings(plan)
        factors = find_factors(plan)
        scores = _score_records(records, plan.scoring)
        if plan.scoring.reads_images:
            _add_means_of_images(scores, records, store, plan.scoring)
        rows = [
            _run_row(record, {key: plain(own.get(key)) for key in factors}) | scores.get(i, {})
            for i, (record, own) in enumerate(zip(records, settings, strict=True))
        ]
    further = [name for name in plan.scoring.names(tuple(KINDS)) if name not in SCORES]
    own = {*plan.scoring.also, plan.scoring.primary}  # shown though no run has finished
    more = [n for n in (*further, *EXTRA_COSTS) if n in own or any(n in row for row in rows)]
    numbers = [*SCORES, *more, "num_parameters", "train_seconds", "evaluate_seconds"]
    timing = TIMING if "latency_ms" in more else ()
    frame = pd.DataFrame(rows, columns=[*_RUN_COLUMNS, *more, *timing, *factors])
    return frame.astype(dict.fromkeys(numbers, "float64"))


def class_frame(plan: Plan, store: Store, records: Sequence[Record] | None = None) -> pd.DataFrame:
    """Return one row for each finished run and class: `class_name`, `iou`, and what else is shown.

    IoU is NaN for a class in neither target nor prediction. A score that is a mean over classes and
    that the question shows is a column of its own name, such as `dice`.
    """
    records = read_records(plan, store) if records is None else records
    scores = _score_records(records, plan.scoring)
    shown = ["iou", *list_class_scores(plan.scoring)]
    columns: dict[str, list[Any]] = {key: [] for key in [*IDENTITY, "class_name", *shown]}
    for i, record in enumerate(records):
        if record.result is None:
            continue
        names = unique_names(record.result.class_names)
        for key, value in _identity(record.planned).items():
            columns[key] += [value] * len(names)
        columns["class_name"] += names
        for name in shown:
            columns[name] += scores[i][BY_CLASS].get(name) or [float("nan")] * len(names)
    return pd.DataFrame(columns)


def curves_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """Return one row for each logged step: `step`, `images` seen, `loss`, `lr`, `seconds`."""
    columns = ["step", "loss", "lr", "seconds"]
    frames = []
    for planned in plan.settled:
        rows = [row for row in store.logs(planned.run.id) if "loss" in row]
        if rows:
            frame = pd.DataFrame({key: [row.get(key) for row in rows] for key in columns})
            frame["images"] = frame["step"] * images_per_step(planned)
            frames.append(frame.assign(**_identity(planned)))
    columns = [*IDENTITY, "step", "images", "loss", "lr", "seconds"]
    return (
        pd.concat(frames, ignore_index=True)[columns]
        if frames
        else pd.DataFrame([], columns=columns)
    )


def eval_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """Return one row for each score taken along the way.

    `step`, `images` seen, `seconds` of training until then, `split`, and the four scores.
    """
    rows = []
    for planned in plan.settled:
        seconds = float("nan")  # the log is in order: a step's loss comes before its score
        for row in store.logs(planned.run.id):
            if "confusion" not in row:
                seconds = row["seconds"]
            else:
                scores = summarize(np.array(row["confusion"]))
                values = {name: getattr(scores, name) for name in SCORES}
                rows.append(
                    {
                        **_identity(planned),
                        "step": row["step"],
                        "images": row["step"] * images_per_step(planned),
                        "seconds": seconds,
                        "split": row["split"],
                        **values,
                    }
                )
    columns = [*IDENTITY, "step", "images", "seconds", "split", *SCORES]
    return pd.DataFrame(rows, columns=columns)


def find_log_problems(plan: Plan, store: Store) -> list[str]:
    """Say of which runs rows of the log are missing, and why."""
    logs = [(planned, store.log(planned.run.id).problem) for planned in plan.settled]
    return [
        f"{planned.variant}, seed {planned.run.spec.seed}: {problem}"
        for planned, problem in logs
        if problem is not None
    ]


def images_per_step(planned: PlannedRun) -> int:
    """Return how many images one optimiser update sees."""
    train = planned.run.spec.train
    return train.batch_size * train.grad_accum_steps


_RUN_COLUMNS = [
    *["variant", "seed", "backbone", "skip", "status", "reason", "message", *SCORES],
    *["num_parameters", "train_seconds", "evaluate_seconds", "steps", "split", "num_images"],
    *["device", "finished", "commit", "run_id"],
]


def _read_record(planned: PlannedRun, store: Store) -> Record:
    try:
        result = store.result(planned.run.id)
        failure = None if result else store.failure(planned.run.id)
    except InputError as error:
        return Record(planned, "failed", None, Failure(Reason.UNREADABLE, str(error)))
    if result is not None:
        return Record(planned, "done", _without_places(result), None)
    return Record(planned, "failed" if failure else "missing", None, failure)


def _without_places(result: Result) -> Result:
    """Name files of weights without their folders: a report is read on other machines."""
    named: Any = _name_files(result.weights)
    return result if named == result.weights else replace(result, weights=named)


def _name_files(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Cut sources that are paths to their last part, also in records of streams."""
    named = {k: _name_files(v) if isinstance(v, Mapping) else v for k, v in weights.items()}
    source = named.get("source")
    if isinstance(source, str) and Path(source).is_absolute():
        named["source"] = Path(source).name
    return named


def _identity(planned: PlannedRun) -> dict[str, Any]:
    spec = planned.run.spec
    return {
        "variant": planned.variant,
        "seed": spec.seed,
        "backbone": spec.model.backbone,
        "skip": spec.model.skip,
        "run_id": planned.run.id,
    }


def _run_row(record: Record, factors: Mapping[str, str]) -> dict[str, Any]:
    spec = record.planned.run.spec
    row = {
        **_identity(record.planned),
        "status": record.status,
        "reason": str(record.failure.reason) if record.failure else _notes(record),
        "message": record.failure.message if record.failure else "",
        "steps": spec.train.steps,
        "split": spec.evaluate.split,
        **factors,
    }
    if record.result is not None:
        costs = ("num_parameters", "train_seconds", "evaluate_seconds", "num_images", "finished")
        row |= {name: getattr(record.result, name) for name in costs}
        row |= {name: value for name, value in _costs(record.result) if value is not None}
        row["commit"] = str(record.result.environment.get("commit") or "")
        row["device"] = str(record.result.environment.get("device_name", ""))
    return row


def _costs(result: Result) -> Iterator[tuple[str, Any]]:
    """Yield the costs of a record that not every one has, and how its latency was taken."""
    yield from (("gmacs", result.gmacs), ("latency_ms", result.latency_ms))
    ends = ("latency_low_ms", "latency_high_ms")
    yield from zip(ends, result.latency_quartiles_ms or (None, None), strict=True)
    yield "step_memory_mib", result.step_memory_mib
    size = result.timed_size
    yield "timed_size", None if size is None else f"{size[0]}x{size[1]}"
    yield "timed_beside", result.timed_beside
    if result.latency_ms is not None:
        yield "threads", result.environment.get("threads")


BY_CLASS = "by class"


def _score_records(records: Sequence[Record], scoring: Scoring) -> dict[int, dict[str, Any]]:
    """Score finished runs, many at once; by position, the scores, and lists `BY_CLASS`."""
    done = [(i, record.result) for i, record in enumerate(records) if record.result is not None]
    scored: dict[int, dict[str, Any]] = {}
    for places, scorer, parts in group_sums([result for _, result in done], scoring.pooled()):
        columns = {name: values.tolist() for name, values in scorer.score(parts).items()}
        of_classes = scorer.of_classes(parts)
        wanted = {"iou": of_classes["IoU"]}
        for name in list_class_scores(scoring):
            if (metric := find_metric(name)).counts in parts:
                wanted[name] = of_classes[metric.of_class]
        by_class = {name: values.tolist() for name, values in wanted.items()}
        for k, place in enumerate(places):
            own = {name: values[k] for name, values in columns.items()}
            classes = {name: values[k] for name, values in by_class.items()}
            scored[done[place][0]] = {**own, BY_CLASS: classes}
    return scored


def list_class_scores(scoring: Scoring) -> list[str]:
    """Return the scores beside mIoU that have one for each class, and that a question shows."""
    shown = dict.fromkeys((*scoring.also, scoring.primary))
    return [name for name in shown if name not in SCORES and find_metric(name).of_class]


def _add_means_of_images(
    scores: dict[int, dict[str, Any]], records: Sequence[Record], store: Store, scoring: Scoring
) -> None:
    """Add means over images to scores by position; none where counts by image are not there."""
    for i, record in enumerate(records):
        if record.result is None or not np.any(record.result.confusion):
            continue
        try:
            counts = read_counts(store, record.result)
        except UnusableCountsError:
            continue
        scorer, C = counts.scorer(scoring), counts.num_classes
        found, _ = score_flat(add_images(counts.values, C, scorer).sum(0), C, scorer)
        named = dict(zip(scorer.names, found.tolist(), strict=True))
        scores[i] |= {name: named[name] for name in scorer.by_image}


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from looking through records again and again while they grow.

    Nothing read has cycles; of ten thousand records, half of the time went there.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def unique_names(names: Sequence[str]) -> list[str]:
    """Number the classes that share a name, so that each keeps its own column."""
    counts = Counter(names)
    return [n if counts[n] == 1 else f"{n} (class {i})" for i, n in enumerate(names)]


def _notes(record: Record) -> str:
    """Say what a reader of a finished run must know, such as an inexact resume."""
    return "; ".join(record.result.notes) if record.result else ""
