"""Sections that plugins add to the page, as HTML: what each gives, escaped as `sections` says.

In: a `Study`. Out: those that have something to show, by the section of ours that
they stand behind. One that fails says so in its place: a report is not lost for it.
"""

from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from bench.text import clean
from fcn.errors import InputError, foreign_code
from fcn.registry import unknown_name
from reports.formats import Table, to_html
from reports.sections import SECTIONS, Section
from reports.study import Study


class Added(NamedTuple):
    """A section as the page has it."""

    name: str
    title: str
    html: Markup


def write_sections(study: Study) -> dict[str, list[Added]]:
    """Write all sections that are added, by the name of ours that they stand behind.

    Raises:
        InputError: One is to stand behind a section that is none of ours.
    """
    ours = [name for name in SECTIONS if SECTIONS[name].content is None]
    found: dict[str, list[Added]] = {}
    for name in (name for name in SECTIONS if name not in ours):
        one = SECTIONS[name]
        if one.after not in ours:
            told = unknown_name("section", one.after, ours)
            raise InputError(f"section {name!r} stands behind one of ours, but: {told}")
        if html := _write(one, study):
            found.setdefault(one.after, []).append(Added(name, clean(one.title), html))
    return found


def _write(one: Section, study: Study) -> Markup:
    assert one.content is not None
    try:
        with foreign_code():
            given = one.content(study)
            return _to_html(given, one.title)
    except InputError as error:
        return Markup("<p>This section could not be written: {}</p>").format(clean(str(error)))


def _to_html(given: Any, title: str) -> Markup:
    """Write what a section gave; text and cells are escaped, `Markup` is HTML already."""
    if given is None or (isinstance(given, pd.DataFrame) and given.empty):
        return Markup()
    if isinstance(given, Markup):
        return given
    if isinstance(given, pd.DataFrame):
        numeric = frozenset(map(str, given.select_dtypes("number").columns))
        cells = given.rename(columns=str).map(_show)
        given = Table(cells, numeric)
    if isinstance(given, Table):
        note = Markup('\n<p class="note">{}</p>').format(given.caption) if given.caption else ""
        return to_html(given, clean(title)) + note
    if isinstance(given, str):
        return Markup("<p>{}</p>").format(clean(given)) if given else Markup()
    raise InputError(
        f"it gave a {type(given).__name__}; a section gives text, a pandas frame, a "
        "reports.formats.Table, markupsafe.Markup or None"
    )


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else clean(str(value))
