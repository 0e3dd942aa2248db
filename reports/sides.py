"""Two plans side by side, each with its store: judged variant by variant, all as one family.

In: two `Side`s, whose variants are matched by name and whose runs are paired by seed. Out: a
`Comparison` with a frame of raw values. There is a difference only where both were judged on the
same images by the same classes; it has an interval where both have counts. Nothing depends on which
side is named first: with the sides swapped each difference has the other sign, to the last bit.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.plan import Plan
from bench.scoring import USUAL, Scoring
from bench.store.evaluation_file import UnusableCountsError
from bench.store.records import Reason
from bench.store.runs import Store
from fcn.errors import InputError
from reports.remarks import find_remarks, name_means
from reports.results.counts import Counts, keep_shared, read_counts
from reports.results.differences import Change, list_changes
from reports.results.frame import Record, read_records, runs_frame
from reports.stats.bootstrap import NUM_RESAMPLES
from reports.stats.comparability import Comparability, find_comparability
from reports.stats.contrasts import Findings, find_contrasts
from reports.stats.effects import Effect, pair
from reports.stats.finding import SAME, SHOWN
from reports.stats.outliers import Outliers, find_outliers
from reports.stats.pairs import Arm, measure_arm, why_no_pairs
from reports.stats.primary import compared_scores
from reports.stats.units import MAX_LOOKED_AT, Resamples
from reports.style import label

SIDES = ("before", "after")
SAME_RUNS, SAME_SCORES = "the same runs", "the same scores"
"""Notes on variants between whose sides there is nothing to judge."""


@dataclass(frozen=True)
class Side:
    """One of the two."""

    name: str
    plan: Plan
    store: Store


@dataclass(frozen=True)
class Matched:
    """One variant on both sides, which one of them may lack."""

    name: str
    records: Sequence[Sequence[Record]]
    runs: Sequence[pd.DataFrame]
    """By seed."""
    arms: Sequence[Arm] = ()
    """Of both sides, or none."""
    lack: str = ""
    """Why there are none, where counts were looked for."""

    @property
    def is_same(self) -> bool:
        """Whether both sides are runs of the same ids."""
        ids = [set(frame["run_id"]) for frame in self.runs]
        return bool(ids[0]) and ids[0] == ids[1]

    @property
    def is_equal(self) -> bool:
        """Whether both sides have the same scores on the same images."""
        return self._are_paired and np.array_equal(self.arms[0].points, self.arms[1].points)

    @property
    def is_judged(self) -> bool:
        """Whether there is something to judge: both are of the same images, and not equal."""
        return self._are_paired and not self.is_equal

    @property
    def _are_paired(self) -> bool:
        return bool(self.arms) and not why_no_pairs(*self.arms)

    @cached_property
    def changes(self) -> list[Change]:
        """In what the runs of the two sides differ."""
        return list_changes(*self.records)

    def place(self, side: str) -> str:
        """Return the name under which a side of this variant is judged."""
        return f"{self.name}, {side}"


@dataclass(frozen=True)
class Comparison:
    """Everything that is found of two sides."""

    sides: tuple[Side, Side]
    variants: Sequence[Matched]
    findings: Findings
    """Of the primary score, all variants as one family; see `judge`."""
    notes: Sequence[str]
    """What was resampled, and what nobody may miss of it, in sentences."""
    frame: pd.DataFrame
    """A row for each variant of either, in order: `variant`, `num_before` and `num_after` (finished
    seeds), `num_pairs` (seeds that both finished), `same_runs`; for each score `<score>_before`,
    `<score>_after` (means), `<score>_diff`, `<score>_low`, `<score>_high` (95 %; of the
    primary one for all variants at once, of others its own), `<score>_adjusted` (whether that is
    not the difference of the means, since seeds are missing); `verdict` on that (shown, not shown,
    equivalent; empty where one seed gives none), `direction` (better or worse, of what
    is shown); `changed` (settings, software and device that differ), `note` (why something is
    missing, and what must be known of the runs)."""

    @property
    def margin(self) -> float | None:
        """The smallest difference that matters."""
        return self.findings.margin

    @property
    def primary(self) -> str:
        """The score that decides."""
        return self.findings.score

    @property
    def outliers(self) -> Outliers:
        """Runs that went another way than their side's, of variants that are judged."""
        return find_outliers(self.findings.arms)

    @property
    def is_same(self) -> bool:
        """Whether both sides are the same runs with the same scores throughout."""
        are_same = all(one.is_same for one in self.variants)
        return are_same and not any(OTHER_SCORES in note for note in self.frame["note"])

    def judge(self, score: str) -> Findings:
        """Judge all variants by a score, as one family of its own."""
        return self.findings if score == self.primary else _judge(self.variants, None, score)


