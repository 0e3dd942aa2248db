"""Costs as measurements: what a variant takes, how far that spreads, and which variants differ.

A time is one machine's, on one day, beside whatever else ran: two runs of one network may be apart
by half. So costs are judged on logarithms, by a spread over runs that all variants share, and
variants differ where no pair of equal ones on the page would be as far apart (5 %, shared out
evenly).

In: the frame of runs, and what is shown of scores. Out: a `Cost` for each that was recorded.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from reports.stats.contrasts import Findings
from reports.stats.finding import SHOWN
from reports.stats.model import LEVEL

EXACT = ("num_parameters", "gmacs")
"""Costs that are counted: any difference is one."""
COUNTED = 0.01
"""Ratio less one that tells memories of tensors apart: allocators round."""
MEASURED = ("latency_ms", "train_seconds")
COSTS = (*EXACT, "latency_ms", "step_memory_mib", "train_seconds")
"""Columns of the frame of runs that are costs, the smaller the better."""


@dataclass(frozen=True)
class Cost:
    """One cost of all variants, in its own unit."""

    name: str
    typical: Mapping[str, float]
    """Geometric mean over the runs of each variant that has any."""
    low: Mapping[str, float]
    high: Mapping[str, float]
    """What its runs span; of a latency from first to third quartiles."""
    num_runs: Mapping[str, int]
    spread: float
    """Standard deviation of the logarithm over runs of a variant; NaN where it is not known."""
    freedom: int

    def are_apart(self, one: str, other: str) -> bool:
        """Say whether two variants differ by more than what runs of one network do."""
        if one not in self.typical or other not in self.typical:
            return False
        far = abs(math.log(self.typical[one] / self.typical[other]))
        if self.name not in MEASURED:
            return far > self.tolerance
        if self.freedom < 1:
            return False  # one run each: nobody knows what another would take
        return far > self.critical * self.error(one, other)

    @property
    def tolerance(self) -> float:
        """Logarithm of the ratio up to which what is not timed is the same."""
        return 1e-9 if self.name in EXACT else math.log1p(COUNTED)

    def error(self, one: str, other: str) -> float:
        """Return the standard error of the logarithm of two variants' ratio."""
        return self.spread * math.sqrt(1 / self.num_runs[one] + 1 / self.num_runs[other])

    @property
    def critical(self) -> float:
        """How many standard errors are too many for equal variants, over all pairs of the page."""
        V = len(self.typical)
        tail = (1 - LEVEL) / max(V * (V - 1), 2)
        return float(stats.t.isf(tail, self.freedom))

    def ratio(self, before: str, after: str) -> float:
        """Return what `after` takes, in parts of what `before` does; NaN where unknown."""
        if before not in self.typical or after not in self.typical:
            return math.nan
        return self.typical[after] / self.typical[before]


def measure_costs(runs: pd.DataFrame) -> dict[str, Cost]:
    """Measure each cost that runs recorded, by name.

    Args:
        runs: The frame of runs.
    """
    return {name: _measure(runs, name) for name in COSTS if name in runs and runs[name].gt(0).any()}


def _measure(runs: pd.DataFrame, name: str) -> Cost:
    known = runs[(runs["status"] == "done") & (runs[name] > 0)]
    low = high = known[name]
    if name == "latency_ms" and "latency_low_ms" in known:
        low = known["latency_low_ms"].fillna(low)
        high = known["latency_high_ms"].fillna(high)
    logs = np.log(known[name]).groupby(known["variant"], sort=False)
    counts = logs.size()
    freedom = int((counts - 1).sum())
    squares = float((logs.var(ddof=0) * counts).sum())
    return Cost(
        name=name,
        typical=_by_variant(np.exp(logs.mean())),
        low=_by_variant(low.groupby(known["variant"], sort=False).min()),
        high=_by_variant(high.groupby(known["variant"], sort=False).max()),
        num_runs={str(name): int(count) for name, count in counts.items()},
        spread=math.sqrt(squares / freedom) if freedom else math.nan,
        freedom=freedom,
    )


def _by_variant(values: "pd.Series[float]") -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}


def find_front(cost: Cost, means: Mapping[str, float], findings: Findings) -> list[str]:
    """Return the variants that no other beats: none is as good and shown to take less.

    One beats another that takes more, or scores less, beyond the spread, and is no worse in the
    other of the two. Nothing is returned where none beats any: then there is no front.

    Args:
        cost: The cost.
        means: Mean score by variant.
        findings: What is shown of the scores; a pair without a word is not judged.
    """
    names = [name for name in cost.typical if not math.isnan(means.get(name, math.nan))]
    findings.prepare([(other, name) for name in names for other in names if other != name])
    beaten = {
        name
        for name in names
        if any(_beats(cost, means, findings, other, name) for other in names if other != name)
    }
    return [name for name in names if name not in beaten] if beaten else []


def _beats(
    cost: Cost, means: Mapping[str, float], findings: Findings, one: str, other: str
) -> bool:
    found = findings.compare(other, one)
    if found is None or not found.word:
        return False
    are_apart = cost.are_apart(one, other)
    is_cheaper = cost.typical[one] < cost.typical[other]
    if found.word == SHOWN and found.diff > 0:
        return is_cheaper or not are_apart
    return are_apart and is_cheaper and found.word != SHOWN and means[one] >= means[other]


def add_costs(
    summary: pd.DataFrame, costs: Mapping[str, Cost], baseline: str | None
) -> pd.DataFrame:
    """Join costs to a summary by variant.

    Returns:
        The summary with `<cost>` (geometric mean, where it has none of that name), `<cost>_low` and
        `<cost>_high` and, with a baseline, `<cost>_ratio` (of the baseline's) and `<cost>_apart`:
        whether that is beyond the spread.
    """
    names = summary["variant"]
    joined: dict[str, Any] = {}
    for name, cost in costs.items():
        if name not in summary:
            joined[name] = names.map(cost.typical)
        joined[f"{name}_low"], joined[f"{name}_high"] = names.map(cost.low), names.map(cost.high)
        if baseline is not None:
            joined[f"{name}_ratio"] = [cost.ratio(baseline, one) for one in names]
            joined[f"{name}_apart"] = [cost.are_apart(baseline, one) for one in names]
    return summary.assign(**joined)


def describe_timing(runs: pd.DataFrame) -> str:
    """Say what latencies were taken of, and what else ran then; empty where nobody noted it."""
    if "timed_size" not in runs or runs["timed_size"].dropna().empty:
        return ""
    sizes = sorted(set(runs["timed_size"].dropna()))
    shown = sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    threads = sorted({int(n) for n in runs["threads"].dropna()})
    on = f", {', '.join(map(str, threads))} thread{'s' * (threads != [1])}" if threads else ""
    beside = int(runs["timed_beside"].max())
    company = f"beside up to {beside} other" if beside else "with no other"
    return (
        f"Latency: median of 30 passes of one image of {shown} pixels{on}, "
        f"{company} run{'s' * (beside > 1)} of this store on the device."
    )
