"""What should exist: the runs of one ablation, in order, with everything a report needs to know.

In: resolved settings and data fingerprints. Out: `Plan`, whose runs carry ids.
A run's id is the hash of its content; two plans that ask for the same run share it.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.spec import RunSpec, parse

SEMANTICS = 2
"""Version of what settings mean. Raise it when code changes results, or a default changes, without
a changed key: every run then has a new id.
2: resized pictures are whole numbers, as Pillow makes them."""

STAGED_SEMANTICS = 2
"""The same of runs that start from another's weights, whose ids change with their parent's too.
2: their new scores start at zero."""


@dataclass(frozen=True)
class Run:
    """One resolved variant with its seed."""

    spec: RunSpec
    """Settings, with durations in steps."""
    fingerprint: str
    """Fingerprint of the dataset's content."""
    parent: str | None = None
    """Id of the run whose weights this one starts from."""
    streams: tuple[str, ...] = ()
    """Ids of the runs whose networks are the streams of late fusion at the start."""

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of all runs that must be done before."""
        return (self.parent, *self.streams) if self.parent is not None else self.streams

    @property
    def num_pictures(self) -> int:
        """Pictures that training sees, each as often as it comes."""
        train = self.spec.train
        return (train.steps or 0) * train.batch_size * train.accumulate

    @cached_property
    def id(self) -> str:
        """Sixteen hex digits: the hash of everything that can change the result."""
        spec = self.spec.model_dump(mode="json", exclude_defaults=True)
        for name in ("init_from", "init_streams"):  # names; the parents' ids are the content
            spec.get("train", {}).pop(name, None)
        semantics = SEMANTICS if self.parent is None else STAGED_SEMANTICS
        content = [semantics, spec, self.fingerprint, self.parent]
        content += [self.streams] if self.streams else []
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads back."""
        spec = self.spec.model_dump(mode="json")
        streams = {"streams": list(self.streams)} if self.streams else {}
        return {"fingerprint": self.fingerprint, "parent": self.parent, **streams, "spec": spec}

    @classmethod
    def from_json(cls, values: dict[str, Any], *, where: str) -> "Run":
        """Read what `to_json` wrote; `where` names the source in errors."""
        spec = parse(RunSpec, values["spec"], where=where)
        return cls(
            spec=spec,
            fingerprint=values["fingerprint"],
            parent=values["parent"],
            streams=tuple(values.get("streams", ())),
        )


@dataclass(frozen=True)
class PlannedRun:
    """A run in its place in an ablation."""

    variant: str
    """Name of the answer that this run is one seed of."""
    run: Run


@dataclass(frozen=True)
class Published:
    """A number from the literature, shown beside ours. Scores are fractions."""

    variant: str
    source: str
    """Where it is printed: paper and table."""
    differs: str
    """What differs from our protocol."""
    pixel_acc: float | None = None
    mean_acc: float | None = None
    miou: float | None = None
    fw_iou: float | None = None
    verified: bool = True
    """False when the number was not checked against its source."""
    target: str | None = None
    """Further label map that it is of; None for the first."""


@dataclass(frozen=True)
class Plan:
    """An ablation made concrete: what a report is about, whether or not it exists yet."""

    name: str
    question: str
    expectation: str
    runs: tuple[PlannedRun, ...]
    """Parents before children."""
    baseline: str | None = None
    """Variant that the others are compared with."""
    published: tuple[Published, ...] = ()
    note: str = ""
    """What a reader must know about the protocol."""
    command: str = ""
    """The command that makes the report again."""

    @property
    def variants(self) -> list[str]:
        """Names of the variants, in the order of the spec."""
        return list(dict.fromkeys(planned.variant for planned in self.runs))

    def unique_runs(self) -> Iterator[Run]:
        """Yield each run once, parents first, though two variants may share it."""
        yield from {planned.run.id: planned.run for planned in self.runs}.values()