def compare_sides(before: Side, after: Side, scores: Sequence[str] = ()) -> Comparison:
    """Read and judge two sides, both by the score of their questions.

    Args:
        before: One side.
        after: The other.
        scores: Further scores that will be judged by.

    Raises:
        InputError: The two questions decide by different scores, or by other means over classes.
    """
    scoring = _share_scoring(before, after).with_scores(scores)
    sides = [replace(side, plan=replace(side.plan, scoring=scoring)) for side in (before, after)]
    records = [read_records(side.plan, side.store) for side in sides]
    frames = [
        runs_frame(side.plan, side.store, found) for side, found in zip(sides, records, strict=True)
    ]
    matched = [
        Matched(
            name,
            [[r for r in found if r.planned.variant == name] for found in records],
            [frame[frame["variant"] == name].set_index("seed") for frame in frames],
        )
        for name in dict.fromkeys([*before.plan.variants, *after.plan.variants])
    ]
    resamples = Resamples(NUM_RESAMPLES)
    resamples.look_at(list(_look_at(matched, sides)))
    matched = [_measure(one, sides, resamples, scoring) for one in matched]
    margins = [side.plan.margin for side in sides if side.plan.margin is not None]
    findings = _judge(matched, min(margins, default=None), scoring.primary)
    rows = [{"variant": one.name} | _compare(one, sides, findings, scoring) for one in matched]
    units = {arm.images: resamples.units[arm.images] for one in matched for arm in one.arms}
    said = [text for one in units.values() for text in (one.warn(), one.describe()) if text]
    return Comparison(
        (before, after), matched, findings, [*findings.notes, *said], pd.DataFrame(rows)
    )


def _share_scoring(before: Side, after: Side) -> Scoring:
    """Return how both sides are scored: as the one question says that says anything."""
    own = [
        side.plan.scoring.model_copy(update={"also": ()})
        for side in (before, after)
        if side.plan.scoring != USUAL
    ]
    if len(own) == 2 and own[0] != own[1]:
        raise InputError(
            f"{before.name} and {after.name} are scored differently (`score:` of their questions); "
            "counts of both can be scored alike: give both questions the same `score:`"
        )
    shown = [name for side in (before, after) for name in side.plan.scoring.also]
    return (own or [USUAL])[0].with_scores(sorted(shown))


def _judge(matched: Iterable[Matched], margin: float | None, score: str) -> Findings:
    """Judge what changed in all variants together, as one family; what is equal is no change.

    Variants, and the two sides of each, are put in an order that does not depend on the sides.
    """
    arms: dict[str, Arm] = {}
    effects: list[Effect] = []
    for one in sorted((one for one in matched if one.is_judged), key=lambda one: one.name):
        own = dict(zip(map(one.place, SIDES), one.arms, strict=True))
        first, second = sorted(own, key=lambda name: (own[name].seeds, own[name].points.tobytes()))
        arms |= {first: own[first], second: own[second]}
        effects.append(pair(first, second))
    return find_contrasts(arms, effects, margin=margin, all_pairs=False, score=score)


def _look_at(matched: Sequence[Matched], sides: Sequence[Side]) -> Iterator[Counts]:
    """Read the first run of some variants on both sides, in an order of the runs' own."""
    firsts: dict[str, tuple[Record, Store]] = {}
    for one in matched:
        for side, found in zip(sides, one.records, strict=True):
            record = next((record for record in found if _has_counts(record)), None)
            if record is not None:
                firsts[record.planned.run.id] = (record, side.store)
    for _, (record, store) in sorted(firsts.items())[:MAX_LOOKED_AT]:
        try:
            assert record.result is not None
            yield read_counts(store, record.result)
        except UnusableCountsError:
            continue


def _has_counts(record: Record) -> bool:
    return record.result is not None and bool(np.any(record.result.confusion))


def _measure(
    variant: Matched, sides: Sequence[Side], resamples: Resamples, scoring: Scoring
) -> Matched:
    """Read the counts of both sides; without them, no arms and the reason."""
    arms: list[Arm] = []
    for side, found in zip(sides, variant.records, strict=True):
        counts = {}
        for record in filter(_has_counts, found):
            try:
                assert record.result is not None
                counts[record.planned.run.spec.seed] = read_counts(side.store, record.result)
            except UnusableCountsError as error:
                lack = f"no interval: counts of {record.planned.run.id} {error.why}"
                return Matched(variant.name, variant.records, variant.runs, (), lack)
        if not counts:
            return variant
        if len({item.images for item in counts.values()}) > 1:
            lack = f"no interval: seeds of {side.name} were judged on different images"
            return Matched(variant.name, variant.records, variant.runs, (), lack)
        counts = keep_shared(dict(sorted(counts.items())))
        arms.append(measure_arm(variant.name, counts, resamples, scoring=scoring)[0])
    return Matched(variant.name, variant.records, variant.runs, arms)


