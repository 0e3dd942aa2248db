"""Statistics over seeds: frames in, frames out, nothing read and nothing shown.

In: the frame of runs (`frame.runs_frame`). Out: summaries by variant, and differences paired by
seed: both arms of a difference saw the same seed, so what the seed does to both cancels.
A standard deviation is the sample's (n - 1), and NaN below two values.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from bench.metrics import METRICS, SCORES, is_by_image
from reports.results.settings import plain
from reports.stats.comparability import UNKNOWN, Comparability
from reports.stats.contrasts import Findings
from reports.stats.finding import SAME, SHOWN
from reports.stats.intervals import Intervals
from reports.stats.model import Floats
from reports.stats.ranks import find_ranks

CHAINED = "skip"
"""The factor whose values are steps of one ladder: each is compared with the one before, and the
last with the first."""
STAGED = "train.init_from"
AT_ONCE, IN_STAGES = "at once", "in stages"
"""Contexts of variants that differ in that alone: whether they go on from another's weights."""


def summarize_variants(
    runs: pd.DataFrame, baseline: str | None = None, comparability: Comparability = UNKNOWN
) -> pd.DataFrame:
    """Summarise each variant over its seeds; one without a finished run stays as a row.

    Args:
        runs: `frame.runs_frame`.
        baseline: Variant that the others are compared with.
        comparability: What each was judged on; differences across it are NaN.

    Returns:
        Rows in the plan's order: `variant`, `backbone`, `skip`, `num_planned`, `num_done`,
        `num_failed`, `num_missing`, `<score>_mean` and `<score>_std` (of the boundary's mIoU too,
        where runs have it), `num_parameters`,
        `train_seconds` and `evaluate_seconds` (means), and, if there is a baseline,
        `<score>_diff_mean`, `<score>_diff_std` and `num_pairs`.
    """
    groups = runs.groupby("variant", sort=False)
    summary = groups[["backbone", "skip"]].first()
    summary["num_planned"] = groups.size()
    for status in ("done", "failed", "missing"):
        summary[f"num_{status}"] = (runs["status"] == status).groupby(runs["variant"]).sum()
    for score in scores_of(runs):
        summary[f"{score}_mean"] = groups[score].mean()
        summary[f"{score}_std"] = groups[score].std(ddof=1)
    for cost in ("num_parameters", "train_seconds", "evaluate_seconds"):
        summary[cost] = groups[cost].mean()
    if baseline is None:
        return summary.reset_index()
    arms = split_arms(runs)
    rows = {
        variant: _compare(arms, baseline, str(variant), scores_of(runs), comparability)
        for variant in summary.index
        if variant != baseline
    }
    difference = pd.DataFrame.from_dict(rows, orient="index", columns=_difference_columns(runs))
    return summary.join(difference).rename_axis("variant").reset_index()


def scores_of(runs: pd.DataFrame) -> list[str]:
    """List the scores that the runs have: the four, and those that were counted or asked for."""
    columns = [str(name) for name in runs.columns]
    return [*SCORES, *(n for n in columns if n not in SCORES and (n in METRICS or is_by_image(n)))]


