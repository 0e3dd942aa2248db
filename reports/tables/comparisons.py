"""Each variant against the baseline: what changes, how surely, and what it costs.

In: a summary with intervals (`stats.add_intervals`). Out: a frame of raw values, a table, and the
sentences that say what the intervals and tests mean.
"""

import pandas as pd

from bench.text import clean
from reports.formats import Table
from reports.marks import map_names, sign
from reports.stats.comparability import UNKNOWN, Comparability
from reports.stats.significance import ALPHA
from reports.style import MISSING, duration, label, millions, p_value, points, signed, with_interval

SHOWN = ("miou", "pixel_acc")
"""Scores that are compared: the two that everyone reports."""
COSTS = {"num_parameters": millions, "train_seconds": duration}


def comparisons_frame(
    summary: pd.DataFrame, baseline: str, comparability: Comparability = UNKNOWN
) -> pd.DataFrame:
    """Return a row for each other variant that was judged on the baseline's images and classes.

    For each score shown `<score>_diff_mean`, `_low`, `_high`, `_p` (Holm's over the variants; all
    fractions, NaN where unknown) and `<score>_significant`; `num_pairs` and `num_images`; and the
    differences of costs, `num_parameters_diff` and `train_seconds_diff`; and `remark` where
    something is said of the runs of a variant, or of the baseline's.
    """
    zero = summary[summary["variant"] == baseline]
    alike = [
        name != baseline and comparability.holds((baseline, name)) for name in summary["variant"]
    ]
    rows = summary[alike].reset_index(drop=True)
    frame = rows[["variant", "num_pairs"]].copy()
    frame["num_images"] = rows.get("num_images", float("nan"))
    for score in SHOWN:
        for kind in ("mean", "low", "high", "p"):
            frame[f"{score}_diff_{kind}"] = rows.get(f"{score}_diff_{kind}", float("nan"))
        frame[f"{score}_significant"] = frame[f"{score}_diff_p"] < ALPHA
    for cost in COSTS:
        base = zero[cost].iloc[0] if len(zero) else float("nan")
        frame[f"{cost}_diff"] = rows[cost] - base
    if "remark" in summary:
        shared = [f"{clean(baseline)}: {remark}" for remark in zero["remark"] if remark]
        frame["remark"] = ["; ".join(filter(None, [own, *shared])) for own in rows["remark"]]
    return frame


def comparison_table(
    summary: pd.DataFrame, baseline: str, comparability: Comparability = UNKNOWN
) -> Table:
    """Show what each variant brings against the baseline, and what it costs."""
    frame = comparisons_frame(summary, baseline, comparability)
    names = map_names(summary)
    cells = pd.DataFrame({"variant": [names[name] for name in frame["variant"]]})
    one_seed = bool(len(frame)) and int(frame["num_pairs"].max()) < 2
    for score in SHOWN:
        shown = zip(
            *(frame[f"{score}_diff_{kind}"] for kind in ("mean", "low", "high")), strict=True
        )
        texts = [with_interval(points(mean), low, high, points) for mean, low, high in shown]
        cells[f"Δ {label(score)} [95 %]"] = sign(texts, frame)
        cells[f"significant, {label(score)}"] = [
            _verdict(p, one_seed=one_seed) for p in frame[f"{score}_diff_p"]
        ]
    names = {"num_parameters": "Δ parameters", "train_seconds": "Δ training"}
    for cost, show in COSTS.items():
        cells[names[cost]] = [signed(show, value) for value in frame[f"{cost}_diff"]]
    return Table(cells, frozenset(cells.columns[1:]), caption=describe_tests(summary, baseline))


def describe_tests(summary: pd.DataFrame, baseline: str) -> str:
    """Say what the differences, their intervals and their p-values are, and what they are not."""
    frame = comparisons_frame(summary, baseline)
    seeds = int(frame["num_pairs"].max()) if len(frame) else 0
    named = map_names(summary).get(baseline, clean(baseline))
    text = (
        f"Against {named}, in percentage points, paired by "
        "image and seed. p: the larger of a permutation test (images change sides) and "
        f"Student's t, adjusted by Holm over the variants; significant below {ALPHA:g}. "
    )
    if seeds >= 2:
        return text + "Intervals cover the choice of images and of seeds."
    return text + (
        "With one seed this is about these trained networks on other images: what training "
        "again would change is not in the intervals, so a difference of the methods is not shown."
    )


def _verdict(p: float, *, one_seed: bool) -> str:
    if p != p:
        return MISSING
    sign = "" if p < 0.001 else "= "
    word = "not shown" if p >= ALPHA else "these networks" if one_seed else "yes"
    return f"{word} (p {sign}{p_value(p)})"
