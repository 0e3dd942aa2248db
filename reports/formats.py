"""The forms a table is kept in: HTML and Markdown for readers, LaTeX for papers, CSV for programs.

In: a `Table` of text as shown, or a raw frame. Out: strings in which no cell is markup, command or
formula, whatever a class or a variant is called.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup, escape

from bench.text import clean

MARK = "‡"
"""Stands behind a variant of whose runs something is said that its numbers do not say."""
UNDERLINED = "underlined"
"""How captions call the mark of what is not shown to be worse; Markdown has italics for it."""


@dataclass(frozen=True)
class Table:
    """Text cells as they are shown, unescaped; the first column names the row."""

    cells: pd.DataFrame
    numeric: frozenset[str]
    """Columns aligned as numbers."""
    best: frozenset[tuple[int, str]] = frozenset()
    """Cells (row, column) that hold the best value of their column."""
    tied: frozenset[tuple[int, str]] = frozenset()
    """Cells that are not shown to be worse than the best."""
    caption: str = ""
    """Units and conventions, unescaped."""


def to_html(table: Table, name: str) -> Markup:
    """Write a table as HTML, every cell escaped, in a box that scrolls when it is too wide.

    `name` says what it is to who does not see the heading above it.
    """
    columns = list(table.cells.columns)
    head = Markup("").join(_cell("th", name, table, name, 'scope="col"') for name in columns)
    body = Markup("").join(
        Markup("<tr>{}</tr>\n").format(
            Markup("").join(_body_cell(table, i, j, text) for j, text in enumerate(row))
        )
        for i, row in enumerate(table.cells.itertuples(index=False, name=None))
    )
    return Markup(
        '<div class="scroll" tabindex="0" role="group" aria-label="{}"><table>'
        "<caption>{}</caption><thead><tr>{}</tr></thead>\n<tbody>{}</tbody></table></div>"
    ).format(name, name, head, body)


def to_markdown(table: Table) -> str:
    """Write a table as Markdown in which no cell is markup.

    The best values are bold, those not shown to be worse in italics; the caption follows.
    """
    columns = list(table.cells.columns)
    rows = _mark(table, escape_markdown, best="**{}**", tied="*{}*")
    shown = pd.DataFrame(rows, columns=[escape_markdown(name) for name in columns], dtype="object")
    align = ["right" if name in table.numeric else "left" for name in columns]
    text = shown.to_markdown(index=False, disable_numparse=True, colalign=align) + "\n"
    caption = table.caption.replace(UNDERLINED, "italic") if table.tied else table.caption
    return f"{text}\n{escape_markdown(caption)}\n" if caption else text


def to_latex(table: Table, name: str) -> str:
    r"""Write a table as a LaTeX float in which no cell is a command; it needs booktabs alone.

    The best values are bold, those not shown to be worse underlined. Names in Latin letters
    compile everywhere, others with XeLaTeX, LuaLaTeX or Tectonic and a font that has them.

    Args:
        table: The table.
        name: What the label ends in: `\ref{tab:<name>}`. Ours, not escaped.
    """
    columns = list(table.cells.columns)
    align = "".join("r" if column in table.numeric else "l" for column in columns)
    rows = _mark(table, escape_latex, best=r"\textbf{{{}}}", tied=r"\underline{{{}}}")
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape_latex(table.caption)}}}",
        rf"  \label{{tab:{name}}}",
        rf"  \begin{{tabular}}{{{align}}}",
        r"    \toprule",
        f"    {' & '.join(escape_latex(column) for column in columns)} \\\\",
        r"    \midrule",
        *[f"    {' & '.join(row)} \\\\" for row in rows],
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(frame: pd.DataFrame) -> str:
    """Write raw values as CSV in which no text cell is a formula."""
    safe = frame.copy()
    for name in safe.columns:
        if name.startswith("num_"):
            safe[name] = safe[name].round().astype("Int64")
        elif not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = [defuse(v) if isinstance(v, str) else v for v in safe[name]]
    safe.columns = [defuse(str(name)) for name in safe.columns]
    return safe.to_csv(index=False, lineterminator="\n")


def to_script_json(content: object) -> Markup:
    """Write what a script of the page reads as JSON in which no text ends the element around it."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _cell(tag: str, text: str, table: Table, column: str, attributes: str = "") -> Markup:
    kind = "num" if column in table.numeric else "text"
    return Markup(f'<{tag} class="{kind}" {attributes}>{escape(text)}</{tag}>')


def _body_cell(table: Table, i: int, j: int, text: str) -> Markup:
    column = table.cells.columns[j]
    shown = escape(text)
    if (i, column) in table.best:
        shown = Markup(f"<strong>{shown}</strong>")
    elif (i, column) in table.tied:
        shown = Markup(f"<u>{shown}</u>")
    first = j == 0
    return _cell("th" if first else "td", shown, table, column, 'scope="row"' if first else "")


def _mark(
    table: Table, escape_text: Callable[[str], str], *, best: str, tied: str
) -> list[list[str]]:
    """Return the rows, escaped, with the marks of the form around what deserves them."""

    def cell(place: tuple[int, str], text: str) -> str:
        form = best if place in table.best else tied if place in table.tied else "{}"
        return form.format(escape_text(text))

    columns = list(table.cells.columns)
    return [
        [cell((i, column), text) for column, text in zip(columns, row, strict=True)]
        for i, row in enumerate(table.cells.itertuples(index=False, name=None))
    ]


def escape_latex(text: str) -> str:
    """Write text so that LaTeX takes none of it for a command."""
    escaped = "".join(_LATEX.get(char, char) for char in text).replace("--", "-{}-")
    # At the start of a row these would be arguments of the line before it.
    return f"{{}}{escaped}" if escaped.startswith(("[", "*", "(")) else escaped


_LATEX = {
    **{char: f"\\{char}" for char in "{}$&%#_"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",  # German shorthands make the sign itself a command
    "`": r"\char96{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": r"\textendash{}",
    "×": r"$\times$",
    "→": r"$\to$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "✓": r"$\surd$",
    "✗": r"$\times$",
    "Δ": r"$\Delta$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "…": r"\dots{}",
}
"""What stands for the characters that LaTeX takes for more than themselves, or lacks."""


def escape_markdown(text: str) -> str:
    """Write text so that Markdown takes none of it for markup."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~$#!])", r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # within a word it is no emphasis


def defuse(text: str) -> str:
    """Put a quote mark before what a spreadsheet would run (the full-width signs included)."""
    text = clean(text) if not text.startswith(("\t", "\r")) else "'" + clean(text)
    return f"'{text}" if text.startswith(tuple("=+-@＝＋－＠")) else text
