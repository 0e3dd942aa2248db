"""The same variants on several data sets, read once: scores, differences to the baseline, ranks.

In: data sets, each a plan with its store (`results.data_sets`). Out: an `Across`. Variants are
matched by name; what one data set lacks is named. Differences are taken within each data set, all
of them as one family.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.text import clean
from fcn.errors import InputError
from reports.remarks import find_remarks
from reports.results.data_sets import Part, list_shared
from reports.results.frame import Record, read_records, runs_frame
from reports.stats.across import RankTest, draw_means, find_intervals, judge_ranks, rank_scores
from reports.stats.contrasts import Findings, find_contrasts
from reports.stats.effects import pair
from reports.stats.intervals import Intervals
from reports.stats.intervals import find_intervals as measure
from reports.stats.pairs import Arm
from reports.stats.primary import PRIMARY
from reports.stats.summary import add_intervals, summarize_variants
from reports.style import enumerate_names


@dataclass(frozen=True)
class Measured:
    """A part with what its runs gave."""

    part: Part
    records: Sequence[Record]
    intervals: Intervals
    summary: pd.DataFrame
    """`summarize_variants` with intervals of scores."""

    def place(self, variant: str) -> str:
        """Return the name under which a variant of this data set is judged."""
        return f"{variant} on {self.part.name}"


@dataclass(frozen=True)
class Ranks:
    """Ranks on each data set, with what they may be on other images and with other seeds."""

    variants: Sequence[str]
    sets: Sequence[str]
    ranks: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    """(D, V)."""
    low: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    high: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    mean_low: np.ndarray[tuple[int], np.dtype[np.float64]]
    """Ends of the interval of each mean rank over these data sets, (V,)."""
    mean_high: np.ndarray[tuple[int], np.dtype[np.float64]]
    test: RankTest


@dataclass(frozen=True)
class Across:
    """Everything that is found of the same variants on several data sets."""

    parts: Sequence[Measured]
    variants: Sequence[str]
    """Of all data sets, in the order of the first."""
    baseline: str | None
    findings: Findings
    """Differences to the baseline on each data set, one family; see `Measured.place`."""
    ranks: Ranks | None
    notes: Sequence[str]
    """What is missing and why, in sentences."""

    @property
    def primary(self) -> str:
        """The score that decides, on all data sets."""
        return self.findings.score

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each data set and variant, scores as fractions, NaN where unknown.

        `data_set`, `variant`, `num_done`, `num_images`; of the primary score
        `<score>_mean`, `_std`, `_low`, `_high`, and to the baseline `<score>_diff`, `_low`,
        `_high`, `_p`, `_word` and `_adjusted` (not that of the means: seeds are missing);
        `rank`, `rank_low`, `rank_high`.
        """
        rows = [row for one in self.parts for row in self._list_rows(one)]
        return pd.DataFrame(rows)

    def _list_rows(self, one: Measured) -> Iterator[dict[str, object]]:
        primary = self.primary
        summary = one.summary.set_index("variant")
        shown = ["num_done", "num_images"]
        shown += [f"{primary}_{kind}" for kind in ("mean", "std", "low", "high")]
        for name in self.variants:
            row: dict[str, object] = {"data_set": one.part.name, "variant": name}
            row |= {key: summary[key].get(name, np.nan) for key in shown}
            found = None
            if self.baseline is not None and name != self.baseline:
                found = self.findings.compare(one.place(self.baseline), one.place(name))
            for key in ("diff", "low", "high", "p"):
                column = f"{primary}_diff" if key == "diff" else f"{primary}_diff_{key}"
                row[column] = np.nan if found is None else getattr(found, key)
            row[f"{primary}_diff_word"] = "" if found is None else found.word
            row[f"{primary}_diff_adjusted"] = found is not None and found.is_adjusted
            yield row | self._find_rank(one.part.name, name)

    def _find_rank(self, data_set: str, variant: str) -> dict[str, float]:
        found = self.ranks
        if found is None or variant not in found.variants or data_set not in found.sets:
            return dict.fromkeys(("rank", "rank_low", "rank_high"), np.nan)
        place = found.sets.index(data_set), found.variants.index(variant)
        values = (found.ranks[place], found.low[place], found.high[place])
        return dict(zip(("rank", "rank_low", "rank_high"), map(float, values), strict=True))


def read_across(parts: Sequence[Part]) -> Across:
    """Read and judge what the stores hold of some data sets."""
    primary = _share_primary(parts)
    measured = [_measure(part) for part in parts]
    variants = list_shared(parts)
    baselines = [part.plan.baseline for part in parts]
    baseline = next((name for name in baselines if name in variants), None)
    notes = [*_say_unmatched(parts, variants), *_say_baselines(baselines, baseline)]
    margins = {part.plan.margin for part in parts}
    if len(margins) > 1:
        notes.append("The questions name different margins, so that nothing is called equivalent.")
    arms = {one.place(name): arm for one in measured for name, arm in one.intervals.arms.items()}
    effects = [
        pair(one.place(baseline), one.place(name))
        for one in measured
        for name in variants
        if baseline is not None and name != baseline and _are_paired(one, baseline, name)
    ]
    margin = margins.pop() if len(margins) == 1 else None
    findings = find_contrasts(arms, effects, margin=margin, all_pairs=False, score=primary)
    ranks, missing = _rank(measured, variants)
    notes += [*missing, *_say_shared_images(measured), *findings.notes]
    notes += [clean(text) for part in parts for text in part.plan.remarks]  # of one plan, once
    notes += [text for one in measured for text in _list_remarks(one)]
    return Across(measured, variants, baseline, findings, ranks, list(dict.fromkeys(notes)))


