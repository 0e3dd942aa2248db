"""Many problems in one message: all of a few, of many that are alike the first ones."""

import re

from bench.data.formats import SUFFIXES

MAX_LISTED = 20
"""Problems named in one message."""

NUM_ALIKE = 3
"""Of those alike, where there are more problems than that."""


_ENDINGS = "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES, key=len, reverse=True))
_FILE = re.compile(rf"\S*[/\\][^\n]*?(?:{_ENDINGS})(?![\w.])", re.IGNORECASE)
"""A path of an image, whose folders and name may hold spaces."""


def join_problems(problems: list[str]) -> str:
    """Put problems into one message, a line each; of many that are alike a few, and their number.

    Two are alike if they differ in paths, quoted names and numbers alone.
    """
    if len(problems) == 1:
        return problems[0]
    alike: dict[str, list[str]] = {}
    for problem in problems:
        alike.setdefault(_kind(problem), []).append(problem)
    shown = problems
    if len(problems) > MAX_LISTED:
        groups = list(alike.values())[:MAX_LISTED]
        each = NUM_ALIKE if len(groups) <= MAX_LISTED // NUM_ALIKE else 1
        shown = [line for group in groups for line in _abridge(group, each)]
        left = len(problems) - sum(map(len, groups))
        shown += [f"and {left:,} more"] if left else []
    return "\n".join([f"{len(problems)} problems:", *shown])


def _kind(problem: str) -> str:
    """Return what is wrong, without the names and numbers of one file."""
    text = re.sub(r"'[^']*'|\S*[/\\]\S*|\d+", "#", _FILE.sub("#", problem))
    return re.sub(r"(# \(# pixels\)(, )?)+( and # more)?", "#", text)


def _abridge(alike: list[str], num_shown: int) -> list[str]:
    rest = len(alike) - num_shown
    return alike if rest <= 0 else [*alike[:num_shown], f"(the same in {rest:,} more files)"]
