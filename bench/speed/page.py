"""`docs/performance.md`: tables that a command wrote, each with where and how it was measured.

A section is replaced by the next measurement of the same name; the others stay, with the device,
versions and commit that they were measured with.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.atomic import replacing
from bench.speed.section import Section

HEAD = """# Performance

Written by `fcn-bench speed --out docs/performance.md`; do not edit. Each table says where it was
measured, and with which command.
"""
ORDER = ("train", "evaluate", "memory", "growth", "startup", "grid", "store")
"""Names of sections in the order of the page."""
_SECTION = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- end -->\n", re.DOTALL)


def write_page(path: Path, sections: Sequence[Section], provenance: Mapping[str, Any]) -> None:
    """Put sections into a page, in place of earlier ones of the same name.

    Args:
        path: The page; made if it is not there.
        sections: What was measured.
        provenance: Where and how: device, versions, commit, date, command.
    """
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    texts = dict(_SECTION.findall(old))
    texts |= {section.name: _render(section, provenance) for section in sections}
    names = [name for name in ORDER if name in texts]
    parts = [f"<!-- {name} -->\n{texts[name]}<!-- end -->\n" for name in names]
    with replacing(path) as temporary:
        temporary.write_text("\n".join([HEAD, *parts]), encoding="utf-8")


def to_markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Write rows with the same keys as a Markdown table; numbers to the right."""
    keys = list(rows[0])
    numeric = {key: all(_is_number(row[key]) for row in rows) for key in keys}
    lines = [_line(keys), _line(["---:" if numeric[key] else "---" for key in keys])]
    return "\n".join([*lines, *(_line([row[key] for key in keys]) for row in rows)]) + "\n"


def _render(section: Section, provenance: Mapping[str, Any]) -> str:
    where = "; ".join(f"{key} {value}" for key, value in provenance.items() if key != "command")
    parts = [f"## {section.title}", section.note, to_markdown(section.rows()).rstrip("\n")]
    parts += [f"`{provenance['command']}`  \n{where}."]
    return "\n\n".join(parts) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _is_number(text: str) -> bool:
    return text == "–" or text[:1].isdigit()
