"""Each variant against the baseline: what changes, how surely, and what it costs.

In: a summary with intervals (`stats.add_intervals`). Out: a frame of raw values, a table, and the
sentences that say what the intervals and verdicts mean.
"""

import pandas as pd

from bench.text import clean
from reports.formats import Table
from reports.marks import map_names, sign
from reports.stats.comparability import UNKNOWN, Comparability
from reports.stats.primary import compared_scores, primary_of
from reports.style import MISSING, label, p_bound, points, times, with_interval
from reports.tables.cells import ADJUSTED_MEANS, show_differences

COSTS = {"num_parameters": "parameters", "train_seconds": "training"}


def comparisons_frame(
    summary: pd.DataFrame, baseline: str, comparability: Comparability = UNKNOWN
) -> pd.DataFrame:
    """Return a row for each other variant that was judged on the baseline's images and classes.

    For each score shown `<score>_diff_mean`, `_low`, `_high` (of the primary one the interval that
    decides, of others their own), `_own_low`, `_own_high`, `_p` (adjusted for all
    contrasts of the page) and `_word`, and where there are outliers what it is without them; all
    fractions, NaN or empty where unknown; `num_pairs` and `num_images`; and the costs in parts of
    the baseline's, `num_parameters_ratio` and `train_seconds_ratio`, with `_apart` where that is
    beyond the spread over runs; and `remark` where something is said of the
    runs of a variant, or of the baseline's.
    """
    zero = summary[summary["variant"] == baseline]
    alike = [
        name != baseline and comparability.holds((baseline, name)) for name in summary["variant"]
    ]
    rows = summary[alike].reset_index(drop=True)
    frame = rows[["variant", "num_pairs"]].copy()
    frame["num_images"] = rows.get("num_images", float("nan"))
    for score in compared_scores(primary_of(summary)):
        for kind in ("mean", "low", "high", "own_low", "own_high", "p"):
            frame[f"{score}_diff_{kind}"] = rows.get(f"{score}_diff_{kind}", float("nan"))
        frame[f"{score}_diff_word"] = rows.get(f"{score}_diff_word", "")
        frame[f"{score}_diff_adjusted"] = rows.get(f"{score}_diff_adjusted", False)
        if f"{score}_diff_without" in rows:
            for end in ("", "_low", "_high"):
                frame[f"{score}_diff_without{end}"] = rows[f"{score}_diff_without{end}"]
    for cost in COSTS:
        frame[f"{cost}_ratio"] = rows.get(f"{cost}_ratio", float("nan"))
        frame[f"{cost}_apart"] = rows.get(f"{cost}_apart", False)
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
    primary = primary_of(summary)
    is_of_one = not any(frame[f"{primary}_diff_word"]) and not frame["num_pairs"].max() > 1
    for score in compared_scores(primary):
        has_interval = bool(frame[f"{score}_diff_low"].notna().any())
        of = f"{', these two networks' * is_of_one} [95 %]" * has_interval
        shown = zip(
            show_differences(frame, score),
            *(frame[f"{score}_diff_{kind}"] for kind in ("low", "high")),
            strict=True,
        )
        texts = [with_interval(text, low, high, points) for text, low, high in shown]
        cells[f"Δ {label(score)}{of}"] = sign(texts, frame)
        if f"{score}_diff_without" in frame:
            ends = (frame[f"{score}_diff_without{end}"] for end in ("", "_low", "_high"))
            cells["without outliers"] = [
                with_interval(points(mean), low, high, points)
                for mean, low, high in zip(*ends, strict=True)
            ]
        if score == primary:
            cells["verdict"] = [
                _verdict(word, p)
                for word, p in zip(
                    frame[f"{score}_diff_word"], frame[f"{score}_diff_p"], strict=True
                )
            ]
    for cost, name in COSTS.items():
        pairs = zip(frame[f"{cost}_ratio"], frame[f"{cost}_apart"], strict=True)
        cells[f"× {name}"] = [times(ratio, is_apart=bool(apart)) for ratio, apart in pairs]
    return Table(cells, frozenset(cells.columns[1:]), caption=describe_verdicts(summary, baseline))


def describe_verdicts(summary: pd.DataFrame, baseline: str) -> str:
    """Say what the differences, their intervals and the verdicts are, and what they are not."""
    frame = comparisons_frame(summary, baseline)
    named = map_names(summary).get(baseline, clean(baseline))
    text = f"Against {named}, in percentage points. "
    primary = primary_of(summary)
    words = set(frame[f"{primary}_diff_word"])
    if any(words):
        text += (
            f"Intervals of {label(primary)} are over images and seeds, under one model of error "
            "for all variants, and hold for all contrasts of this page at once: a difference is "
            "shown where its own leaves zero out. p is adjusted for their number. Other scores "
            "have intervals of their own and no verdict."
        )
    if any(frame[f"{score}_diff_adjusted"].any() for score in compared_scores(primary)):
        text += f" {ADJUSTED_MEANS}"
    known = frame[f"{primary}_diff_low"].notna()
    if not known.any() and frame[f"{primary}_diff_mean"].notna().any():
        text += " Without counts of several images there are no intervals, and nothing is shown."
    if "" in set(frame.loc[known, f"{primary}_diff_word"]):
        text += (
            " With one seed an interval is about these trained networks on other images: what "
            "training again would change is not in it, so nothing is shown."
        )
    if f"{primary}_diff_without" in frame:
        text += (
            " Some runs are outliers: the interval that decides reaches over that without them, "
            "which stands beside."
        )
    return f"{text} ×: in parts of the baseline's; ≈ 1 where runs of one network are as far apart."


def _verdict(word: str, p: float) -> str:
    return f"{word} (p {p_bound(p)})" if word else MISSING
