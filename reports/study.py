"""Everything a report is made of, read once: records, frames, and which variants are drawn.

In: a plan and a store. Out: a `Study`, which tables, figures and page share.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from bench.data.remarks import plan_remarks, stored_packs
from bench.looks import Looks
from bench.plan import Plan
from bench.store.noted import read_noted
from bench.store.runs import Store
from reports.looks import recall_verdicts
from reports.marks import Remarks, map_names
from reports.remarks import find_remarks, list_unlearned
from reports.results.data_sets import say_several
from reports.results.frame import Record, class_frame, read_records, runs_frame
from reports.results.records_file import Kept
from reports.results.report_folder import ReportFolder
from reports.results.settings import find_causes, find_factors
from reports.stats.asked import list_levels, resolve_claims
from reports.stats.changes import (
    find_changes,
    find_interactions,
    find_main_effects,
    list_causes,
    list_effects,
    list_factors,
    list_groups,
)
from reports.stats.claims import Verdict, judge_claims
from reports.stats.class_gains import find_class_gains
from reports.stats.comparability import Comparability
from reports.stats.costs import add_costs, measure_costs
from reports.stats.effects import Effect, Levels
from reports.stats.evaluations import evaluations_frame
from reports.stats.intervals import Intervals, Other, find_intervals
from reports.stats.other_targets import other_targets_frame
from reports.stats.primary import primary_of
from reports.stats.shares import share_variance
from reports.stats.summary import (
    add_intervals,
    has_grid,
    list_changes,
    summarize_variants,
)
from reports.style import enumerate_names, mean_label

MAX_DRAWN = 40
"""Variants that figures show. Tables hold all; a figure of more is neither read nor quick."""


@dataclass(frozen=True)
class Study:
    """One plan with what a store knows of it."""

    plan: Plan
    store: Store
    records: Sequence[Record]
    factors: Sequence[str]
    """Dotted keys in which the variants differ, besides backbone and skip."""
    runs: pd.DataFrame
    summary: pd.DataFrame
    """One row for each variant, with intervals where counts give them."""
    classes: pd.DataFrame
    drawn: Plan
    """The plan cut to the variants that figures show."""
    intervals: Intervals
    """What the counts of the images say beyond the means."""
    labels: pd.DataFrame
    """One row for each variant and further target (`labels.other_targets_frame`)."""
    changes: pd.DataFrame
    """One row for each change of one thing alone (`changes.find_changes`)."""
    remarks: Remarks
    """What must be said beside the numbers; the frames above hold it in columns of their own."""
    levels: Levels
    """The level of each variant by factor (`asked.list_levels`)."""
    verdicts: Sequence[Verdict] = ()
    """Of the plan's claims."""
    kept: Kept = field(default_factory=Kept)
    """What the store tells beside records and counts."""

    @property
    def comparability(self) -> Comparability:
        """What each variant was judged on: who may be compared with whom."""
        return self.intervals.comparability

    @property
    def primary(self) -> str:
        """The score that the report decides on."""
        return self.plan.scoring.primary

    @property
    def looks(self) -> Looks | None:
        """The looks that gave the verdicts; None where all runs are judged at once."""
        looks = self.plan.looks
        return None if looks is None or looks.last is None else looks

    @cached_property
    def names(self) -> dict[str, str]:
        """Names of the variants as they are shown, marked where there is a remark."""
        return map_names(self.summary)

    @property
    def labelled_runs(self) -> pd.DataFrame:
        """The frame of runs, whose `num_images` counts images with labels where counts tell."""
        arms = {name: arm.num_images for name, arm in self.intervals.arms.items()}
        labelled = self.runs["variant"].map(arms).where(self.runs["num_images"].notna())
        return self.runs.assign(num_images=labelled.fillna(self.runs["num_images"]))

    @cached_property
    def main_effects(self) -> pd.DataFrame:
        """What each change brings on average over contexts (`changes.find_main_effects`)."""
        return find_main_effects(self.changes, self.intervals)

    @cached_property
    def interactions(self) -> pd.DataFrame:
        """How far each context is from that (`changes.find_interactions`)."""
        return find_interactions(self.changes, self.intervals)

    @cached_property
    def class_gains(self) -> pd.DataFrame:
        """What the first factor's change brings to each class (`class_gains.find_class_gains`)."""
        factors = list_factors(self.changes)
        own = self.changes[self.changes["factor"].isin(factors[:1])]
        groups = list_groups(own) or [own]
        return find_class_gains(groups[0], self.intervals)

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """What was scored after training (`evaluations.evaluations_frame`)."""
        return evaluations_frame(self.plan, self.store)

    @property
    def shares(self) -> dict[str, float]:
        """What the scatter of scores is due to (`shares.share_variance`); nothing if unranked."""
        if not self.is_ranked():
            return {}
        return share_variance(self.intervals.arms, self.levels, self.primary)

    def is_ranked(self, score: str | None = None) -> bool:
        """Say whether all variants may be ranked by a score, by default the primary one."""
        return self.comparability.holds(self.plan.variants, score or self.primary)

    @property
    def drawn_runs(self) -> pd.DataFrame:
        """The rows of `runs` that figures show."""
        return self.runs[self.runs["variant"].isin(self.drawn.variants)]

    @property
    def drawn_summary(self) -> pd.DataFrame:
        """The rows of `summary` that figures show."""
        return self.summary[self.summary["variant"].isin(self.drawn.variants)]

    @property
    def grouped(self) -> bool:
        """Whether the variants drawn are told apart by backbone and skip."""
        return is_grouped(self.drawn_runs)

    @property
    def omission(self) -> str:
        """A sentence on the variants that figures leave out; empty if they show all."""
        total, drawn = len(self.plan.variants), len(self.drawn.variants)
        if total == drawn:
            return ""
        chosen = (
            f"those of highest {mean_label(self.primary)}"
            if self.is_ranked()
            else "the plan's first"
        )
        also = ", and the baseline" if self.plan.baseline else ""
        return f"Figures show {drawn} of {total} variants: {chosen}{also}. Tables hold all."