def add_intervals(
    summary: pd.DataFrame, intervals: Intervals, baseline: str | None = None
) -> pd.DataFrame:
    """Join what the counts say to a summary by variant; all of it NaN where there are no counts.

    Returns:
        The summary with `num_images`; for each score `<score>_low` and `<score>_high` (95 %) and
        `<score>_error` (standard error of the mean, over images and seeds); for the primary one
        `<score>_best` and `<score>_tied` (not shown to be below the best; there is none where the
        best has one seed, or variants are not comparable), `<score>_rank_low` and `_rank_high` (the
        places that it may have, all at once); and, with a baseline, what each differs by from it:
        `<score>_diff_mean`, `_low`, `_high` (of the primary score the interval that
        decides, of others their own), `_own_low`, `_own_high`, `_error`, `_p` and `_word`, and
        `_adjusted` (whether it is not the difference of the means shown: seeds are missing); where
        runs are outliers, of the primary one `<score>_diff_without`, `_without_low` and
        `_without_high`.
    """
    joined = summary.set_index("variant")
    bounds = intervals.scores
    if baseline is not None:
        intervals.findings.prepare([(baseline, str(name)) for name in joined.index])
    joined["num_images"] = bounds.groupby("variant")["num_images"].first()
    primary = intervals.findings.score
    for score in list_scores(joined):
        found = bounds[bounds["score"] == score].set_index("variant").reindex(joined.index)
        ends = ["low", "high", "error"]
        joined[[f"{score}_{end}" for end in ends]] = found[ends].astype("float64")
        if baseline is not None and len(bounds):
            _add_differences(joined, intervals, baseline, score)
        elif baseline is not None:
            means = joined[f"{score}_mean"]
            apart = joined[f"{score}_diff_mean"] - (means - means[baseline])
            joined[f"{score}_diff_adjusted"] = apart.abs() > SAME
        joined = joined.copy()  # one block again: pandas warns of a frame of very many
    is_ranked = intervals.comparability.holds(joined.index, primary)
    means = joined[f"{primary}_mean"]
    best = find_best(means, intervals.findings) if is_ranked else None
    joined[f"{primary}_best"] = joined.index == best
    tied = list_tied(means, intervals.findings) if best is not None else []
    joined[f"{primary}_tied"] = joined.index.isin(tied)
    scored = [str(name) for name in joined.index[means.notna()]]
    ranks = find_ranks(scored, intervals.findings) if is_ranked else {}
    for k, end in enumerate(("low", "high")):
        joined[f"{primary}_rank_{end}"] = [
            float(ranks[str(name)][k]) if name in ranks else math.nan for name in joined.index
        ]
    return joined.reset_index()


def list_scores(summary: pd.DataFrame) -> list[str]:
    """List the scores of a summary, in its order."""
    names = [str(name).removesuffix("_mean") for name in summary if str(name).endswith("_mean")]
    return [name for name in names if name in METRICS or is_by_image(name)]


def _add_differences(joined: pd.DataFrame, intervals: Intervals, baseline: str, score: str) -> None:
    """Put what is found against the baseline into a summary by variant, in place."""
    found = [
        intervals.findings.compare(baseline, str(variant), score)
        if variant != baseline and intervals.comparability.holds((baseline, variant), score)
        else None
        for variant in joined.index
    ]
    prefix = f"{score}_diff"
    known = joined[f"{prefix}_mean"]
    joined[f"{prefix}_mean"] = [
        mean if one is None else one.diff for mean, one in zip(known, found, strict=True)
    ]
    for name in ("low", "high", "own_low", "own_high", "error", "p"):
        joined[f"{prefix}_{name}"] = [
            math.nan if one is None else getattr(one, name) for one in found
        ]
    joined[f"{prefix}_word"] = ["" if one is None else one.word for one in found]
    joined[f"{prefix}_adjusted"] = [one is not None and one.is_adjusted for one in found]
    without = [None if one is None else one.without for one in found]
    if any(without):
        ends = [
            (math.nan,) * 3 if one is None else (one.diff, one.low, one.high) for one in without
        ]
        names = [f"{prefix}_{name}" for name in _WITHOUT]
        joined[names] = pd.DataFrame(ends, joined.index, names)


_WITHOUT = ("without", "without_low", "without_high")
"""Columns of a difference without outliers."""


def list_tied(means: pd.Series, findings: Findings) -> list[str]:
    """List the variants that are not shown to be below the one of highest mean.

    What cannot be judged against it, such as for lack of common seeds, is none that is shown.

    Args:
        means: Mean of the primary score by variant.
        findings: What is shown.
    """
    best = find_best(means, findings)
    if best is None:
        return []
    findings.prepare([(best, str(name)) for name in means.index])
    found = {
        str(name): findings.compare(best, str(name))
        for name in means.index[means.notna()]
        if name != best
    }
    return [
        name
        for name, one in found.items()
        if _has_seeds(name, findings) and not (one and one.word == SHOWN)
    ]