def list_compared(frame: pd.DataFrame) -> list[str]:
    """Return the scores of a comparison's frame, the one that decides first."""
    names = [str(name) for name in frame if str(name).endswith("_before")]
    return [name.removesuffix("_before") for name in names if name != "num_before"]


def _compare(
    variant: Matched, sides: Sequence[Side], findings: Findings, scoring: Scoring
) -> dict[str, Any]:
    done = [frame[frame["status"] == "done"] for frame in variant.runs]
    seeds = done[0].index.intersection(done[1].index)
    row: dict[str, Any] = {
        "num_before": len(done[0]),
        "num_after": len(done[1]),
        "num_pairs": len(seeds),
        "same_runs": variant.is_same,
    }
    known = dict(zip(SIDES, variant.arms, strict=True)) if variant.arms else {}
    records = dict(zip(SIDES, variant.records, strict=True))
    comparability = find_comparability(records, known, scoring)
    before, after = (variant.place(side) for side in SIDES)
    for score in compared_scores(findings.score):
        row[f"{score}_before"], row[f"{score}_after"] = (f[score].mean() for f in done)
        found = findings.compare(before, after, score) if variant.is_judged else None
        gain = (done[1].loc[seeds, score] - done[0].loc[seeds, score]).mean()
        gain = gain if found is None else found.diff
        row[f"{score}_diff"] = gain if comparability.holds(SIDES, score) else np.nan
        for end in ("low", "high"):
            row[f"{score}_{end}"] = np.nan if found is None else getattr(found, end)
        means = row[f"{score}_after"] - row[f"{score}_before"]
        row[f"{score}_adjusted"] = bool(abs(row[f"{score}_diff"] - means) > SAME)
        if score == findings.score:
            row["verdict"] = "" if found is None else found.word
            row["direction"] = name_direction(row["verdict"], row[f"{score}_diff"])
    row["changed"] = "; ".join(map(str, variant.changes))
    remarks = [
        "; ".join(
            find_remarks(found_there, side.store, comparability, scoring=scoring).variants.values()
        )
        for side, found_there in zip(sides, variant.records, strict=True)
    ]
    notes = [_explain(variant, done, comparability, findings.score), *_say_remarks(remarks)]
    row["note"] = "; ".join(filter(None, notes))
    return row


def _say_remarks(remarks: Sequence[str]) -> list[str]:
    """Say what must be known of the runs of each side; once where it is the same."""
    if remarks[0] and remarks[0] == remarks[1]:
        return [f"both: {remarks[0]}"]
    return [f"{side}: {text}" for side, text in zip(SIDES, remarks, strict=True) if text]


def name_direction(word: str, diff: float) -> str:
    """Say whether what is shown is better or worse; nothing of what is not shown."""
    if word != SHOWN:
        return ""
    return "better" if diff > 0 else "worse"


def _explain(
    variant: Matched, done: Sequence[pd.DataFrame], comparability: Comparability, primary: str
) -> str:
    """Say why there is no difference or no interval; of the same runs, that they are."""
    seeds = done[0].index.intersection(done[1].index)
    if not all(len(frame) for frame in variant.runs):
        return "only after" if not len(variant.runs[0]) else "only before"
    if not len(seeds):
        return "; ".join(["no seed finished both", *_list_unreadable(variant.records)])
    if not comparability.holds(SIDES):
        why = why_no_pairs(*variant.arms) if variant.arms else ""
        return f"no difference: {why or ' and '.join(comparability.describe().values())}"
    if not comparability.holds(SIDES, primary):
        over = name_means(comparability, primary)
        sides = f"over {over['before']} before, {over['after']} after"
        return f"no difference of {label(primary)}: {sides}"
    if variant.is_same:
        compared = list(compared_scores(primary))
        old, new = (frame.loc[seeds, compared].to_numpy(float) for frame in done)
        is_equal = np.array_equal(old, new) and not variant.is_judged
        return SAME_RUNS if is_equal else OTHER_SCORES
    return SAME_SCORES if variant.is_equal else variant.lack


OTHER_SCORES = (
    "runs of the same ids with other scores: made on another device, or by a version that differs "
    "in more than it says"
)


def _list_unreadable(records: Sequence[Sequence[Record]]) -> list[str]:
    failures = [record.failure for found in records for record in found]
    return [one.message for one in failures if one is not None and one.reason == Reason.UNREADABLE]


def group_by_variant(matched: Iterable[Matched]) -> Mapping[str, Sequence[Change]]:
    """Return the changes of each variant that has runs on both sides."""
    return {one.name: one.changes for one in matched if all(one.records)}
