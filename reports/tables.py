"""Which tables a report has: frames of raw values turned into what a reader sees.

In: summaries and frames of raw units. Out: `Table`s of text, with the best values marked.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from bench.metrics import SCORES
from bench.plan import Published
from reports.formats import Table
from reports.style import MISSING, clean, duration, label, millions, percent, points, with_spread


def summary_table(summary: pd.DataFrame) -> Table:
    """Show a summary: mean ± standard deviation over seeds, best mean of each score marked."""
    cells = pd.DataFrame({"variant": [clean(name) for name in summary["variant"]]})
    cells["seeds"] = [
        f"{row.num_done} of {row.num_planned}" for row in summary.itertuples(index=False)
    ]
    best: set[tuple[int, str]] = set()
    for score in ("miou", "pixel_acc", "mean_acc", "fw_iou"):
        means = summary[f"{score}_mean"]
        cells[label(score)] = _spreads(means, summary[f"{score}_std"], percent)
        best |= {(i, label(score)) for i in _best_rows(means)}
        if score == "miou" and "miou_diff_mean" in summary:
            cells["Δ mIoU"] = _spreads(summary["miou_diff_mean"], summary["miou_diff_std"], points)
    cells["parameters"] = [millions(value) for value in summary["num_parameters"]]
    cells["training"] = [duration(value) for value in summary["train_seconds"]]
    return Table(cells, frozenset(cells.columns[1:]), frozenset(best))


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


def class_table(grid: pd.DataFrame) -> Table:
    """Show mean IoU in percent, variants x classes, the best of each class marked."""
    cells = pd.DataFrame({"variant": [clean(name) for name in grid.index]})
    best: set[tuple[int, str]] = set()
    for name in grid.columns:
        shown = clean(name) if clean(name) not in cells else f"{clean(name)} (2)"
        cells[shown] = [percent(value) for value in grid[name]]
        best |= {(i, shown) for i in _best_rows(grid[name])}
    return Table(cells, frozenset(cells.columns[1:]), frozenset(best))


def runs_table(runs: pd.DataFrame) -> Table:
    """Show where each number is from: every planned run with its status, costs and id."""
    cells = pd.DataFrame({"variant": [clean(name) for name in runs["variant"]]})
    cells["seed"] = [str(seed) for seed in runs["seed"]]
    cells["status"] = runs["status"].to_numpy()
    cells["reason"] = [clean(reason) or MISSING for reason in runs["reason"]]
    cells["mIoU"] = [percent(value) for value in runs["miou"]]
    cells["steps"] = [MISSING if pd.isna(steps) else f"{int(steps)}" for steps in runs["steps"]]
    cells["training"] = [duration(value) for value in runs["train_seconds"]]
    cells["evaluation"] = [duration(value) for value in runs["evaluate_seconds"]]
    cells["parameters"] = [millions(value) for value in runs["num_parameters"]]
    cells["run"] = runs["run_id"].to_numpy()
    numbers = ("seed", "mIoU", "steps", "training", "evaluation", "parameters")
    return Table(cells, frozenset(numbers))


def published_table(published: Sequence[Published], summary: pd.DataFrame) -> Table:
    """Show each published number beside ours, with what differs between the two protocols."""
    ours = summary.set_index("variant")
    rows = []
    for entry in published:
        for score in SCORES:
            theirs = getattr(entry, score)
            if theirs is None:
                continue
            mean, std = (
                ours[f"{score}_{kind}"].get(entry.variant, float("nan")) for kind in ("mean", "std")
            )
            source = clean(entry.source) + ("" if entry.verified else " (not checked)")
            rows.append(
                {
                    "variant": clean(entry.variant),
                    "score": label(score),
                    "published": percent(theirs),
                    "ours": with_spread(percent(mean), std),
                    "ours − published": points(mean - theirs),
                    "source": source,
                    "what differs": clean(entry.differs),
                }
            )
    columns = ["variant", "score", "published", "ours", "ours − published"]
    cells = pd.DataFrame(rows, columns=[*columns, "source", "what differs"])
    return Table(cells, frozenset(columns[2:]))


def changes_table(changes: pd.DataFrame, score: str, *, down: str) -> Table:
    """Show what one factor's changes bring in `score`, with their mean over contexts.

    Args:
        changes: Rows of `stats.list_changes` for one factor.
        score: Name of the score.
        down: What the rows are, "context" or "change"; the other one goes across.
    """
    frame = changes.assign(
        change=[clean(f"{row.before} → {row.after}") for row in changes.itertuples(index=False)],
        context=changes["context"].map(clean),
        text=_spreads(changes[f"{score}_diff_mean"], changes[f"{score}_diff_std"], points),
    )
    if frame["context"].nunique() == 1:
        cells = frame[["change", "text"]].rename(columns={"text": f"Δ {label(score)}"})
        return Table(cells.reset_index(drop=True), frozenset(cells.columns[1:]))
    shown = frame.pivot_table(index="context", columns="change", values="text", aggfunc="first")
    shown = shown.loc[list(dict.fromkeys(frame["context"])), list(dict.fromkeys(frame["change"]))]
    average = frame.groupby("change")[f"{score}_diff_mean"].mean()
    shown.loc["mean of these"] = [points(average[name]) for name in shown.columns]
    shown = shown if down == "context" else shown.T
    cells = shown.fillna(MISSING).rename_axis(index=down, columns=None).reset_index()
    cells = cells.rename(columns={"context": "with"})
    return Table(cells, frozenset(cells.columns[1:]))


def _spreads(means: pd.Series, stds: pd.Series, show: Callable[[float], str]) -> list[str]:
    return [with_spread(show(mean), std) for mean, std in zip(means, stds, strict=True)]


def _best_rows(values: pd.Series) -> list[int]:
    """Return the positions of the highest value; none where there is nothing to be better than."""
    if values.notna().sum() < 2:
        return []
    return [i for i, value in enumerate(values) if value == values.max()]
