"""The tables one takes along: `tables/<name>.csv`, `.md` and `.tex` beside the page.

In: the frames of a study. Out: text by path. A CSV holds the frame (fractions, seconds, counts;
text that no spreadsheet runs), Markdown and LaTeX what a reader is shown, caption included.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from bench.metrics import BOUNDARY_SCORE
from bench.text import clean
from reports.changes import list_table
from reports.comparisons import comparison_table, comparisons_frame
from reports.footing import UNKNOWN, Footing
from reports.formats import Table, to_csv, to_latex, to_markdown
from reports.frame import EXTRA_COSTS
from reports.intervals import Intervals
from reports.labels import labels_table
from reports.marks import map_names, name_variants
from reports.study import Study
from reports.style import MISSING, duration, label, millions, percent, with_interval, with_spread
from reports.tables import (
    best_rows,
    describe_coverage,
    describe_scores,
    published_frame,
    published_table,
    summarize_classes,
    summary_table,
    tied_rows,
)

PAPER_NAMES = {
    "pixel_acc": "pixel acc.",
    "mean_acc": "mean acc.",
    "miou": "mean IU",
    "fw_iou": "f.w. IU",
    BOUNDARY_SCORE: "boundary IU",
}
"""The four scores in the order and words of Long et al., 2015, table 1, arXiv:1411.4038."""
MOST_ACROSS = 12
"""Classes in one row of a table; of more, each gets a row of its own."""


NEUTRAL = ("costs",)
"""Tables that say nothing of scores."""


class Export(NamedTuple):
    """A table in both forms."""

    frame: pd.DataFrame
    """Raw values."""
    table: Table
    """What is shown."""


def list_exports(study: Study) -> Iterator[tuple[str, Export]]:
    """Yield each table of a study by name."""
    plan, runs, summary = study.plan, study.runs, study.summary
    classes, intervals, labels = study.classes, study.intervals, study.labels
    footing = study.footing
    yield "summary", Export(summary, summary_table(summary, footing, plan.baseline))
    yield "paper", Export(paper_frame(summary), paper_table(summary, footing))
    if len(labels):
        yield "labels", Export(labels, labels_table(labels))
    if len(classes):
        frame = classes_frame(classes, intervals)
        yield "classes", Export(frame, classes_table(frame, summary, footing))
    costs = costs_frame(runs)
    yield "costs", Export(costs, costs_table(costs))
    if plan.published:
        frame = published_frame(plan.published, summary, labels)
        yield "published", Export(frame, published_table(plan.published, summary, labels))
    if plan.baseline is not None:
        frame = comparisons_frame(summary, plan.baseline, footing)
        if len(frame):
            table = comparison_table(summary, plan.baseline, footing)
            yield "comparisons", Export(frame, table)
    if len(study.changes):
        yield "changes", Export(study.changes, list_table(study.changes))


def write_exports(study: Study) -> dict[str, str]:
    """Return the text of each file by its path beside the page: `tables/<name>.csv|md|tex`.

    A table may go where the page does not: captions of those that rank or subtract hold remarks.
    """
    outputs = {}
    remarks = study.remarks.caption
    for name, (frame, table) in list_exports(study):
        if name not in NEUTRAL and remarks:
            table = replace(table, caption=f"{table.caption} {remarks}")
        outputs[f"tables/{name}.csv"] = to_csv(frame)
        outputs[f"tables/{name}.md"] = to_markdown(table)
        outputs[f"tables/{name}.tex"] = to_latex(table, name)
    return outputs


def paper_frame(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the scores alone, in the paper's order: mean, deviation and interval of each."""
    kinds = ("mean", "std", "low", "high", "tied")
    scores = [f"{score}_{kind}" for score in PAPER_NAMES for kind in kinds]
    names = ["variant", "num_done", "num_images", *scores, "judged_on", "mean_over", "remark"]
    return summary[[name for name in names if name in summary]]


def paper_table(summary: pd.DataFrame, footing: Footing = UNKNOWN) -> Table:
    """Show the four scores as the FCN paper's tables do, with their intervals."""
    cells = pd.DataFrame({"variant": name_variants(summary)})
    images = summary.get("num_images", pd.Series(float("nan"), summary.index))
    cells["n"] = [
        f"{seeds}" if pd.isna(n) else f"{seeds} × {int(n)}"
        for seeds, n in zip(summary["num_done"], images, strict=True)
    ]
    best: set[tuple[int, str]] = set()
    tied: set[tuple[int, str]] = set()
    for score, name in PAPER_NAMES.items():
        if f"{score}_mean" not in summary:
            continue
        cells[name] = _estimates(summary, score)
        if footing.share(summary["variant"], score):
            best |= {(i, name) for i in best_rows(summary[f"{score}_mean"])}
            tied |= {(i, name) for i in tied_rows(summary, score)}
    numeric = frozenset(cells.columns[1:])
    for column, name in (("mean_over", "mean IU over"), ("judged_on", "judged on")):
        if column in summary:
            cells[name] = [clean(text) for text in summary[column]]
    described = describe_scores(summary, is_ranked=footing.share(summary["variant"]))
    caption = f"{described} n: seeds × pictures. IU: IoU, as the paper calls it."
    return Table(cells, numeric, frozenset(best), frozenset(tied), caption)