def read_study(plan: Plan, store: Store) -> Study:
    """Read the outcome of every planned run, and summarise it.

    Raises:
        InputError: The question leaves out of its means a class that no run has, or every one.
    """
    records = read_records(plan, store)
    judged_in = [name for one in records if one.result for name in one.result.class_names]
    if judged_in:
        plan.scoring.require_classes(list(dict.fromkeys(judged_in)), plan.name)
    runs = runs_frame(plan, store, records)
    factors = find_factors(plan)
    causes = find_causes(plan)
    levels = list_levels(plan)
    listed = []

    def list_asked(known: Comparability) -> list[Effect]:
        listed.append(list_changes(runs, list_causes(causes), plan.baseline, known))
        return list_effects(listed[0])

    kept = _look_up(plan, records, store)
    intervals = find_intervals(
        records,
        store,
        effects=list_asked,
        levels=levels,
        margin=plan.margin,
        other=_read_other(plan, store),
        design=kept.design,
        classes=list(dict.fromkeys(name for claim in plan.claims for name in claim.classes)),
        scoring=plan.scoring,
        stops=plan.looks.most if plan.looks else 1,
    )
    kept = dataclasses.replace(kept, design=intervals.design, unusable=intervals.unusable)
    comparability = intervals.comparability
    said = [*plan.remarks, *say_several(plan), *intervals.warnings]
    remarks = find_remarks(
        records,
        store,
        comparability,
        said,
        kept.trained,
        intervals.outliers,
        kept.unlearned,
        plan.scoring,
    )
    summary = summarize_variants(runs, plan.baseline, comparability)
    costs = measure_costs(runs)
    summary = add_costs(add_intervals(summary, intervals, plan.baseline), costs, plan.baseline)
    summary = remarks.complete(summary)
    classes = class_frame(plan, store, records)
    is_ranked = comparability.holds(plan.variants, plan.scoring.primary)
    drawn = cut_plan(plan, summary, MAX_DRAWN, is_ranked=is_ranked)
    labels = remarks.mark(
        other_targets_frame(records, store, intervals.num_resamples, plan.scoring)
    )
    changes = find_changes(runs, causes, plan.baseline, intervals, *listed)
    changes = remarks.mark(changes, ("variant_before", "variant_after"))
    runs = remarks.mark_runs(runs)
    if plan.looks is None:
        verdicts = judge_claims(resolve_claims(plan), intervals.arms, costs, levels)
    else:
        verdicts = recall_verdicts(plan, plan.looks, intervals.arms, runs, levels)
    verdicts = [_date(verdict, plan, records, kept.noted) for verdict in verdicts]
    return Study(
        plan, store, records, factors, runs, summary, classes, drawn, intervals, labels, changes,
        remarks, levels, verdicts, kept,
    )  # fmt: skip