def _has_seeds(name: str, findings: Findings) -> bool:
    """Say whether a variant may have a mark: one seed gives no verdict."""
    return name not in findings.arms or len(findings.arms[name].seeds) > 1


def find_best(means: pd.Series, findings: Findings) -> str | None:
    """Return the variant of highest mean, if that is one of two seeds or more; else None."""
    if means.notna().sum() < 2 or not means.max() > 0:
        return None
    best = str(means.idxmax())
    return best if any(best in one.names for one in findings.sets) else None


@dataclass(frozen=True)
class Finished:
    """The finished runs of one variant."""

    seeds: tuple[int, ...]
    scores: Floats
    """Of each seed, (S, M), in the order of `scores_of`."""


def split_arms(runs: pd.DataFrame) -> dict[str, Finished]:
    """Return the scores of each variant's finished runs, from one pass over the frame."""
    done = runs[runs["status"] == "done"]
    variants, seeds = done["variant"].to_numpy(), done["seed"].to_numpy()
    scores = done[scores_of(runs)].to_numpy(dtype=np.float64)
    rows: dict[str, list[int]] = {str(name): [] for name in runs["variant"].unique()}
    for place, name in enumerate(variants):
        rows[str(name)].append(place)
    return {name: Finished(tuple(seeds[own].tolist()), scores[own]) for name, own in rows.items()}


def pair_by_seed(runs: pd.DataFrame, before: str, after: str) -> pd.DataFrame:
    """Return the scores of `after` minus those of `before`, one row for each seed both finished."""
    pairs = _pair(split_arms(runs), before, after)
    return pd.DataFrame(pairs.scores, pd.Index(pairs.seeds, name="seed"), scores_of(runs))


def summarize_difference(runs: pd.DataFrame, before: str, after: str) -> dict[str, float]:
    """Summarise the paired difference of two variants; NaN where no seed finished both."""
    return _summarize_pairs(_pair(split_arms(runs), before, after), scores_of(runs))


def _compare(
    arms: Mapping[str, Finished],
    before: str,
    after: str,
    scores: Sequence[str],
    comparability: Comparability,
) -> dict[str, float]:
    """Summarise a difference; NaN for scores by which the two are not comparable."""
    found = _summarize_pairs(_pair(arms, before, after), scores)
    for score in scores:
        if not comparability.holds((before, after), score):
            found |= dict.fromkeys((f"{score}_diff_mean", f"{score}_diff_std"), float("nan"))
    return found


def _pair(arms: Mapping[str, Finished], before: str, after: str) -> Finished:
    """Return the scores of `after` less those of `before`, of the seeds that both finished."""
    one, other = arms[before], arms[after]
    if one.seeds == other.seeds:
        return Finished(one.seeds, other.scores - one.scores)
    seeds = tuple(seed for seed in one.seeds if seed in other.seeds)
    rows = [[arm.seeds.index(seed) for seed in seeds] for arm in (one, other)]
    return Finished(seeds, other.scores[rows[1]] - one.scores[rows[0]])


def _summarize_pairs(pairs: Finished, scores: Sequence[str]) -> dict[str, float]:
    summary: dict[str, float] = {"num_pairs": len(pairs.seeds)}
    for score, values in zip(scores, pairs.scores.T, strict=True):
        known = values[~np.isnan(values)]
        summary[f"{score}_diff_mean"] = float(known.mean()) if len(known) else math.nan
        summary[f"{score}_diff_std"] = float(known.std(ddof=1)) if len(known) > 1 else math.nan
    return summary


