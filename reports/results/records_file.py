"""The records beside a report, `records.json`: what it is made of, with `counts.npz`.

In: a plan, its records, and what only a store tells beyond them. Out: JSON, and back. Settings that
all runs share are written once; a result lacks the run that it is of, which stands beside it.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.claims import Claim
from bench.looks import Looks
from bench.plan import Plan, PlannedRun, Published, Run, RunId
from bench.scoring import USUAL, Scoring
from bench.spec import Schema
from bench.store.records import FAILURE, RESULT, describe_fault
from bench.tuning import Tuning
from fcn.errors import InputError
from reports.results.frame import Record
from reports.results.settings import join_values, own_values, share_values


@dataclass(frozen=True)
class Kept:
    """What a store tells beside records and counts."""

    trained: tuple[str, ...] = ()
    """What scores are to be read with, by what their runs were trained on; sentences."""
    unlearned: tuple[str, ...] = ()
    """Ids of runs whose loss was 0 throughout."""
    noted: Mapping[str, str] = field(default_factory=dict)
    """When each claim was noted first, by its digest."""
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Images by fingerprint of the data and split."""
    design: str = ""
    """What the design could show."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """By run, why its counts are left out."""


@dataclass(frozen=True)
class Drawn:
    """A figure beside the page, without its files: its words, its size, its named points."""

    name: str
    title: str
    caption: str
    width: int
    height: int
    marks: tuple[tuple[int, int, str], ...] = ()
    variants: tuple[str, ...] = ()
    """Of each point."""
    finding: str = ""
    """What it shows, in a sentence."""


@dataclass(frozen=True)
class Contents:
    """What `records.json` holds."""

    plan: Plan
    records: Sequence[Record]
    kept: Kept
    figures: Sequence[Drawn]


def pack_records(contents: Contents) -> bytes:
    """Write plan and records, the same bytes for the same content."""
    plan = contents.plan
    specs = [record.planned.run.spec.model_dump(mode="json") for record in contents.records]
    shared = share_values(specs)
    values = {
        "format": FORMAT,
        "plan": {
            **{name: getattr(plan, name) for name in _PLAIN},
            "published": [one.model_dump(mode="json") for one in plan.published],
            "claims": [one.model_dump(mode="json") for one in plan.claims],
            **({"scoring": plan.scoring.model_dump(mode="json")} if plan.scoring != USUAL else {}),
            **({"looks": _LOOKS.dump_python(plan.looks, mode="json")} if plan.looks else {}),
            **({"tuning": _TUNING.dump_python(plan.tuning, mode="json")} if plan.tuning else {}),
        },
        "settings": shared,
        "runs": [
            _write_record(record, own_values(spec, shared))
            for record, spec in zip(contents.records, specs, strict=True)
        ],
        "kept": dataclasses.asdict(contents.kept),
        "figures": [dataclasses.asdict(one) for one in contents.figures],
    }
    return (json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def read_records_file(path: Path) -> Contents:
    """Read what `pack_records` wrote.

    Raises:
        InputError: There is no such file, or it holds something else.
    """
    way_out = "write the report again from its store: fcn-bench report SPEC"
    try:
        written = _FILE.validate_json(path.read_bytes())
        records = [_read_record(one, written.settings, path) for one in written.runs]
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {way_out}") from None
    except ValidationError as error:
        raise InputError(
            f"{path} is not what this version writes: {describe_fault(error)}; {way_out}"
        ) from None
    runs = tuple(record.planned for record in records)
    plan = Plan(
        **{name: getattr(written.plan, name) for name in _WrittenPlan.model_fields}, runs=runs
    )
    claims = tuple(claim.under(plan.scoring.primary) for claim in plan.claims)
    plan = dataclasses.replace(plan, claims=claims)
    return Contents(plan, records, written.kept, written.figures)


FORMAT = 1
_PLAIN = (
    *("name", "question", "expectation", "baseline", "margin", "answer"),
    *("note", "command", "remarks", "is_part"),
)


class _WrittenPlan(Schema):
    name: str
    question: str
    expectation: str
    baseline: str | None
    margin: float | None
    answer: str = ""
    note: str
    command: str
    remarks: tuple[str, ...]
    is_part: bool
    published: tuple[Published, ...]
    claims: tuple[Claim, ...]
    looks: Looks | None = None
    scoring: Scoring = USUAL
    tuning: Tuning | None = None


class _WrittenRecord(Schema):
    variant: str
    id: RunId
    settings: dict[str, Any]
    fingerprint: str
    parent: RunId | None
    streams: tuple[RunId, ...] = ()
    sources: dict[str, str] = {}
    groups: str = ""
    result: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None


class _WrittenFile(Schema):
    format: int
    plan: _WrittenPlan
    settings: dict[str, Any]
    runs: tuple[_WrittenRecord, ...]
    kept: Kept
    figures: tuple[Drawn, ...]


_FILE = TypeAdapter(_WrittenFile)
_LOOKS = TypeAdapter(Looks)
_TUNING = TypeAdapter(Tuning)


def _write_record(record: Record, settings: dict[str, Any]) -> dict[str, Any]:
    run = record.planned.run
    values: dict[str, Any] = {"variant": record.planned.variant, "id": run.id}
    values |= {**run.to_json(), "settings": settings}
    del values["spec"]
    if record.result is not None:
        left_out = {"run", "run_id"}  # they stand beside it
        values["result"] = RESULT.dump_python(record.result, mode="json", exclude=left_out)
    if record.failure is not None:
        values["failure"] = dataclasses.asdict(record.failure)
    return values


def _read_record(written: _WrittenRecord, shared: Mapping[str, Any], path: Path) -> Record:
    run = Run.from_json(
        {
            "spec": join_values(shared, written.settings),
            "fingerprint": written.fingerprint,
            "parent": written.parent,
            "streams": written.streams,
            "sources": written.sources,
            "groups": written.groups,
        },
        where=str(path),
    )
    named = run.under(written.id)
    if named is None:
        raise InputError(
            f"{path} calls {written.id} what is run {run.id}: it was edited, or written by a "
            "version that means something else by it"
        )
    planned = PlannedRun(written.variant, named)
    if written.result is not None:
        values = {**written.result, "run": named.to_json(), "run_id": written.id}
        result = RESULT.validate_json(json.dumps(values), strict=True)
        return Record(planned, "done", result, None)
    if written.failure is None:
        return Record(planned, "missing", None, None)
    failure = FAILURE.validate_json(json.dumps(written.failure), strict=True)
    return Record(planned, "failed", None, failure)
