"""A gate for CI: which variants are shown to be worse, by more than somebody allows.

In: text such as "worse by 0.01 pixel_acc", and a comparison. Out: a `Gate`, and the variants that
do not pass. A variant is worse by more than a bound where the upper end of the interval of its
difference, simultaneous over all variants of the comparison, is below minus the bound.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from bench.metrics import BY_IMAGE, METRICS, find_metric
from fcn.errors import InputError
from reports.sides import SIDES, Comparison
from reports.stats.finding import Finding
from reports.style import label, number_of_points


@dataclass(frozen=True)
class Gate:
    """What no variant may be."""

    by: float = 0.0
    """A fraction; what is worse by no more passes."""
    score: str = ""
    """By name; empty for the one that the comparison decides on."""

    def __str__(self) -> str:
        of = label(self.score) if self.score else "the score that decides"
        if not self.by:
            return f"worse in {of}"
        return f"worse by more than {number_of_points(self.by)} of {of}"


class Outcome(NamedTuple):
    """What came through a gate, and what did not."""

    gate: Gate
    worse: dict[str, Finding]
    """By variant."""
    unjudged: list[str]
    """Variants of which nothing can be shown: no common images, or one seed. Equal ones pass."""


def parse_gate(text: str) -> Gate:
    """Read what `--fail-if` says: worse [by NUMBER] [SCORE].

    Raises:
        InputError: It says something else.
    """
    match text.split():
        case ["worse", "by", number, *rest] if len(rest) < 2:
            by = _read_number(text, number)
        case ["worse", *rest] if len(rest) < 2 and rest != ["by"]:
            by = 0.0
        case _:
            raise InputError(
                f"--fail-if {text!r} is not understood; write worse, worse by 0.01 (a fraction: "
                "one point of mIoU) or worse by 0.01 pixel_acc"
            )
    if not rest:
        return Gate(by)
    known = (*METRICS, *(f"{BY_IMAGE}{name}" for name in METRICS))
    score = {name.lower(): name for name in known}.get(rest[0].lower(), rest[0])
    try:
        metric = find_metric(score)
    except InputError as error:
        raise InputError(f"--fail-if {text!r}: {error}") from None
    if metric.less_is_better:
        raise InputError(
            f"--fail-if {text!r}: of {score} less is better; write what may not be as a claim of "
            "the question, and use fcn-bench report --claims-must-hold"
        )
    return Gate(by, score)


def _read_number(text: str, number: str) -> float:
    try:
        by = float(number)
    except ValueError:
        by = math.nan
    if not 0 <= by < 1:
        raise InputError(
            f"--fail-if {text!r}: {number} is no difference of scores, which is a number from 0 to "
            "1; a point is 0.01"
        )
    return by


def try_gate(gate: Gate, comparison: Comparison) -> Outcome:
    """Say which variants do not pass, and of which nothing can be said."""
    gate = replace(gate, score=gate.score or comparison.primary)
    findings = comparison.judge(gate.score)
    worse: dict[str, Finding] = {}
    unjudged = []
    for one in comparison.variants:
        found = findings.compare(*map(one.place, SIDES)) if one.is_judged else None
        if one.is_equal:
            continue
        if found is None or not found.word:
            unjudged.append(one.name)
        elif found.high < -gate.by:
            worse[one.name] = found
    return Outcome(gate, worse, unjudged)
