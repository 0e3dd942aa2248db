"""In what the runs of two sides differ: settings, data, commits, software, devices; each told once.

In: records of runs that answer to each other. Out: `Change`s as text, uncleaned, and by variant or
grouped over variants: what changed everywhere is one line.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from reports.results.frame import Record
from reports.results.settings import flatten

KINDS = ("setting", "data", "commit", "software", "device")
"""Kinds of changes, in the order in which they are told."""
ABSENT = "–"
"""Stands for what one side does not have."""
_DEVICE = ("device", "device_name", "processes", "threads", "cpus", "platform")
MOST = 80
"""Characters of a value that are told."""


class Change(NamedTuple):
    """One thing that is not the same on both sides."""

    kind: str
    """One of `KINDS`."""
    key: str
    before: str
    """Its value; several where the runs of a side differ."""
    after: str

    def __str__(self) -> str:
        return f"{self.key} {self.before} → {self.after}"


Read = Callable[[Record], Iterator[tuple[str, str, str]]]
"""Reads kind, key and value off a record."""


def list_changes(before: Sequence[Record], after: Sequence[Record]) -> list[Change]:
    """List what differs between the runs of one variant on two sides.

    Software and devices are compared where both sides have finished runs: a side that says nothing
    of them is no change.
    """
    if not before or not after:
        return []
    found = [*_list_differing(_read_settings, before, after)]
    if not found:  # the same settings may go on from weights that were made otherwise
        found += _list_differing(_read_parents, before, after)
    done = [[record for record in side if record.result] for side in (before, after)]
    if all(done):
        found += _list_differing(_read_environment, *done)
    return sorted(found, key=lambda change: KINDS.index(change.kind))


def group_changes(by_variant: Mapping[str, Sequence[Change]]) -> list[tuple[Change, list[str]]]:
    """Return each change with the variants in which it was made, those of most variants first."""
    groups: dict[Change, list[str]] = {}
    for variant, changes in by_variant.items():
        for change in changes:
            groups.setdefault(change, []).append(variant)
    return sorted(groups.items(), key=lambda one: (-len(one[1]), KINDS.index(one[0].kind)))


def _list_differing(read: Read, *sides: Sequence[Record]) -> Iterator[Change]:
    """Yield the keys of which the runs of one side have other values than those of the other."""
    values: list[dict[tuple[str, str], set[str]]] = [{}, {}]
    for own, records in zip(values, sides, strict=True):
        for record in records:
            for kind, key, value in read(record):
                own.setdefault((kind, key), set()).add(value)
    for kind, key in dict.fromkeys([*values[0], *values[1]]):
        old, new = (own.get((kind, key), {ABSENT}) for own in values)
        if old != new:
            yield Change(kind, key, *(_cut(" or ".join(sorted(found))) for found in (old, new)))


def _read_settings(record: Record) -> Iterator[tuple[str, str, str]]:
    run = record.planned.run
    for key, value in flatten(run.spec.model_dump(mode="json")).items():
        if key != "seed":
            yield "setting", key, value if isinstance(value, str) else json.dumps(value)
    yield "data", "fingerprint of the data", run.fingerprint[:16]
    for key, source in run.sources.items():
        yield "setting", f"what {key} names", source


def _read_parents(record: Record) -> Iterator[tuple[str, str, str]]:
    for parent in record.planned.run.parents:
        yield "setting", "starts from run", parent


def _read_environment(record: Record) -> Iterator[tuple[str, str, str]]:
    assert record.result is not None
    for key, value in record.result.environment.items():
        kind = "device" if key in _DEVICE else "commit" if key == "commit" else "software"
        yield kind, key, str(value) if key != "commit" else str(value)[:12]


def _cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"
