"""The answer on a terminal: the first lines of the page, and the table of scores as wide as fits.

In: a `Study` and a console. Out: lines; the page has all that is left out here.
"""

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.plan import EFFECT
from bench.text import clean, clean_block
from reports.answer import choose_kinds, find_answer
from reports.formats import Table
from reports.statements import state_changes
from reports.stats.summary import list_scores
from reports.study import Study
from reports.style import label
from reports.tables.summary import summary_table

DISPENSABLE = ("parameters", "training", "f.w. IoU", "mean acc", "pixel acc", "seeds")
LAST_DISPENSABLE = ("mean over", "judged on", "Δ, 95 %")
"""Columns that go, in this order, where a table is wider than the terminal; between the two go
those of further scores, and last the interval of the primary one."""


def print_answer(study: Study, console: Console) -> None:
    """Print the best variant, how sure that is, and the score of each variant."""
    answer = find_answer(study.runs, study.summary, study.plan.baseline, study.intervals)
    if not (study.summary["num_done"] > 0).any():
        is_open = "missing" in set(study.runs["status"])
        way = "; `fcn-bench run` trains what is missing" * is_open
        _print(console, f"{answer.progress} No scores yet{way}")
        return
    for verdict in study.verdicts:
        _print(console, f"{verdict.word}: {verdict.question.claim}", style="bold")
    if EFFECT in choose_kinds(study.plan, study.changes):
        for lead, rest in state_changes(study.changes, study.main_effects, study.interactions):
            _print(console, " ".join(filter(None, [lead, rest])))
    if answer.no_best:
        _print(console, f"{answer.no_best}.")
    else:
        said = ", ".join(_in_a_line(name, value) for name, value in answer.numbers)
        _print(console, f"best: {answer.best}: {said}", style="bold")
    for remark in answer.remarks:
        _print(console, remark)
    shown = study.drawn_summary.reset_index(drop=True)
    table = summary_table(shown, study.comparability, study.plan.baseline)
    console.print(_fit(table, console, study))
    if len(shown) < len(study.summary):
        _print(console, f"{len(shown)} of {len(study.summary)} variants; the page has all")


def _in_a_line(name: str, value: str) -> str:
    """Put name and value of a score together; the page has them in two columns."""
    bare = name.removesuffix(", %")
    return f"{bare} {value}" if bare == name else f"{bare} {value} %"


def _fit(table: Table, console: Console, study: Study) -> RichTable:
    """Return a table without the columns for which there is no room."""
    columns = list(table.cells.columns)
    further = [label(name) for name in list_scores(study.summary) if name != study.primary]
    interval = f"{label(study.primary)}, 95 %"
    for name in ("", *DISPENSABLE, *further, *LAST_DISPENSABLE, interval):
        columns = [column for column in columns if column != name]
        rich = _to_rich(table, columns)
        if console.measure(rich).maximum <= console.width:
            break
    return rich


def _to_rich(table: Table, columns: list[str]) -> RichTable:
    rich = RichTable(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        rich.add_column(Text(clean(name)), justify="right" if name in table.numeric else "left")
    for i, row in enumerate(table.cells[columns].itertuples(index=False, name=None)):
        cells = []
        for name, text in zip(columns, row, strict=True):
            is_best, is_tied = (i, name) in table.best, (i, name) in table.tied
            style = "bold" if is_best else "underline" if is_tied else ""
            cells.append(Text(clean(text), style=style))
        rich.add_row(*cells)
    return rich


def _print(console: Console, text: str, style: str = "") -> None:
    console.print(Text(clean_block(text), style=style), soft_wrap=True)
