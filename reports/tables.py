"""Which tables a report has: frames of raw values turned into what a reader sees.

In: summaries and frames of raw units. Out: `Table`s of text, with the best values marked.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from bench.metrics import BOUNDARY_SCORE, SCORES
from bench.plan import Published
from bench.text import clean
from reports.footing import UNKNOWN, Footing
from reports.formats import MARK, UNDERLINED, Table
from reports.marks import map_names, name_variants
from reports.style import (
    MISSING,
    between,
    duration,
    label,
    millions,
    percent,
    points,
    with_interval,
    with_spread,
)

UNVERIFIED = "†"
"""Stands behind a published number that nobody checked against its source."""


def summary_table(
    summary: pd.DataFrame, footing: Footing = UNKNOWN, baseline: str | None = None
) -> Table:
    """Show a summary: mean ± standard deviation over seeds, and 95 % intervals where there are any.

    The best mean of each score is marked, and what is not significantly worse (`add_intervals`),
    unless variants are not on one footing: then none is best, and what they stand on is a column.
    """
    cells = pd.DataFrame({"variant": name_variants(summary)})
    cells["seeds"] = [
        f"{row.num_done} of {row.num_planned}" for row in summary.itertuples(index=False)
    ]
    if "judged_on" in summary:
        cells["judged on"] = [clean(text) for text in summary["judged_on"]]
    best: set[tuple[int, str]] = set()
    tied: set[tuple[int, str]] = set()
    for score in ("miou", "pixel_acc", "mean_acc", "fw_iou", BOUNDARY_SCORE):
        if f"{score}_mean" not in summary:
            continue
        means = summary[f"{score}_mean"]
        cells[label(score)] = _spreads(means, summary[f"{score}_std"], percent)
        if footing.share(summary["variant"], score):
            best |= {(i, label(score)) for i in best_rows(means)}
            tied |= {(i, label(score)) for i in tied_rows(summary, score)}
        if score != "miou":
            continue
        if "mean_over" in summary:
            cells["mean over"] = summary["mean_over"].to_numpy()
        if _has(summary, "miou_low"):
            cells["mIoU, 95 %"] = _bounds(summary, "miou", percent)
        if "miou_diff_mean" in summary:
            cells["Δ mIoU"] = _spreads(summary["miou_diff_mean"], summary["miou_diff_std"], points)
        if _has(summary, "miou_diff_low"):
            cells["Δ, 95 %"] = _bounds(summary, "miou_diff", points)
    cells["parameters"] = [millions(value) for value in summary["num_parameters"]]
    cells["training"] = [duration(value) for value in summary["train_seconds"]]
    caption = describe_scores(summary, is_ranked=footing.share(summary["variant"]))
    if "miou_diff_mean" in summary:
        is_marked = "remark" in summary and summary["remark"][summary["variant"] == baseline].any()
        against = f"the baseline {MARK}" if is_marked else "the baseline"
        caption += f" Δ: points of mIoU against {against}, paired by seed."
    caption += " Parameters and training time: means over runs."
    numeric = frozenset(cells.columns[1:]) - {"judged on", "mean over"}
    return Table(cells, numeric, frozenset(best), frozenset(tied), caption)


def describe_scores(summary: pd.DataFrame, *, is_ranked: bool = True) -> str:
    """Say in sentences what the scores of a summary are: units, spread, interval, marks.

    `is_ranked`: whether the variants can be compared by any score.
    """
    has_intervals = _has(summary, "miou_low")
    marks = _MARKS if has_intervals else "Bold: the highest mean."
    coverage = describe_coverage(summary) if has_intervals else ""
    return " ".join(filter(None, [_SCORES, coverage, marks if is_ranked else ""]))


def describe_coverage(summary: pd.DataFrame) -> str:
    """Say what the intervals of a summary cover, and what they do not."""
    images = sorted({int(n) for n in summary["num_images"].dropna()})
    counts = f"n = {images[0]}" if len(images) == 1 else f"n = {images[0]} to {images[-1]}"
    most = int(summary["num_done"].max())
    if most < 2:
        return (
            f"Intervals, 95 %: the choice of pictures ({counts}), resampled; with one seed they "
            "do not cover what another training run would give."
        )
    text = f"Intervals, 95 %: the choice of pictures ({counts}) and of seeds, both resampled."
    if (summary.loc[summary["num_done"] > 0, "num_done"] < 2).any():
        text += " A variant with one seed has an interval over pictures alone."
    return text


def summarize_classes(classes: pd.DataFrame) -> pd.DataFrame:
    """Summarise IoU by variant and class: `iou_mean`, `iou_std` and `num_seeds` that have one."""
    groups = classes.groupby(["variant", "class_name"], sort=False)["iou"]
    summary = groups.agg(iou_mean="mean", iou_std="std", num_seeds="count")
    return summary.reset_index()


def class_grid(classes: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    """Return mean IoU, variants x classes, as fractions; NaN for absent classes and no runs."""
    names = list(dict.fromkeys(classes["class_name"]))
    grid = classes.pivot_table(index="variant", columns="class_name", values="iou", dropna=False)
    return grid.reindex(index=list(variants), columns=names)


def class_table(
    grid: pd.DataFrame, summary: pd.DataFrame | None = None, footing: Footing = UNKNOWN
) -> Table:
    """Show mean IoU in percent, variants x classes, the best of each class marked.

    Args:
        grid: `class_grid`.
        summary: Names of variants, marked where there is a remark; None for plain ones.
        footing: What each variant was judged on; none is the best of several.
    """
    names = {} if summary is None else map_names(summary)
    cells = pd.DataFrame({"variant": [names.get(name, clean(name)) for name in grid.index]})
    is_ranked = footing.share(grid.index)
    best: set[tuple[int, str]] = set()
    for name in grid.columns:
        shown = clean(name) if clean(name) not in cells else f"{clean(name)} (2)"
        cells[shown] = [percent(value) for value in grid[name]]
        best |= {(i, shown) for i in best_rows(grid[name]) if is_ranked}
    return Table(cells, frozenset(cells.columns[1:]), frozenset(best))


def runs_table(runs: pd.DataFrame) -> Table:
    """Show where each number is from: every planned run with its status, costs and id."""
    cells = pd.DataFrame({"variant": [clean(name) for name in runs["variant"]]})
    cells["seed"] = [str(seed) for seed in runs["seed"]]
    cells["status"] = runs["status"].to_numpy()
    remarks = runs.get("remark", pd.Series("", runs.index))
    cells["reason"] = [
        clean("; ".join(filter(None, texts))) or MISSING
        for texts in zip(runs["reason"], remarks, strict=True)
    ]
    cells["mIoU"] = [percent(value) for value in runs["miou"]]
    cells["steps"] = [MISSING if pd.isna(steps) else f"{int(steps)}" for steps in runs["steps"]]
    cells["training"] = [duration(value) for value in runs["train_seconds"]]
    cells["evaluation"] = [duration(value) for value in runs["evaluate_seconds"]]
    cells["parameters"] = [millions(value) for value in runs["num_parameters"]]
    cells["run"] = runs["run_id"].to_numpy()
    numbers = ("seed", "mIoU", "steps", "training", "evaluation", "parameters")
    return Table(cells, frozenset(numbers))


def published_frame(
    published: Sequence[Published], summary: pd.DataFrame, labels: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Put each published number beside ours, in fractions.

    Args:
        published: The numbers.
        summary: Ours, of the first label map.
        labels: Ours, of further ones (`labels.labels_frame`).

    Returns:
        A row for each number: `variant`, `score`, `published`, `verified`, `ours`, `ours_std`,
        `ours_low`, `ours_high` (NaN without an interval), `difference`, `source`, `differs`,
        and `target` if a number is of a further label map.
    """

    def find(entry: Published, column: str) -> float:
        ours = summary
        if entry.target is not None:
            ours = summary.iloc[:0] if labels is None else labels[labels["target"] == entry.target]
        if column not in ours:
            return float("nan")
        return float(ours.set_index("variant")[column].get(entry.variant, float("nan")))

    rows = []
    for entry in published:
        for score in SCORES:
            theirs = getattr(entry, score)
            if theirs is None:
                continue
            mean, std, low, high = (
                find(entry, f"{score}_{kind}") for kind in ("mean", "std", "low", "high")
            )
            shared = (entry.variant, score, theirs, entry.verified)
            said = entry.source, entry.differs, entry.target
            rows.append((*shared, mean, std, low, high, mean - theirs, *said))
    frame = pd.DataFrame(rows, columns=[*_PUBLISHED_COLUMNS, "target"])
    return frame if frame["target"].notna().any() else frame[_PUBLISHED_COLUMNS]