def has_grid(runs: pd.DataFrame) -> bool:
    """Say whether the variants are told apart by backbone and skip, with two of each or more."""
    variants = runs.drop_duplicates("variant")
    cells = variants[["backbone", "skip"]]
    enough = bool((cells.nunique() >= 2).all())
    return enough and not cells.duplicated().any() and len(cells) > max(cells.nunique())


def list_changes(
    runs: pd.DataFrame,
    factors: Sequence[str],
    baseline: str | None = None,
    comparability: Comparability = UNKNOWN,
) -> pd.DataFrame:
    """Compare variants that differ in one factor alone, and were judged on the same images.

    A skip is compared with the one before it in the plan, and the last with the first; any other
    value with the baseline's value of that factor (the plan's first without a baseline).

    Args:
        runs: The frame of runs.
        factors: Columns of settings that may differ ("backbone", "skip", dotted keys).
        baseline: Variant whose values the others are compared with.
        comparability: What each variant was judged on.

    Returns:
        A row for each comparison: `factor`, `context` (what both arms share of the other
        factors), `before` and `after` (values), `variant_before` and `variant_after` (names),
        `num_pairs`, `<score>_diff_mean`, `<score>_diff_std`.
    """
    variants = runs.drop_duplicates("variant").set_index("variant")
    arms, scores = split_arms(runs), scores_of(runs)
    rows = []
    for factor in factors:
        others = [f for f in factors if f != factor and variants[f].nunique() > 1]
        order = list(dict.fromkeys(variants[factor]))
        reference = order[0] if baseline is None else variants.at[baseline, factor]
        for context, own in _contexts(variants, others, factor):
            named = {value: name for name, value in reversed(list(own[factor].items()))}
            ladder = list(dict.fromkeys(own[factor])) if is_of_stages(context) else order
            here = [value for value in ladder if value in named]
            if factor == CHAINED:
                whole = [(here[0], here[-1])] if len(here) > 2 else []
                pairs = [*pairwise(here), *whole]
            else:
                pairs = [(reference, v) for v in here if v != reference and reference in named]
            for before, after in pairs:
                change = {"factor": factor, "context": context, "before": before, "after": after}
                names = named[before], named[after]
                if comparability.holds(names):
                    change |= {"variant_before": names[0], "variant_after": names[1]}
                    rows.append(change | _compare(arms, *names, scores, comparability))
    columns = ["factor", "context", "before", "after", "variant_before", "variant_after"]
    columns += _difference_columns(runs)
    return pd.DataFrame(rows, columns=columns)


def _difference_columns(runs: pd.DataFrame) -> list[str]:
    return ["num_pairs", *(f"{s}_diff_{m}" for s in scores_of(runs) for m in ("mean", "std"))]


def _contexts(
    variants: pd.DataFrame, others: Sequence[str], factor: str
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield groups of variants that agree in the `others`, with the values they share."""
    groups = variants.groupby(list(others), sort=False) if others else [((), variants)]
    for values, arms in groups:
        shared = [str(value) for value in values]
        for how, own in _split_stages(arms, factor):
            yield ", ".join([*shared, *how]), own


def is_of_stages(context: str) -> bool:
    """Say whether a context is one of `AT_ONCE` and `IN_STAGES`."""
    return context.rpartition(", ")[2] in (AT_ONCE, IN_STAGES)


def _split_stages(arms: pd.DataFrame, factor: str) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """Tell networks that go on from others from those trained at once, where both are there.

    Only where a value of the factor has both: a ladder in stages alone is one group.
    """
    if STAGED not in arms or not arms[factor].duplicated().any():
        yield [], arms
        return
    parents = {name: parent for name, parent in arms[STAGED].items() if parent != plain(None)}
    chains = {*parents, *parents.values()}
    yield [AT_ONCE], arms[[name not in parents for name in arms.index]]
    if parents:
        yield [IN_STAGES], arms[[name in chains for name in arms.index]]
