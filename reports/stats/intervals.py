"""What the counts say beyond the means: intervals, and what differs between variants.

In: records of runs and the store, whose counts are read one run at a time. Out: `Intervals`:
tidy frames of fractions, findings, and remarks on what could not be done. A report without counts
still is one: then the frames have no rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from bench.store.evaluation_file import UnusableCountsError
from bench.store.runs import Store
from reports.results.counts import Counts, read_counts
from reports.results.frame import Record, unique_names
from reports.stats.bootstrap import NUM_RESAMPLES, draw_weights
from reports.stats.comparability import UNKNOWN, Comparability, find_comparability
from reports.stats.contrasts import Effect, Findings, Levels, find_contrasts
from reports.stats.pairs import Arm, Draws, measure_arm

MAX_PRODUCTS = 3e10
"""Multiplications spent on resampling a report: about 3 s on one core. A report of a thousand runs
on large splits has fewer resamples, and says so."""
MAX_SCORED = 500_000
"""Resampled runs that are scored: a thousand runs get 500 resamples each."""
MIN_RESAMPLES = 500

_SCORE_COLUMNS = ["variant", "score", "mean", "low", "high", "num_seeds", "num_images"]
_CLASS_COLUMNS = ["variant", "class_name", "low", "high"]


@dataclass(frozen=True)
class Intervals:
    """Everything that the counts of a plan's runs give."""

    scores: pd.DataFrame
    """A row for each variant and score: `mean`, `low` and `high` (95 %), `num_seeds`,
    `num_images`."""
    classes: pd.DataFrame
    """A row for each variant and class: `low` and `high` of IoU; NaN where a class is in so few
    images that most resamples miss it."""
    notes: tuple[str, ...] = ()
    """What could not be done, in sentences, unescaped."""
    num_resamples: int = 0
    arms: dict[str, Arm] = field(default_factory=dict)
    comparability: Comparability = UNKNOWN
    """What each variant was judged on: who may be compared with whom."""
    findings: Findings = field(default_factory=Findings)
    """What differs between variants, and what may be claimed of it."""

    @classmethod
    def none(cls) -> "Intervals":
        """Return what is known without counts: nothing."""
        return cls(_stack([], _SCORE_COLUMNS), _stack([], _CLASS_COLUMNS))

    @property
    def most_seeds(self) -> int:
        """Seeds of the variant that has most; with one, intervals cover images alone."""
        return max((len(arm.seeds) for arm in self.arms.values()), default=0)


def find_intervals(
    records: Sequence[Record],
    store: Store,
    *,
    effects: Callable[[Comparability], Iterable[Effect]] = lambda _: (),
    levels: Levels | None = None,
    margin: float | None = None,
) -> Intervals:
    """Read the counts of all finished runs, and derive intervals and findings from them.

    A run whose counts are missing or do not fit is left out and named in `notes`.

    Args:
        records: Of all planned runs.
        store: Where their counts are.
        effects: What is asked beyond pairs of variants, once it is known who may be compared.
        levels: As for `find_contrasts`.
        margin: The smallest difference of the primary score that matters; None for none.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.result is not None:
            groups.setdefault(record.planned.variant, []).append(record)
    weights = Draws(draw_weights, _plan_draws(groups))
    arms: dict[str, Arm] = {}
    classes: list[pd.DataFrame] = []
    notes: list[str] = []
    for variant, found in groups.items():
        counts = _read_group(variant, found, store, notes)
        if not counts:
            continue
        arms[variant], bounds = measure_arm(variant, counts, weights)
        names = unique_names(found[0].result.class_names) if found[0].result else []
        classes.append(bounds.assign(variant=variant, class_name=names))
    comparability = find_comparability(groups, arms)
    findings = find_contrasts(arms, effects(comparability), levels, margin)
    return Intervals(
        scores=_stack([arm.bounds for arm in arms.values()], _SCORE_COLUMNS),
        classes=_stack(classes, _CLASS_COLUMNS),
        notes=(*notes, *(findings.notes or _say_unknown(arms))),
        num_resamples=weights.num_draws,
        arms=arms,
        comparability=comparability,
        findings=findings,
    )


def _say_unknown(arms: Mapping[str, Arm]) -> list[str]:
    """Say of variants with one seed that nobody knows what would be shown."""
    if len(arms) < 2 or any(len(arm.seeds) > 1 for arm in arms.values()):
        return []
    return [
        "How large a difference must be to be shown is unknown: one seed tells nothing of how far "
        "seeds spread."
    ]


def _plan_draws(groups: Mapping[str, Sequence[Record]]) -> int:
    """Choose the number of resamples that the report can afford."""
    results = [r.result for records in groups.values() for r in records if r.result is not None]
    cells = sum(result.num_images * len(result.class_names) for result in results)
    affordable = min(MAX_PRODUCTS / max(3 * cells, 1), MAX_SCORED / max(len(results), 1))
    return int(np.clip(affordable, MIN_RESAMPLES, NUM_RESAMPLES))


def _read_group(
    variant: str, records: Sequence[Record], store: Store, notes: list[str]
) -> dict[int, Counts]:
    """Read the counts of one variant's runs by seed, in the order of seeds."""
    counts: dict[int, Counts] = {}
    for record in sorted(records, key=lambda record: record.planned.run.spec.seed):
        seed = record.planned.run.spec.seed
        try:
            if record.result is not None and np.any(record.result.confusion):
                counts[seed] = read_counts(store, record.result)
        except UnusableCountsError as error:
            notes.append(f"The counts of {variant}, seed {seed}, {error.why}: they are left out.")
    if len({item.images for item in counts.values()}) > 1:
        notes.append(f"The seeds of {variant} were evaluated on different images: no interval.")
        return {}
    width = min((item.values.shape[1] for item in counts.values()), default=0)
    return {  # the boundary's counts only if all seeds have them
        seed: replace(item, values=item.values[:, :width]) for seed, item in counts.items()
    }


def _stack(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(frames, ignore_index=True).reindex(columns=list(columns))
