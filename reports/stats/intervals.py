"""What the counts say beyond the means: intervals, differences from the baseline, ties.

In: records of runs and the store, whose counts are read one run at a time. Out: `Intervals`:
tidy frames of fractions, and remarks on what could not be done. A report without counts still is
one: then the frames have no rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from bench.store.evaluation_file import UnusableCountsError
from bench.store.runs import Store
from reports.results.counts import Counts, read_counts
from reports.results.frame import Record, unique_names
from reports.stats.bootstrap import NUM_RESAMPLES, draw_weights
from reports.stats.comparability import UNKNOWN, Comparability, find_comparability
from reports.stats.pairs import (
    NO_SEED,
    Arm,
    Draws,
    compare_arms,
    measure_arm,
    weigh_arms,
    why_no_pairs,
)
from reports.stats.significance import ALPHA, draw_swaps, holm

MAX_PRODUCTS = 3e10
"""Multiplications spent on resampling a report, and again on permutations: about 3 s each on one
core. A report of a thousand runs on large splits has fewer resamples, and says so."""
MAX_SCORED = 500_000
"""Resampled runs that are scored: a thousand runs get 500 resamples each."""
MAX_PERMUTED = 4_000_000
"""Runs scored anew in permutations: about 8 s on one core, at most some 180 variants of 3 seeds."""
MIN_RESAMPLES = 500
DRAWS_PER_VARIANT = 40
"""Permutations for each variant: Holm multiplies the smallest p by the number of variants, so with
fewer nothing could become significant."""

_SCORE_COLUMNS = ["variant", "score", "mean", "low", "high", "num_seeds", "num_images"]
_CLASS_COLUMNS = ["variant", "class_name", "low", "high"]
_DIFFERENCE_COLUMNS = [
    *["variant", "score", "diff", "low", "high", "error", "freedom"],
    *["num_seeds", "num_images", "p_images", "p", "p_holm"],
]


@dataclass(frozen=True)
class Intervals:
    """Everything that the counts of a plan's runs give."""

    scores: pd.DataFrame
    """A row for each variant and score: `mean`, `low` and `high` (95 %), `num_seeds`,
    `num_images`."""
    classes: pd.DataFrame
    """A row for each variant and class: `low` and `high` of IoU; NaN where a class is in so few
    images that most resamples miss it."""
    differences: pd.DataFrame
    """A row for each variant and score against the baseline: `diff`, `low`, `high`, `error`,
    `freedom`, `num_seeds`, `num_images`, `p_images` (permutations of images; NaN if none were
    made), `p` (the larger of that and Student's t over images and seeds), `p_holm`."""
    notes: tuple[str, ...] = ()
    """What could not be done, in sentences, unescaped."""
    num_resamples: int = 0
    num_swaps: int = 0
    """Permutations; 0 if there were too many variants for the test to tell anything."""
    arms: dict[str, Arm] = field(default_factory=dict)
    comparability: Comparability = UNKNOWN
    """What each variant was judged on: who may be compared with whom."""

    @classmethod
    def none(cls) -> "Intervals":
        """Return what is known without counts: nothing."""
        columns = (_SCORE_COLUMNS, _CLASS_COLUMNS, _DIFFERENCE_COLUMNS)
        scores, classes, differences = (_stack([], names) for names in columns)
        return cls(scores, classes, differences)

    @property
    def most_seeds(self) -> int:
        """Seeds of the variant that has most; with one, intervals cover images alone."""
        return max((len(arm.seeds) for arm in self.arms.values()), default=0)

    def compare(self, before: str, after: str) -> pd.DataFrame | None:
        """Return what `after` has more than `before`; None if they cannot be paired.

        One row for each score: `variant` (that is `after`), `score`, `diff`, `low`, `high`,
        `error`, `freedom`, `num_seeds`, `num_images`, `p` (Student's t, not adjusted); NaN where
        the two means are over different classes.
        """
        one, other = self.arms.get(before), self.arms.get(after)
        if one is None or other is None or why_no_pairs(one, other):
            return None
        return compare_arms(one, other)


