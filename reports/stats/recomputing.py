"""What `recompute.py` needs beside counts: who is judged with whom, how far an interval reaches.

In: intervals and the summary that they went into. Out: arrays for `counts.npz`. V variants are the
rows of summary.csv, M scores are ours that the summary has; A is 1, or 2 with outliers, the
second analysis being without them.

variant_names (V,), score_names (M,), baseline   names, and the baseline's row; -1 for none
limits (2, M), widest (M,)  least and largest value of each score; largest difference
primary, absent, exclude_classes   what the question makes of counts: `bench.scoring.Scoring`
stretch (V, M)              Student's t over the normal quantile, of a score's interval
quantile, critical, freedom (A, M, V)   standard errors that a difference to the baseline reaches by
                            itself; by how much the interval that decides is longer
model, spread (A, M, V)     number of the model of error that a variant is judged by (-1 for none:
                            of one seed), and of the group that it shares a variance with
is_comparable (M, V)        with the baseline
seed_weights (K, resamples, seeds), seed_weights_of (V,)   how often each seed is in each resample
copied                      columns of summary.csv that are no scores, or were drawn
sets                        endings of keys of each set of images that a first target has; of each
  outlier (runs,)           runs that the second analysis leaves out
  num_units, num_resamples  what is drawn in each resample, and how many there are
  weights (resamples, U)    how often each unit is drawn; not there where it would be large
  column (images,)          column of the weights for each image
  blocks (U, length), entropy   as `reports.stats.units.Recipe`
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics import BY_IMAGE, find_metric, is_by_image
from bench.scoring import USUAL, Scoring
from reports.results.counts_file import Counted, list_sets, name_key
from reports.stats.bootstrap import draw_seed_weights, find_stretch
from reports.stats.finding import Finding, find_range
from reports.stats.intervals import Intervals
from reports.stats.summary import list_scores

MAX_WEIGHTS = 2**24
"""Weights that are stored, 4 MiB compressed; of more there is the recipe alone."""
Arrays = dict[str, Any]


def list_arrays(
    intervals: Intervals, summary: pd.DataFrame, baseline: str | None, scoring: Scoring = USUAL
) -> Arrays:
    """List what is needed beside counts.

    Args:
        intervals: Of a study, with counts.
        summary: Its summary.
        baseline: Variant that the others are compared with.
        scoring: What the question makes of counts.
    """
    names = [str(name) for name in summary["variant"]]
    scores = [name for name in list_scores(summary) if _is_known(name)]
    arrays: Arrays = {
        "variant_names": np.array(names),
        "score_names": np.array(scores),
        "limits": np.array([find_metric(name).limits for name in scores]).T,
        "widest": np.array([find_range(name) for name in scores]),
        "primary": np.array(scoring.primary),
        "absent": np.array(scoring.absent or ""),
        "exclude_classes": np.array(scoring.exclude_classes, dtype=str),
        "baseline": np.array(-1 if baseline is None else names.index(baseline)),
        "stretch": _list_stretches(intervals, names, scores),
        "copied": np.array([str(name) for name in summary if not _is_computed(str(name), scores)]),
        **_list_seed_weights(intervals, names),
        **_list_differences(intervals, names, scores, baseline),
    }
    ends = []
    for number, runs in enumerate(list_sets(intervals.counts)):
        ends.append(name_key("", number))
        own = _list_resampling(intervals, runs)
        arrays |= {name_key(key, number): value for key, value in own.items()}
    return arrays | {"sets": np.array(ends)}


KNOWN = (
    *("pixel_acc", "mean_acc", "miou", "fw_iou", "dice", "precision", "recall", "kappa"),
    *("boundary_miou", "surface_distance", "ece", "nll"),
)
"""Scores that `recompute.py` computes again; those of plugins are copied."""


def _is_known(score: str) -> bool:
    return (score.removeprefix(BY_IMAGE) if is_by_image(score) else score) in KNOWN


def _is_computed(name: str, scores: Sequence[str]) -> bool:
    kinds = "mean|std|low|high|error|diff_(?:mean|std|error|(?:own_)?(?:low|high)|without\\w*)"
    return name in ("num_done", "num_images") or bool(
        re.fullmatch(f"(?:{'|'.join(scores)})_(?:{kinds})", name)
    )


def _list_stretches(
    intervals: Intervals, names: Sequence[str], scores: Sequence[str]
) -> NDArray[np.float64]:
    stretch = np.full((len(names), len(scores)), np.nan)
    known = intervals.scores[intervals.scores["score"].isin(scores)]
    for row in known.itertuples(index=False):
        place = names.index(str(row.variant)), scores.index(str(row.score))
        stretch[place] = find_stretch(np.array(row.freedom))
    return stretch


def _list_seed_weights(intervals: Intervals, names: Sequence[str]) -> Arrays:
    seeds = {name: intervals.arms[name].seeds for name in names if name in intervals.arms}
    kinds = list(dict.fromkeys(seeds.values()))
    weights = np.zeros((len(kinds), intervals.num_resamples, max(map(len, kinds))), np.uint8)
    for k, own in enumerate(kinds):
        weights[k, :, : len(own)] = draw_seed_weights(own, intervals.num_resamples, "")
    of = [kinds.index(seeds[name]) if name in seeds else -1 for name in names]
    return {"seed_weights": weights, "seed_weights_of": np.array(of)}


def _list_differences(
    intervals: Intervals, names: Sequence[str], scores: Sequence[str], baseline: str | None
) -> Arrays:
    findings = intervals.findings
    analyses = [findings, *([findings.without] if findings.without else [])]
    shape = (len(analyses), len(scores), len(names))
    arrays = {key: np.full(shape, np.nan) for key in ("quantile", "critical", "freedom")}
    model, spread = np.full(shape, -1), np.zeros(shape, dtype=int)
    comparable = np.zeros(shape[1:], dtype=bool)
    for m, score in enumerate(scores):
        for a, own in enumerate(analyses):
            for number, one in enumerate(own.sets_of(score)):
                rows = [names.index(name) for name in one.names]
                model[a, m, rows], spread[a, m, rows] = number, one.model.groups
        for v, name in enumerate(names if baseline is not None else ()):
            if baseline is None or name == baseline:
                continue
            comparable[m, v] = intervals.comparability.holds((baseline, name), score)
            for a, own in enumerate(analyses if comparable[m, v] else ()):
                found = own.compare_here(baseline, name, score)
                for key, value in _list_sizes(found).items():
                    arrays[key][a, m, v] = value
    return {**arrays, "model": model, "spread": spread, "is_comparable": comparable}


def _list_sizes(found: Finding | None) -> dict[str, float]:
    if found is None:
        return {}
    return {
        "quantile": found.reach / found.error if found.error else 1.0,
        "critical": found.critical,
        "freedom": found.freedom,
    }


def _list_resampling(intervals: Intervals, runs: Sequence[Counted]) -> Arrays:
    units = intervals.units[runs[0].counts.images]
    recipe, draws = units.recipe, intervals.num_resamples
    excluded = [run.seed in intervals.outliers.get(run.variant, ()) for run in runs]
    arrays: Arrays = {
        "outlier": np.array(excluded),
        "num_units": np.array(units.number),
        "num_resamples": np.array(draws),
        "entropy": np.array(recipe.entropy),
        "blocks": recipe.blocks,
        "column": recipe.column,
    }
    if draws * len(recipe.blocks) <= MAX_WEIGHTS:
        # A stream of numpy's may be another one day; what was drawn stays.
        weights = units.draw(draws)[:, np.unique(recipe.column, return_index=True)[1]]
        arrays["weights"] = weights.astype(np.min_scalar_type(int(weights.max())))
    return arrays
