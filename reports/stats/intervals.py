"""What the counts say beyond the means: intervals, and what differs between variants.

In: records of runs and the store, whose counts are read one run at a time. Out: `Intervals`:
tidy frames of fractions, findings, and remarks on what could not be done. A report without counts
still is one: then the frames have no rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.scoring import USUAL, Scoring
from bench.store.runs import Result, Store
from reports.results.counts_by_variant import CountsByVariant
from reports.results.counts_file import Counted
from reports.results.frame import Record
from reports.stats.bootstrap import NUM_RESAMPLES
from reports.stats.comparability import UNKNOWN, Comparability, find_comparability
from reports.stats.contrasts import Findings, find_contrasts
from reports.stats.designs import describe_design
from reports.stats.effects import Effect, Levels
from reports.stats.outliers import Outliers, describe_outliers, find_outliers
from reports.stats.pairs import Arm, measure_arms
from reports.stats.units import MAX_LOOKED_AT, Resamples, Units

MAX_PRODUCTS = 3e10
"""Multiplications spent on resampling a report: about 3 s on one core. A report of a thousand runs
on large splits has fewer resamples, and says so."""
MAX_SCORED = 500_000
"""Resampled runs that are scored: a thousand runs get 500 resamples each."""
MIN_RESAMPLES = 500
MAX_CLASS_SCORES = 20_000_000
"""Resampled scores of classes that are kept, 160 MB: 12 variants of 3 seeds have 150 classes."""

_SCORE_COLUMNS = [
    *("variant", "score", "mean", "low", "high", "num_seeds", "num_images", "error", "freedom"),
]
_CLASS_COLUMNS = ["variant", "class_name", "low", "high"]


@dataclass(frozen=True)
class Intervals:
    """Everything that the counts of a plan's runs give."""

    scores: pd.DataFrame
    """A row for each variant and score: `mean`, `low` and `high` (95 %), `num_seeds`,
    `num_images`, `error` and `freedom`."""
    classes: pd.DataFrame
    """A row for each variant and class: `low` and `high` of IoU; NaN where a class is in so few
    images that most resamples miss it."""
    notes: tuple[str, ...] = ()
    """What could not be done, in sentences, unescaped."""
    num_resamples: int = 0
    units: dict[str, Units] = field(default_factory=dict)
    """What was resampled, by set of images."""
    arms: dict[str, Arm] = field(default_factory=dict)
    comparability: Comparability = UNKNOWN
    """What each variant was judged on: who may be compared with whom."""
    outliers: Outliers = field(default_factory=dict)
    """Runs that went another way than their variant's."""
    counts: tuple[Counted, ...] = ()
    """All that was read, in the order of variants and seeds; none where it is too much to keep."""
    findings: Findings = field(default_factory=Findings)
    """What differs between variants, and what may be claimed of it."""
    design: str = ""
    """What the design could show, in a sentence."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """By run, why its counts are left out."""

    @classmethod
    def none(cls) -> "Intervals":
        """Return what is known without counts: nothing."""
        return cls(_stack([], _SCORE_COLUMNS), _stack([], _CLASS_COLUMNS))

    @property
    def warnings(self) -> list[str]:
        """What nobody may miss: outliers, and images of few groups."""
        warnings = [describe_outliers(self.outliers)]
        warnings += dict.fromkeys(units.warn() for units in self.units.values())
        return [text for text in warnings if text]

    @property
    def most_seeds(self) -> int:
        """Seeds of the variant that has most; with one, intervals cover images alone."""
        return max((len(arm.seeds) for arm in self.arms.values()), default=0)


class Other(NamedTuple):
    """Another question of the same store."""

    name: str
    findings: Findings


def find_intervals(
    records: Sequence[Record],
    store: Store,
    *,
    effects: Callable[[Comparability], Iterable[Effect]] = lambda _: (),
    levels: Levels | None = None,
    margin: float | None = None,
    other: Other | None = None,
    design: str = "",
    classes: Sequence[str] = (),
    all_pairs: bool = True,
    scoring: Scoring = USUAL,
    stops: int = 1,
) -> Intervals:
    """Read the counts of all finished runs, and derive intervals and findings from them.

    A run whose counts are missing or do not fit is left out and named in `notes`.

    Args:
        records: Of all planned runs.
        store: Where their counts are.
        effects: What is asked beyond pairs of variants, once it is known who may be compared.
        levels: As for `find_contrasts`.
        margin: The smallest difference of the primary score that matters; None for none.
        other: Another question whose seeds tell how far scores spread, where these have one each.
        design: What that question told before, in the place of `other`.
        classes: Names of classes whose IoU is a score of the arms; all are where that is not too
            much to keep (`MAX_CLASS_SCORES`).
        all_pairs: Whether all pairs of variants are judged, or the effects alone.
        scoring: What the question makes of counts.
        stops: As for `find_contrasts`.
    """
    counts = CountsByVariant(records, store)
    resamples = Resamples(_plan_draws(counts.results))
    classes = [*classes, *_list_affordable(counts.results, resamples.num_draws)]
    resamples.look_at(counts.look(MAX_LOOKED_AT))
    measured = measure_arms(counts, resamples, classes, scoring)
    arms = {variant: one.arm for variant, one in measured.items()}
    rows = [
        one.classes.assign(variant=variant, class_name=counts.class_names(variant))
        for variant, one in measured.items()
    ]
    comparability = find_comparability(counts.groups, arms, scoring)
    judged = list(dict.fromkeys(arm.images for arm in arms.values()))
    findings = find_contrasts(
        arms,
        effects(comparability),
        levels,
        margin,
        all_pairs=all_pairs,
        score=scoring.primary,
        stops=stops,
    )
    design = _say_design(arms, findings, other, design)
    return Intervals(
        scores=_stack([arm.bounds for arm in arms.values()], _SCORE_COLUMNS),
        classes=_stack(rows, _CLASS_COLUMNS),
        notes=(
            *counts.say_left_out(),
            *findings.notes,
            *([design] if len(arms) > 1 else []),
            *(resamples.units[images].describe() for images in judged),
        ),
        num_resamples=resamples.num_draws,
        units={images: resamples.units[images] for images in judged},
        outliers=find_outliers(arms),
        counts=tuple(counts.read),
        arms=arms,
        comparability=comparability,
        findings=findings,
        design=design,
        unusable=counts.unusable,
    )


def _say_design(arms: Mapping[str, Arm], findings: Findings, other: Other | None, told: str) -> str:
    """Say what the design could show, by its own spread or by another question's."""
    if findings.sets or (other is None and not told):
        return describe_design(arms, findings)
    return told if other is None else describe_design(arms, other.findings, other.name)


def _plan_draws(results: Sequence[Result]) -> int:
    """Choose the number of resamples that the report can afford."""
    cells = sum(result.num_images * len(result.class_names) for result in results)
    affordable = min(MAX_PRODUCTS / max(3 * cells, 1), MAX_SCORED / max(len(results), 1))
    return int(np.clip(affordable, MIN_RESAMPLES, NUM_RESAMPLES))


def _list_affordable(results: Sequence[Result], num_draws: int) -> list[str]:
    """Return the names of all classes, if what each scores in each resample can be kept."""
    lists = [result.class_names for result in results]
    if num_draws * sum(map(len, lists)) > MAX_CLASS_SCORES:
        return []
    return list(dict.fromkeys(name for names in lists for name in names))


def _stack(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(frames, ignore_index=True).reindex(columns=list(columns))