def find_intervals(records: Sequence[Record], store: Store, baseline: str | None) -> Intervals:
    """Read the counts of all finished runs, and derive intervals and tests from them.

    A run whose counts are missing or do not fit is left out and named in `notes`.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.result is not None:
            groups.setdefault(record.planned.variant, []).append(record)
    num_resamples, num_swaps = _plan_draws(groups)
    weights, swaps = Draws(draw_weights, num_resamples), Draws(draw_swaps, num_swaps)
    arms: dict[str, Arm] = {}
    classes: list[pd.DataFrame] = []
    differences: list[pd.DataFrame] = []
    notes: list[str] = []
    counts_before: dict[int, Counts] = {}
    # The baseline first: it alone keeps its counts in memory, for the others to be tested against.
    for variant in sorted(groups, key=lambda name: name != baseline):
        counts = _read_group(variant, groups[variant], store, notes)
        if not counts:
            continue
        arm, bounds = measure_arm(variant, counts, weights)
        arms[variant] = arm
        result = groups[variant][0].result
        names = unique_names(result.class_names) if result else []
        classes.append(bounds.assign(variant=variant, class_name=names))
        if variant == baseline:
            counts_before = counts
        elif baseline in arms:
            why = why_no_pairs(arms[baseline], arm)
            if why == NO_SEED:  # other images or classes are a remark
                notes.append(f"{variant} cannot be compared with {baseline} by image: {why}.")
            elif not why:
                differences.append(weigh_arms(arms[baseline], arm, counts_before, counts, swaps))
    if differences:
        notes += _list_limits(len(differences), num_swaps, arms[str(baseline)].num_images)
    return Intervals(
        scores=_scores_frame([arms[name] for name in groups if name in arms]),
        classes=_stack(classes, _CLASS_COLUMNS),
        differences=_adjust(_stack(differences, _DIFFERENCE_COLUMNS)),
        notes=tuple(notes),
        num_resamples=num_resamples,
        num_swaps=num_swaps,
        arms={name: arms[name] for name in groups if name in arms},
        comparability=find_comparability(groups, arms),
    )


def _list_limits(num_tests: int, num_swaps: int, num_images: int) -> list[str]:
    """Say what the permutation test cannot do with so many variants, or so few images."""
    if not num_swaps:
        return [
            f"{num_tests} comparisons are too many for permutation tests in the time that a report "
            "may take: p is that of Student's t over images and seeds alone."
        ]
    smallest = num_tests * 2.0 ** (1 - num_images)  # all images on one side, or all on the other
    if smallest >= ALPHA:
        return [
            f"With {num_images} images and {num_tests} comparisons no difference can be "
            "significant: there are too few ways to exchange images between two variants."
        ]
    return []


def _plan_draws(groups: Mapping[str, Sequence[Record]]) -> tuple[int, int]:
    """Choose the numbers of resamples and of permutations that the report can afford."""
    results = [r.result for records in groups.values() for r in records if r.result is not None]
    cells = sum(result.num_images * len(result.class_names) for result in results)
    affordable = min(MAX_PRODUCTS / max(3 * cells, 1), MAX_SCORED / max(len(results), 1))
    resamples = int(np.clip(affordable, MIN_RESAMPLES, NUM_RESAMPLES))
    swaps = max(NUM_RESAMPLES, DRAWS_PER_VARIANT * (len(groups) - 1))
    # The target's counts do not change sides: two numbers of three are left.
    in_time = swaps * 2 * cells <= MAX_PRODUCTS and swaps * len(results) <= MAX_PERMUTED
    return resamples, swaps if in_time else 0


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


def _scores_frame(arms: Sequence[Arm]) -> pd.DataFrame:
    return _stack([arm.bounds for arm in arms], _SCORE_COLUMNS)


def _adjust(differences: pd.DataFrame) -> pd.DataFrame:
    """Add Holm's p, over the variants of each score."""
    adjusted = differences.groupby("score", sort=False)["p"].transform(holm)
    return differences.assign(p_holm=adjusted.astype("float64"))


def _stack(frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(frames, ignore_index=True).reindex(columns=list(columns))
