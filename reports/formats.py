"""The forms a table is kept in: HTML and Markdown for readers, CSV for programs.

In: a `Table` of text as shown, or a raw frame. Out: strings in which no cell is markup or formula,
whatever a class or a variant is called.
"""

import re
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup, escape

from reports.style import clean


@dataclass(frozen=True)
class Table:
    """Text cells as they are shown, unescaped; the first column names the row."""

    cells: pd.DataFrame
    numeric: frozenset[str]
    """Columns aligned as numbers."""
    best: frozenset[tuple[int, str]] = frozenset()
    """Cells (row, column) that hold the best value of their column."""


def to_html(table: Table) -> Markup:
    """Write a table as HTML, every cell escaped, in a box that scrolls when it is too wide."""
    columns = list(table.cells.columns)
    head = Markup("").join(_cell("th", name, table, name, 'scope="col"') for name in columns)
    body = Markup("").join(
        Markup("<tr>{}</tr>\n").format(
            Markup("").join(_body_cell(table, i, j, text) for j, text in enumerate(row))
        )
        for i, row in enumerate(table.cells.itertuples(index=False, name=None))
    )
    return Markup(
        '<div class="scroll" tabindex="0" role="group"><table><thead><tr>{}</tr></thead>\n'
        "<tbody>{}</tbody></table></div>"
    ).format(head, body)


def to_markdown(table: Table) -> str:
    """Write a table as Markdown in which no cell is markup; the best values are bold."""
    columns = list(table.cells.columns)
    rows = [
        [
            f"**{_escape_markdown(text)}**"
            if (i, columns[j]) in table.best
            else _escape_markdown(text)
            for j, text in enumerate(row)
        ]
        for i, row in enumerate(table.cells.itertuples(index=False, name=None))
    ]
    shown = pd.DataFrame(rows, columns=[_escape_markdown(name) for name in columns], dtype="object")
    align = ["right" if name in table.numeric else "left" for name in columns]
    return shown.to_markdown(index=False, disable_numparse=True, colalign=align) + "\n"


def to_csv(frame: pd.DataFrame) -> str:
    """Write raw values as CSV in which no text cell is a formula."""
    safe = frame.copy()
    for name in safe.columns:
        if name.startswith("num_"):
            safe[name] = safe[name].round().astype("Int64")
        elif not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = [_defuse(v) if isinstance(v, str) else v for v in safe[name]]
    safe.columns = [_defuse(str(name)) for name in safe.columns]
    return safe.to_csv(index=False, lineterminator="\n")


def _cell(tag: str, text: str, table: Table, column: str, attributes: str = "") -> Markup:
    kind = "num" if column in table.numeric else "text"
    return Markup("<{0} class={1} {2}>{3}</{0}>").format(
        Markup(tag), Markup(f'"{kind}"'), Markup(attributes), text
    )


def _body_cell(table: Table, i: int, j: int, text: str) -> Markup:
    column = table.cells.columns[j]
    shown = (
        Markup("<strong>{}</strong>").format(text) if (i, column) in table.best else escape(text)
    )
    first = j == 0
    return _cell("th" if first else "td", shown, table, column, 'scope="row"' if first else "")


def _escape_markdown(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~$#!])", r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # within a word it is no emphasis


def _defuse(text: str) -> str:
    """Put a quote mark before what a spreadsheet would run (the full-width signs included)."""
    text = clean(text) if not text.startswith(("\t", "\r")) else "'" + clean(text)
    return f"'{text}" if text.startswith(tuple("=+-@＝＋－＠")) else text
