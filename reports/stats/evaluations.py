"""Scores after training side by side: rows of their own kind, with intervals and what differs.

In: evaluations of a store (`bench.store.scored`). Out: frames of raw values. Those of one label,
split and way of looking, with several seeds, are one row, as a variant of a report is; differences
are those of one model of error, in its words, to the first row.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from bench.metrics import SCORES
from bench.plan import Plan
from bench.scoring import USUAL, Scoring
from bench.store.names import list_evaluation_dirs
from bench.store.runs import Store
from bench.store.scored import RUN, Scored, name_place, read_scored
from fcn.errors import InputError
from reports.results.counts import read_scored_counts
from reports.stats.bootstrap import NUM_RESAMPLES
from reports.stats.contrasts import find_contrasts
from reports.stats.pairs import Arm, measure_arm, why_no_pairs
from reports.stats.units import Resamples


def compare_evaluations(store: Store, evaluations: Sequence[Scored]) -> pd.DataFrame:
    """Put evaluations side by side.

    Args:
        store: Where they are.
        evaluations: At least one; the first is what others are compared with.

    Returns:
        A row for each label and way: `name`, `kind`, `split`, `views`, `num_seeds`, `num_images`;
        of each score `<score>_mean`, `<score>_std`, `<score>_low`, `<score>_high`; `miou_diff`,
        `miou_diff_low`, `miou_diff_high` to the first row, `word` (shown, not shown, equivalent;
        empty where one seed gives none) and `note` (why there is no difference).

    Raises:
        InputError: Two are of one seed and way, but of different content.
        UnusableCountsError: Counts are not what a record says.
    """
    groups = _group(evaluations)
    arms = _measure(store, groups)
    first, *others = arms
    comparable = {name: arm for name, arm in arms.items() if not why_no_pairs(arms[first], arm)}
    findings = find_contrasts(comparable) if len(comparable) > 1 else None
    rows = []
    for (name, arm), found in zip(arms.items(), groups.values(), strict=True):
        row = _describe(arm, found[0])
        contrast = findings.compare(first, name) if findings and name in others else None
        row["miou_diff"] = np.nan if contrast is None else contrast.diff
        row["miou_diff_low"] = np.nan if contrast is None else contrast.low
        row["miou_diff_high"] = np.nan if contrast is None else contrast.high
        row["word"] = "" if contrast is None else contrast.word
        row["note"] = "" if name == first else why_no_pairs(arms[first], arm)
        rows.append(row)
    return pd.DataFrame(rows)[_COLUMNS]


def evaluations_frame(plan: Plan, store: Store) -> pd.DataFrame:
    """Return what was scored after training of a plan's runs, and of others on its images.

    No differences: a page's contrasts are one family, and these are not of it.

    Args:
        plan: Its runs are named by their variants; models, files and masks are those that were
            scored on images of its data sets.
        store: Where the evaluations are; what cannot be read there is left out.

    Returns:
        A row as of `compare_evaluations`, without what is about differences.
    """
    variants = {planned.run.id: planned.variant for planned in reversed(plan.runs)}
    images = {planned.run.fingerprint for planned in plan.runs}
    order = {name: place for place, name in enumerate(plan.variants)}
    known = []
    for one in _readable(store):
        if one.kind == RUN and one.source in variants:
            known.append(dataclasses.replace(one, label=variants[one.source]))
        elif one.kind != RUN and one.fingerprint in images:
            known.append(one)
    known.sort(key=lambda one: (one.dataset, one.split, order.get(one.label, len(order))))
    groups = _group(known)
    arms = _measure(store, groups, plan.scoring)
    rows = [
        _describe(arm, found[0]) for arm, found in zip(arms.values(), groups.values(), strict=True)
    ]
    return pd.DataFrame(rows, columns=[name for name in _COLUMNS if name not in _DIFFERENCES])


_DIFFERENCES = ("miou_diff", "miou_diff_low", "miou_diff_high", "word", "note")
_COLUMNS = [
    *("name", "kind", "split", "views", "num_seeds", "num_images"),
    *(f"{score}_{part}" for score in SCORES for part in ("mean", "std", "low", "high")),
    *_DIFFERENCES,
]


def _group(evaluations: Iterable[Scored]) -> dict[tuple[str, ...], list[Scored]]:
    """Put together what differs in nothing but the seed.

    Raises:
        InputError: Two are of one seed and way, but of different weights.
    """
    groups: dict[tuple[str, ...], list[Scored]] = {}
    for one in evaluations:
        content = "" if one.kind == RUN else one.content
        on = (one.fingerprint, one.target, one.split, str(one.num_images))
        key = (one.label, one.kind, content, *on, one.views, str(one.input_scale))
        groups.setdefault(key, []).append(one)
    for found in groups.values():
        if len({one.seed for one in found}) != len(found):
            ids = ", ".join(one.id for one in found)
            raise InputError(
                f"{found[0].label} has several evaluations of one seed ({ids}) of different "
                "weights: its question asked for other runs meanwhile; name those to compare"
            )
    return groups


def _measure(
    store: Store, groups: dict[tuple[str, ...], list[Scored]], scoring: Scoring = USUAL
) -> dict[str, Arm]:
    """Score each group with its intervals."""
    resamples, arms = Resamples(NUM_RESAMPLES), {}
    for key, found in groups.items():
        seeds = sorted(found, key=lambda one: one.seed)
        counts = {one.seed: read_scored_counts(store, one) for one in seeds}
        arms[" ".join(key)] = measure_arm(key[0], counts, resamples, scoring=scoring)[0]
    return arms


def _readable(store: Store) -> Iterator[Scored]:
    """Yield the evaluations of a store whose record and counts are what they were."""
    for folder in list_evaluation_dirs(store.root):
        with suppress(InputError):
            scored = read_scored(store.root, folder.name)
            if scored is not None:
                read_scored_counts(store, scored)
                yield scored


def _describe(arm: Arm, one: Scored) -> dict[str, Any]:
    return _scores(arm) | {
        "name": one.label,
        "kind": one.kind,
        "split": name_place(one.dataset, one.split, one.target),
        "views": one.views,
        "num_seeds": len(arm.seeds),
        "num_images": arm.num_images,
    }


def _scores(arm: Arm) -> dict[str, float]:
    """Return the mean of each score over seeds, its spread and its interval."""
    bounds = arm.bounds.set_index("score")
    row = {}
    for k, score in enumerate(arm.scores):
        if score not in SCORES:
            continue
        values = arm.points[:, k]
        row[f"{score}_mean"] = float(values.mean())
        row[f"{score}_std"] = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        row[f"{score}_low"] = float(bounds["low"][score])
        row[f"{score}_high"] = float(bounds["high"][score])
    return row