def _look_up(plan: Plan, records: Sequence[Record], store: Store) -> Kept:
    """Find what a store tells beside records and counts; a report's folder has kept it."""
    if isinstance(store, ReportFolder):
        return store.kept
    finished = tuple(record.planned for record in records if record.result is not None)
    done = dataclasses.replace(plan, runs=finished)
    packs = stored_packs(done, store.packs_dir)
    return Kept(
        trained=tuple(plan_remarks(done, packs, scored=True)),
        unlearned=list_unlearned(records, store),
        noted=read_noted(store.root, plan) if plan.claims else {},
        sizes={
            fingerprint: {split: len(pack.indices(split)) for split in pack.splits}
            for fingerprint, pack in packs.items()
        },
    )


def _date(
    verdict: Verdict, plan: Plan, records: Sequence[Record], times: Mapping[str, str]
) -> Verdict:
    """Say of a claim whether it was written before its runs, as far as anybody noted it."""
    noted = times.get(plan.digest(verdict.question.claim))
    variants = {name for asked in verdict.question.asked for name in asked.weights}
    ends = {
        f"{record.planned.variant} seed {record.planned.run.spec.seed}": record.result.finished
        for record in records
        if record.result is not None and record.planned.variant in variants
    }
    earlier = [name for name, end in ends.items() if noted is None or end < noted]
    if not ends:
        text = ""
    elif not earlier:
        text = "before its runs"
    elif len(earlier) == len(ends):
        text = "added after the runs"
    else:
        text = f"after {enumerate_names(earlier)}"
    return dataclasses.replace(verdict, noted=text)


def _read_other(plan: Plan, store: Store) -> Other | None:
    """Read what is found, by a plan's score, of a question that tells how far seeds spread."""
    other = plan.spread_of
    if other is None:
        return None
    found = find_intervals(read_records(other, store), store, scoring=plan.scoring)
    return Other(other.name, found.findings)


def is_grouped(runs: pd.DataFrame) -> bool:
    """Say whether the variants fill at least half a grid of backbones and skips.

    The best of very many variants are scattered over one: a panel each would say little.
    """
    cells = runs.drop_duplicates("variant")[["backbone", "skip"]]
    size = cells["backbone"].nunique() * cells["skip"].nunique()
    return has_grid(runs) and 2 * len(cells) >= size


def cut_plan(
    plan: Plan,
    summary: pd.DataFrame,
    most: int,
    always: Sequence[str] = (),
    *,
    is_ranked: bool = True,
) -> Plan:
    """Keep the variants of highest score, the baseline and those in `always`, in order.

    Where variants may not be ranked, the plan's first are kept.
    """
    if len(plan.variants) <= most:
        return plan
    if is_ranked:
        summary = summary.sort_values(f"{primary_of(summary)}_mean", ascending=False, kind="stable")
    ranked = summary["variant"]
    first = [*always, *([plan.baseline] if plan.baseline else [])]
    kept = set(list(dict.fromkeys([*first, *ranked]))[:most])
    return dataclasses.replace(plan, runs=tuple(r for r in plan.runs if r.variant in kept))
