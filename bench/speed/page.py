"""`docs/performance.md`: tables that a command wrote, each with where and how it was measured.

A section is replaced by the next measurement of the same name; the others stay, with the device,
versions and commit that they were measured with.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.outputs.folder import require_writable
from bench.speed.section import Section
from bench.store.atomic import replacing
from fcn.errors import InputError

HEAD = """# Performance

Written by `fcn-bench speed --out docs/performance.md`; do not edit. Each table says where it was
measured, and with which command.
"""
ORDER = (
    *("train", "compiled", "reach", "evaluate", "memory", "growth", "reading", "startup"),
    *("grid", "store"),
)
"""Names of sections in the order of the page."""
_SECTION = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- end( [0-9a-f]{64})? -->\n", re.DOTALL)


def require_page(path: Path, names: Sequence[str]) -> None:
    """See, before anything is measured, that sections of these names can be written into a page.

    Raises:
        InputError: There is a file that holds more than such a page, or a section that was changed.
        OSError: It cannot be written or read.
    """
    require_writable(path.parent)
    old = path.read_text(encoding="utf-8", errors="replace") if os.path.lexists(path) else ""
    sections = _read_sections(old)
    if old and old != _join(sections):
        raise InputError(
            f"{path} holds more than what `fcn-bench speed` writes there, which would be lost; "
            "give another file with --out, or move this one away"
        )
    changed = [name for name in names if name in sections and not _is_unchanged(sections[name])]
    if changed:
        raise InputError(
            f"{path}: section {changed[0]} was changed by hand since it was measured, and would be "
            "replaced; give another file with --out, or move this one away"
        )


def write_page(path: Path, sections: Sequence[Section], provenance: Mapping[str, Any]) -> None:
    """Put sections into a page, in place of earlier ones of the same name.

    Args:
        path: The page; made if it is not there.
        sections: What was measured.
        provenance: Where and how: device, versions, commit, date, command.

    Raises:
        InputError: As `require_page`.
    """
    require_page(path, [section.name for section in sections])
    texts = _read_sections(path.read_text(encoding="utf-8") if path.exists() else "")
    for section in sections:
        body = _render(section, provenance)
        texts[section.name] = f"<!-- {section.name} -->\n{body}<!-- end {_digest(body)} -->\n"
    with replacing(path) as temporary:
        temporary.write_text(_join(texts), encoding="utf-8")


def _read_sections(text: str) -> dict[str, str]:
    return {match[1]: match[0] for match in _SECTION.finditer(text)}


def _join(sections: Mapping[str, str]) -> str:
    return "\n".join([HEAD, *(sections[name] for name in ORDER if name in sections)])


def _is_unchanged(section: str) -> bool:
    """Say whether a section is as it was written; earlier versions wrote no digest."""
    match = _SECTION.fullmatch(section)
    return match is not None and match[3] in (None, f" {_digest(match[2])}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
