"""Tables of IoU by class: variants across, or classes down with intervals.

In: the frame of classes. Out: frames of raw values, and `Table`s without marks.
"""

from collections.abc import Sequence

import pandas as pd

from bench.metrics import METRICS
from bench.text import clean
from reports.formats import Table
from reports.marks import map_names
from reports.stats.intervals import Intervals
from reports.style import MISSING, percent
from reports.tables.cells import distinct, show_estimates
from reports.tables.summary import describe_coverage


def summarize_classes(classes: pd.DataFrame) -> pd.DataFrame:
    """Summarise by variant and class: `iou_mean`, `iou_std` and `num_seeds` that have one.

    What else the frame has of classes, such as Dice, has `<score>_mean` and `_std` behind them.
    """
    groups = classes.groupby(["variant", "class_name"], sort=False)
    summary = groups["iou"].agg(iou_mean="mean", iou_std="std", num_seeds="count")
    for score in [name for name in map(str, classes.columns) if name in METRICS]:
        summary[[f"{score}_mean", f"{score}_std"]] = groups[score].agg(["mean", "std"])
    return summary.reset_index()


def class_grid(classes: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    """Return mean IoU, variants x classes, as fractions; NaN for absent classes and no runs."""
    names = list(dict.fromkeys(classes["class_name"]))
    grid = classes.pivot_table(index="variant", columns="class_name", values="iou", dropna=False)
    return grid.reindex(index=list(variants), columns=names)


def class_table(grid: pd.DataFrame, summary: pd.DataFrame | None = None) -> Table:
    """Show mean IoU in percent, variants x classes. Nothing is marked: a class is no contrast.

    Args:
        grid: `class_grid`.
        summary: Names of variants, marked where there is a remark; None for plain ones.
    """
    names = {} if summary is None else map_names(summary)
    cells = pd.DataFrame({"variant": [names.get(name, clean(name)) for name in grid.index]})
    for name in grid.columns:
        shown = clean(name) if clean(name) not in cells else f"{clean(name)} (2)"
        cells[shown] = [percent(value) for value in grid[name]]
    return Table(cells, frozenset(cells.columns[1:]))


MOST_ACROSS = 12
"""Classes in one row of a table; of more, each gets a row of its own."""


def classes_frame(classes: pd.DataFrame, intervals: Intervals) -> pd.DataFrame:
    """Return IoU by variant and class: `iou_mean`, `_std`, `_low`, `_high` and `num_seeds`."""
    bounds = intervals.classes.rename(columns={"low": "iou_low", "high": "iou_high"})
    return summarize_classes(classes).merge(bounds, on=["variant", "class_name"], how="left")


def classes_table(frame: pd.DataFrame, summary: pd.DataFrame) -> Table:
    """Show IoU by class, variants down; many classes go down instead."""
    variants, names = (list(dict.fromkeys(frame[key])) for key in ("variant", "class_name"))
    shown = {"variant": map_names(summary), "class_name": {name: clean(name) for name in names}}
    keys = ["variant", "class_name"] if len(names) <= MOST_ACROSS else ["class_name", "variant"]
    down, across = (variants, names) if keys[0] == "variant" else (names, variants)
    grid = frame.assign(text=show_estimates(frame, "iou")).set_index(keys)
    titles = [keys[0], *(shown[keys[1]][name] for name in across)]
    heads = dict(zip(across, distinct(titles)[1:], strict=True))
    cells = pd.DataFrame({keys[0]: [shown[keys[0]][name] for name in down]}).rename(
        columns={"class_name": "class"}
    )
    for name, head in heads.items():
        column = grid.xs(name, level=keys[1]).reindex(down)
        cells[head] = column["text"].fillna(MISSING).to_numpy()
    caption = "IoU in percent, mean ± sample standard deviation over seeds. "
    if frame["iou_low"].notna().any():
        caption += f"{describe_coverage(summary)} "
    caption += f"{MISSING}: in neither target nor prediction."
    return Table(cells, frozenset(heads.values()), caption=caption)