def published_table(
    published: Sequence[Published], summary: pd.DataFrame, labels: pd.DataFrame | None = None
) -> Table:
    """Show each published number beside ours, with what differs between the two protocols."""
    frame = published_frame(published, summary, labels)
    names = map_names(summary)
    rows = [
        {
            "variant": names.get(row["variant"], clean(row["variant"])),
            "score": label(str(row["score"]))
            + (f", {clean(row['target'])}" if row.get("target") else ""),
            "published": percent(row["published"]) + ("" if row["verified"] else UNVERIFIED),
            "ours": with_interval(
                with_spread(percent(row["ours"]), row["ours_std"]),
                row["ours_low"],
                row["ours_high"],
            ),
            "ours − published": points(row["difference"]),
            "source": clean(row["source"]) + ("" if row["verified"] else " (not checked)"),
            "what differs": clean(row["differs"]),
        }
        for row in frame.to_dict("records")
    ]
    columns = ["variant", "score", "published", "ours", "ours − published"]
    cells = pd.DataFrame(rows, columns=[*columns, "source", "what differs"])
    caption = "In percent, differences in points; ours are means ± sample standard deviation"
    caption += " over seeds" + (" [95 % interval]." if frame["ours_low"].notna().any() else ".")
    caption += " Protocols differ as stated, so a difference is no ranking."
    if not frame["verified"].all():
        caption += f" {UNVERIFIED}: not checked against its source."
    return Table(cells, frozenset(columns[2:]), caption=caption)


