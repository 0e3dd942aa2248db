"""Sections of the page by name: ours, and those that plugins add behind one of them.

In: a function of the study, under `SECTIONS.register(NAME)` and `section(TITLE, after=...)`. Out: a
section of `index.html` and its line in the contents; NAME is the anchor. Light, since plugins are
imported by every run.

What a section may return, and who is trusted with what:
- a string is text: it is escaped, and a paragraph;
- a pandas frame, or a `reports.formats.Table`, is a table, every cell of it escaped;
- `markupsafe.Markup` is HTML, and stands as it is. Whoever writes a plugin is trusted as its code
  is; what others may have written (names of variants, classes, files) has to be escaped:
  `Markup("<b>{}</b>").format(name)` does so. The page's policy lets no script, style or file run
  that is not ours, whatever the HTML says; images may be data;
- None, or an empty string or frame, leaves the section out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fcn.registry import Registry

if TYPE_CHECKING:
    from reports.study import Study


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    title: str
    content: "Callable[[Study], Any] | None" = None
    """Gives what is shown; None for ours, which the page's template has."""
    after: str = ""
    """Name of the section behind which it stands; of ours, empty."""


SECTIONS: Registry[Section] = Registry(
    "section", ("[a-z][a-z0-9-]*", "its anchor: lower-case letters, digits and hyphens")
)


def section(title: str, *, after: str = "classes") -> "Callable[[Callable[[Study], Any]], Section]":
    """Return a decorator: a function of the study becomes a section of the page."""
    return lambda function: Section(title, function, after)


CONTENTS = (
    *(("effects", "Effects"), ("summary", "Summary"), ("costs", "Learning and costs")),
    *(("images", "Images"), ("classes", "Classes"), ("published", "Published")),
    *(("evaluations", "Scored after training"), ("runs", "Runs and provenance")),
    ("conventions", "How to read this"),
)
"""Our sections that the contents list, in their order: anchors and titles."""

for _name, _title in (("answer", "Answer"), *CONTENTS):
    SECTIONS.register(_name)(Section(_title))


def list_sections() -> list[dict[str, str]]:
    """Return a row for each section: its title, and what it stands behind where that is said."""
    return [
        {"name": name, "title": one.title, "after": one.after}
        for name in SECTIONS
        for one in [SECTIONS[name]]
    ]
