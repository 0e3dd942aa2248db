"""The tables one takes along: `tables/<name>.csv`, `.md` and `.tex` beside the page.

In: the frames of a study. Out: text by path. A CSV holds the frame (fractions, seconds, counts;
text that no spreadsheet runs), Markdown and LaTeX what a reader is shown, caption included.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from reports.formats import Table, to_csv, to_latex, to_markdown
from reports.study import Study
from reports.tables.changes import list_table
from reports.tables.claims import claims_frame, claims_table
from reports.tables.classes import classes_frame, classes_table
from reports.tables.comparisons import comparison_table, comparisons_frame
from reports.tables.evaluations import evaluations_table
from reports.tables.other_targets import other_targets_table
from reports.tables.published import published_frame, published_table
from reports.tables.runs import costs_frame, costs_table
from reports.tables.summary import paper_frame, paper_table, summary_table
from reports.tables.tuning import tuning_frame, tuning_table

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
    comparability = study.comparability
    if study.verdicts:
        judged = study.verdicts, study.looks
        yield "claims", Export(claims_frame(*judged), claims_table(*judged))
    yield "summary", Export(summary, summary_table(summary, comparability, plan.baseline))
    yield "paper", Export(paper_frame(summary), paper_table(summary, comparability))
    if len(labels):
        yield "labels", Export(labels, other_targets_table(labels))
    if len(classes):
        frame = classes_frame(classes, intervals)
        yield "classes", Export(frame, classes_table(frame, summary))
    costs = costs_frame(runs)
    yield "costs", Export(costs, costs_table(costs))
    if plan.published:
        frame = published_frame(plan.published, summary, labels)
        yield "published", Export(frame, published_table(plan.published, summary, labels))
    if len(study.evaluations):
        yield "evaluations", Export(study.evaluations, evaluations_table(study.evaluations))
    if plan.baseline is not None:
        frame = comparisons_frame(summary, plan.baseline, comparability)
        if len(frame):
            table = comparison_table(summary, plan.baseline, comparability)
            yield "comparisons", Export(frame, table)
    if plan.tuning is not None:
        yield "tuning", Export(tuning_frame(plan.tuning), tuning_table(plan.tuning))
    if len(study.changes):
        means, apart = study.main_effects, study.interactions
        table = list_table(study.changes, means, apart)
        yield "changes", Export(_stack_changes(study.changes, means, apart), table)


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


def _stack_changes(
    changes: pd.DataFrame, means: pd.DataFrame, interactions: pd.DataFrame
) -> pd.DataFrame:
    """Put changes, their means over contexts and how contexts differ into one frame, by `kind`."""
    parts = {"change": changes, "mean": means, "less the mean": interactions}
    whole = [part.assign(kind=kind) for kind, part in parts.items() if len(part)]
    return pd.concat(whole, ignore_index=True) if whole else changes.assign(kind="change")