def tied_rows(summary: pd.DataFrame, score: str) -> list[int]:
    """Return the positions that are not significantly below the highest value."""
    if f"{score}_tied" not in summary:
        return []
    return [i for i, tied in enumerate(summary[f"{score}_tied"]) if tied]


def best_rows(values: pd.Series) -> list[int]:
    """Return the positions of the highest value; none where there is nothing to be better than.

    Zero is not the best of anything: a class that nobody predicts has no best.
    """
    if values.notna().sum() < 2 or not values.max() > 0:
        return []
    return [i for i, value in enumerate(values) if value == values.max()]


_PUBLISHED_COLUMNS = [
    *["variant", "score", "published", "verified", "ours", "ours_std", "ours_low", "ours_high"],
    *["difference", "source", "differs"],
]
_SCORES = "Scores in percent, mean ± sample standard deviation over seeds."
_MARKS = (
    f"Bold: the highest mean; {UNDERLINED}: not significantly below it (Student's t over pictures "
    "and seeds, Holm, 5 %)."
)


def _has(summary: pd.DataFrame, column: str) -> bool:
    return column in summary and bool(summary[column].notna().any())


def _spreads(means: pd.Series, stds: pd.Series, show: Callable[[float], str]) -> list[str]:
    return [with_spread(show(mean), std) for mean, std in zip(means, stds, strict=True)]


def _bounds(summary: pd.DataFrame, prefix: str, show: Callable[[float], str]) -> list[str]:
    ends = zip(summary[f"{prefix}_low"], summary[f"{prefix}_high"], strict=True)
    return [between(low, high, show) for low, high in ends]
