"""Many problems in one message: a line for each kind, with their number and three examples."""

import re
from collections.abc import Sequence
from pathlib import Path

from bench.data.formats import SUFFIXES

MAX_KINDS = 20
"""Kinds named in one message."""

NUM_EXAMPLES = 3
"""Of each: the first in full, others by their file."""


_ENDINGS = "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES, key=len, reverse=True))
_FILE = re.compile(rf"\S*[/\\][^\n]*?(?:{_ENDINGS})(?![\w.])", re.IGNORECASE)
"""A path of an image, whose folders and name may hold spaces."""
_DETAIL = re.compile(r"'[^']*'|\S*[/\\]\S*|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
"""What differs between problems of one kind: quoted names, paths and numbers."""


def join_problems(problems: list[str]) -> str:
    """Put problems into one message, a line for each kind: never one for each file.

    Two are of one kind if they differ in paths, quoted names and numbers alone. The first is told
    in full, two others by their file, and the rest are counted.
    """
    if len(problems) == 1:
        return problems[0]
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(_kind(problem), []).append(problem)
    shown = list(kinds.values())[:MAX_KINDS]
    lines = [f"{len(problems):,} problems:", *map(_tell, shown)]
    left = len(problems) - sum(map(len, shown))
    return "\n".join([*lines, *([f"and {left:,} more"] if left else [])])


def _kind(problem: str) -> str:
    """Return what is wrong, without the names and numbers of one file."""
    text = _DETAIL.sub("#", _FILE.sub("#", problem))
    return re.sub(r"(# \(# pixels\)(, )?)+( and # more)?", "#", text)


def _tell(alike: Sequence[str]) -> str:
    """Tell problems of one kind in a line."""
    first, *others = alike
    if not others:
        return first
    named = [_file(other) for other in others[: NUM_EXAMPLES - 1]]
    names = [_beside(_file(first), name) for name in named if name]
    left = len(others) - len(names)
    if names and left:
        names.append(f"and {left:,} more")
    which = f": {', '.join(names)}" if names else ""
    return f"{first} (the same in {len(others):,} more{which})"


def _file(problem: str) -> str:
    """Return the file that a problem is of; nothing where it names none."""
    match = _FILE.search(problem)
    return match[0] if match else ""


def _beside(first: str, path: str) -> str:
    """Return a file as it is told after another: by its name, if it lies in the same folder."""
    return Path(path).name if Path(path).parent == Path(first).parent else path