def classes_frame(classes: pd.DataFrame, intervals: Intervals) -> pd.DataFrame:
    """Return IoU by variant and class: `iou_mean`, `_std`, `_low`, `_high` and `num_seeds`."""
    bounds = intervals.classes.rename(columns={"low": "iou_low", "high": "iou_high"})
    return summarize_classes(classes).merge(bounds, on=["variant", "class_name"], how="left")


def classes_table(frame: pd.DataFrame, summary: pd.DataFrame, footing: Footing = UNKNOWN) -> Table:
    """Show IoU by class, variants down; many classes go down instead."""
    variants, names = (list(dict.fromkeys(frame[key])) for key in ("variant", "class_name"))
    shown = {"variant": map_names(summary), "class_name": {name: clean(name) for name in names}}
    keys = ["variant", "class_name"] if len(names) <= MOST_ACROSS else ["class_name", "variant"]
    down, across = (variants, names) if keys[0] == "variant" else (names, variants)
    grid = frame.assign(text=_estimates(frame, "iou")).set_index(keys)
    titles = [keys[0], *(shown[keys[1]][name] for name in across)]
    heads = dict(zip(across, _distinct(titles)[1:], strict=True))
    cells = pd.DataFrame({keys[0]: [shown[keys[0]][name] for name in down]}).rename(
        columns={"class_name": "class"}
    )
    best: set[tuple[int, str]] = set()
    for name, head in heads.items():
        column = grid.xs(name, level=keys[1]).reindex(down)
        cells[head] = column["text"].fillna(MISSING).to_numpy()
        if keys[0] == "variant" and footing.share(variants):
            best |= {(i, head) for i in best_rows(column["iou_mean"])}
    caption = "IoU in percent, mean ± sample standard deviation over seeds. "
    if frame["iou_low"].notna().any():
        caption += f"{describe_coverage(summary)} "
    caption += f"{MISSING}: in neither target nor prediction."
    caption += " Bold: the highest mean of a class." if best else ""
    return Table(cells, frozenset(heads.values()), frozenset(best), caption=caption)


def costs_frame(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each variant: `num_done`, `num_parameters` and times.

    `train_seconds`, `evaluate_seconds` and `seconds_per_image` (of evaluation) have mean and sample
    standard deviation; further costs that runs recorded have their means.
    """
    done = runs.assign(
        num_done=(runs["status"] == "done").astype(int),
        seconds_per_image=runs["evaluate_seconds"] / runs["num_images"].astype("float64"),
    )
    groups = done.groupby("variant", sort=False)
    frame = groups[["num_done"]].sum()
    for cost in ("num_parameters", *(name for name in EXTRA_COSTS if name in runs)):
        frame[cost] = groups[cost].mean()
    for cost in ("train_seconds", "evaluate_seconds", "seconds_per_image"):
        frame[f"{cost}_mean"], frame[f"{cost}_std"] = groups[cost].mean(), groups[cost].std(ddof=1)
    return frame.reset_index()


def costs_table(frame: pd.DataFrame) -> Table:
    """Show what each variant costs."""
    cells = pd.DataFrame({"variant": [clean(name) for name in frame["variant"]]})
    cells["n"] = [str(n) for n in frame["num_done"]]
    cells["parameters"] = [millions(value) for value in frame["num_parameters"]]
    for cost, name in (("train_seconds", "training"), ("evaluate_seconds", "evaluation")):
        cells[name] = [
            f"{duration(mean)} ± {100 * std / mean:.0f} %" if std > 0 else duration(mean)
            for mean, std in zip(frame[f"{cost}_mean"], frame[f"{cost}_std"], strict=True)
        ]
    cells["per picture"] = [
        MISSING if pd.isna(value) else f"{1000 * value:.3g} ms"
        for value in frame["seconds_per_image_mean"]
    ]
    for cost in EXTRA_COSTS:
        if cost in frame:
            cells[label(cost)] = [MISSING if pd.isna(v) else f"{v:.4g}" for v in frame[cost]]
    caption = (
        "Costs: means over finished runs ± sample standard deviation in percent of the mean. "
        "n: runs. Per picture: evaluation with reading and counting. Times hold for the machine "
        "that the report names."
    )
    return Table(cells, frozenset(cells.columns[1:]), caption=caption)


def _estimates(frame: pd.DataFrame, prefix: str) -> list[str]:
    """Write mean ± deviation [interval] of each row, in percent."""
    unknown = pd.Series(float("nan"), frame.index)
    columns = [
        frame.get(f"{prefix}_{kind}", unknown).astype("float64")
        for kind in ("mean", "std", "low", "high")
    ]
    return [
        with_interval(with_spread(percent(mean), std), low, high)
        for mean, std, low, high in zip(*columns, strict=True)
    ]


def _distinct(names: Sequence[str]) -> list[str]:
    """Number the names that are shown alike, so that each keeps its column."""
    seen: list[str] = []
    for name in names:
        number, shown = 2, name
        while shown in seen:
            number, shown = number + 1, f"{name} ({number})"
        seen.append(shown)
    return seen