def _share_primary(parts: Sequence[Part]) -> str:
    """Return the score that all questions decide by; classes of one need not be those of another.

    Raises:
        InputError: They decide by different scores.
    """
    found = {part.plan.scoring.primary: part.name for part in parts}
    if len(found) > 1:
        told = " and ".join(f"{name} by {score}" for score, name in found.items())
        raise InputError(f"{told} (score.primary): give all questions the same to compare them")
    return next(iter(found), PRIMARY)


def _measure(part: Part) -> Measured:
    records = read_records(part.plan, part.store)
    runs = runs_frame(part.plan, part.store, records)
    scoring = part.plan.scoring
    intervals = measure(records, part.store, all_pairs=False, scoring=scoring)
    summary = summarize_variants(runs, None, intervals.comparability)
    return Measured(part, records, intervals, add_intervals(summary, intervals))


def _are_paired(one: Measured, baseline: str, name: str) -> bool:
    return one.intervals.comparability.holds((baseline, name), _primary(one))


def _rank(parts: Sequence[Measured], variants: Sequence[str]) -> tuple[Ranks | None, list[str]]:
    """Rank the variants that are finished on all data sets that can rank them."""
    notes = []
    kept: list[Measured] = []
    for one in parts:
        own = [name for name in variants if name in one.intervals.arms]
        if len(own) < 2:
            notes.append(f"{one.part.name} has no two finished variants with counts: not ranked.")
        elif not one.intervals.comparability.holds(own, _primary(one)):
            notes.append(
                f"On {one.part.name} the variants were not judged alike, so they are not ranked "
                "there."
            )
        else:
            kept.append(one)
    whole = [name for name in variants if all(name in one.intervals.arms for one in kept)]
    for name in variants:
        lack = [one.part.name for one in kept if name not in one.intervals.arms]
        if lack:
            notes.append(f"{clean(name)} is not ranked: unfinished on {enumerate_names(lack)}.")
    if len(kept) < 2 or len(whole) < 2:
        return None, [*notes, "Too little is finished to rank variants over data sets."]
    arms = [{name: one.intervals.arms[name] for name in whole} for one in kept]
    return _find_ranks([one.part.name for one in kept], arms, _primary(kept[0])), notes


def _primary(one: Measured) -> str:
    return one.part.plan.scoring.primary


def _find_ranks(sets: Sequence[str], arms: Sequence[Mapping[str, Arm]], score: str) -> Ranks:
    scores = np.array([[_mean(arm, score) for arm in own.values()] for own in arms])
    drawn = [rank_scores(draw_means(own, number, score)) for number, own in enumerate(arms)]
    ranks = rank_scores(scores)
    ends = [find_intervals(one, seen) for one, seen in zip(drawn, ranks, strict=True)]
    mean_low, mean_high = find_intervals(np.mean(drawn, axis=0), ranks.mean(0))
    low, high = (np.stack(side) for side in zip(*ends, strict=True))
    test = judge_ranks(scores)
    return Ranks(list(arms[0]), list(sets), ranks, low, high, mean_low, mean_high, test)


def _mean(arm: Arm, score: str) -> float:
    return float(arm.points[:, arm.scores.index(score)].mean())


def _say_unmatched(parts: Sequence[Part], variants: Sequence[str]) -> Iterator[str]:
    """Name the variants that some data sets lack, once for all that lack in the same."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for name in dict.fromkeys(name for part in parts for name in part.plan.variants):
        lack = tuple(part.name for part in parts if name not in part.plan.variants)
        if lack:
            lacking.setdefault(lack, []).append(name)
    for lack, names in lacking.items():
        yield (
            f"Left out, since no variant of {enumerate_names(lack)} is called so: "
            f"{enumerate_names(map(clean, names))}."
        )


def _say_baselines(found: Sequence[str | None], chosen: str | None) -> Iterator[str]:
    if chosen is None:
        yield "No question names a baseline that all data sets have: there are ranks alone."
    elif len(set(found)) > 1:
        others = dict.fromkeys(clean(name) for name in found if name not in (None, chosen))
        also = f" ({enumerate_names(others)} elsewhere)" if others else ""
        yield f"The questions name different baselines{also}: {clean(chosen)} is that of all here."


def _say_shared_images(parts: Sequence[Measured]) -> Iterator[str]:
    """Name the parts that were judged on the same images: they are no two data sets."""
    judged: dict[str, list[str]] = {}
    for one in parts:
        for images in {arm.images for arm in one.intervals.arms.values()}:
            judged.setdefault(images, []).append(one.part.name)
    for names in judged.values():
        if len(names) > 1:
            yield (
                f"{enumerate_names(names)} were judged on the same images: they are no independent "
                "data sets, and the test over data sets takes them for such."
            )


def _list_remarks(one: Measured) -> Iterator[str]:
    """Yield what must be known of a data set's runs."""
    intervals = one.intervals
    remarks = find_remarks(
        one.records,
        one.part.store,
        intervals.comparability,
        intervals.warnings,
        outliers=intervals.outliers,
        scoring=one.part.plan.scoring,
    )
    for names, text in remarks.lines:
        who = f"{enumerate_names(map(clean, names))}: " if names else ""
        yield f"{one.part.name}: {who}{text}"
