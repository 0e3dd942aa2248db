"""Tuning: which values of a setting were tried for each variant, what each scored, and the best.

A question may name values of which each variant gets its best: one run of each is made with one
seed, and judged by a split that is not reported. Which is chosen follows from these runs alone: the
highest score, and of equal ones the first that is named.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False)
Id = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
State = Literal["done", "failed", "missing"]


@dataclass(frozen=True, config=_CLOSED)
class Tried:
    """One run that values are chosen by."""

    variant: str
    """Whose values they are."""
    name: str
    """What the run is called among those that are tried."""
    values: dict[str, Any]
    """By key."""
    run_id: Id
    state: State
    """As far as choosing goes: done with a score, failed for good, or missing."""
    why: str = ""
    """Why it has no score; empty for one that has, or is still to be made."""
    score: float | None = None
    """On the split that chooses, a fraction."""
    step: Annotated[int, Field(ge=0)] | None = None
    """After which it was scored."""
    device_seconds: Annotated[float, Field(ge=0)] | None = None
    """What it took, over all of its devices; of one that failed, its steps. None if unknown."""
    is_chosen: bool = False


@dataclass(frozen=True, config=_CLOSED)
class Tuning:
    """All that was tried for the variants of a question."""

    values: dict[str, tuple[Any, ...]]
    """By key, what is tried; of several keys each combination."""
    seed: Annotated[int, Field(ge=0)]
    """Of the runs that are tried."""
    split: str
    """That chooses."""
    metric: str
    """By which: the question's primary score, or mIoU where pixels by class do not give that."""
    tried: tuple[Tried, ...] = ()
    waiting: tuple[str, ...] = ()
    """Variants that start from one for which nothing is chosen yet: what is tried for them is not
    known before."""

    @property
    def number(self) -> int:
        """How many runs are tried for each variant."""
        return len(self.combinations)

    @property
    def combinations(self) -> list[dict[str, Any]]:
        """What is tried for each variant, in order."""
        return combine(self.values)

    @property
    def chosen(self) -> dict[str, Tried]:
        """What is chosen, by variant."""
        return {one.variant: one for one in self.tried if one.is_chosen}

    @property
    def open(self) -> tuple[str, ...]:
        """Variants for which nothing is chosen yet."""
        named = dict.fromkeys(one.variant for one in self.tried)
        chosen = self.chosen
        return (*(name for name in named if name not in chosen), *self.waiting)

    @property
    def budget(self) -> list[Tried]:
        """What was tried, each run once: values may change nothing, and variants share runs."""
        return list({one.run_id: one for one in self.tried}.values())

    @property
    def fewer(self) -> dict[str, int]:
        """Variants of which some values are one run, as they change nothing there; how many are."""
        runs: dict[str, set[str]] = {}
        for one in self.tried:
            runs.setdefault(one.variant, set()).add(one.run_id)
        return {name: len(own) for name, own in runs.items() if len(own) < self.number}

    def of(self, variant: str) -> list[Tried]:
        """Return what was tried for a variant, in the order of the question."""
        return [one for one in self.tried if one.variant == variant]


def combine(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return all combinations of values, by key; the last key changes first."""
    return [dict(zip(values, one, strict=True)) for one in itertools.product(*values.values())]


def choose(tried: list[Tried]) -> int | None:
    """Return the place of the best of one variant's runs; None as long as one is to be made.

    The highest score; of equal ones the first; where none has a score, the first.
    """
    if any(one.state == "missing" for one in tried):
        return None
    scores = [-math.inf if one.score is None else one.score for one in tried]
    return scores.index(max(scores))


def spell_values(values: Mapping[str, Any]) -> str:
    """Write values as they are set: `train.lr=0.001 train.momentum=0.9`."""
    return " ".join(f"{key}={spell_value(value)}" for key, value in values.items())


def spell_value(value: Any) -> str:
    """Write one value: words as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
