"""Statistics over seeds: frames in, frames out, nothing read and nothing shown.

In: the frame of runs (`frame.runs_frame`). Out: summaries by variant, and differences paired by
seed: both arms of a difference saw the same seed, so what the seed does to both cancels.
A standard deviation is the sample's (n - 1), and NaN below two values.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pandas as pd

from bench.metrics import SCORES

CHAINED = "skip"
"""The factor whose values are steps of one ladder: each is compared with the one before."""


def summarize_variants(runs: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """Summarise each variant over its seeds; one without a finished run stays as a row.

    Returns:
        Rows in the plan's order: `variant`, `backbone`, `skip`, `num_planned`, `num_done`,
        `num_failed`, `num_missing`, `<score>_mean` and `<score>_std`, `num_parameters`,
        `train_seconds` and `evaluate_seconds` (means), and, if there is a baseline,
        `<score>_diff_mean`, `<score>_diff_std` and `num_pairs`.
    """
    groups = runs.groupby("variant", sort=False)
    summary = groups[["backbone", "skip"]].first()
    summary["num_planned"] = groups.size()
    for status in ("done", "failed", "missing"):
        summary[f"num_{status}"] = (runs["status"] == status).groupby(runs["variant"]).sum()
    for score in SCORES:
        summary[f"{score}_mean"] = groups[score].mean()
        summary[f"{score}_std"] = groups[score].std(ddof=1)
    for cost in ("num_parameters", "train_seconds", "evaluate_seconds"):
        summary[cost] = groups[cost].mean()
    if baseline is None:
        return summary.reset_index()
    rows = {
        variant: summarize_difference(runs, baseline, variant)
        for variant in summary.index
        if variant != baseline
    }
    difference = pd.DataFrame.from_dict(rows, orient="index", columns=_DIFFERENCES)
    return summary.join(difference).rename_axis("variant").reset_index()


def pair_by_seed(runs: pd.DataFrame, before: str, after: str) -> pd.DataFrame:
    """Return the scores of `after` minus those of `before`, one row for each seed both finished."""
    done = runs[runs["status"] == "done"].set_index("seed")
    columns = list(SCORES)
    arms = [done.loc[done["variant"] == name, columns] for name in (before, after)]
    seeds = arms[0].index.intersection(arms[1].index)
    return arms[1].loc[seeds] - arms[0].loc[seeds]


def summarize_difference(runs: pd.DataFrame, before: str, after: str) -> dict[str, float]:
    """Summarise the paired difference of two variants; NaN where no seed finished both."""
    pairs = pair_by_seed(runs, before, after)
    summary: dict[str, float] = {"num_pairs": len(pairs)}
    for score in SCORES:
        summary[f"{score}_diff_mean"] = float(pairs[score].mean())
        summary[f"{score}_diff_std"] = float(pairs[score].std(ddof=1))
    return summary


def has_grid(runs: pd.DataFrame) -> bool:
    """Say whether the variants are told apart by backbone and skip, with two of each or more."""
    variants = runs.drop_duplicates("variant")
    cells = variants[["backbone", "skip"]]
    enough = bool((cells.nunique() >= 2).all())
    return enough and not cells.duplicated().any() and len(cells) > max(cells.nunique())


def list_changes(
    runs: pd.DataFrame, factors: Sequence[str], baseline: str | None = None
) -> pd.DataFrame:
    """Compare variants that differ in one factor alone.

    A skip is compared with the one before it in the plan; any other value with the baseline's
    value of that factor (the plan's first without a baseline).

    Args:
        runs: The frame of runs.
        factors: Columns of settings that may differ ("backbone", "skip", dotted keys).
        baseline: Variant whose values the others are compared with.

    Returns:
        A row for each comparison: `factor`, `context` (what both arms share of the other
        factors), `before` and `after` (values), `num_pairs`, `<score>_diff_mean`,
        `<score>_diff_std`.
    """
    variants = runs.drop_duplicates("variant").set_index("variant")
    rows = []
    for factor in factors:
        others = [f for f in factors if f != factor and variants[f].nunique() > 1]
        order = list(dict.fromkeys(variants[factor]))
        reference = order[0] if baseline is None else variants.at[baseline, factor]
        for context, arms in _contexts(variants, others):
            named = {value: name for name, value in reversed(list(arms[factor].items()))}
            here = [value for value in order if value in named]
            if factor == CHAINED:
                pairs = list(pairwise(here))
            else:
                pairs = [(reference, v) for v in here if v != reference and reference in named]
            for before, after in pairs:
                change = {"factor": factor, "context": context, "before": before, "after": after}
                rows.append(change | summarize_difference(runs, named[before], named[after]))
    return pd.DataFrame(rows, columns=["factor", "context", "before", "after", *_DIFFERENCES])


_DIFFERENCES = ["num_pairs", *(f"{s}_diff_{m}" for s in SCORES for m in ("mean", "std"))]


def _contexts(variants: pd.DataFrame, others: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield groups of variants that agree in the `others`, with the values they share."""
    if not others:
        yield "", variants
        return
    for values, arms in variants.groupby(list(others), sort=False):
        yield ", ".join(str(value) for value in values), arms
