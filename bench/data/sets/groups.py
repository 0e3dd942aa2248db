"""Which images of a folder belong together, such as frames of a clip: `groups.txt`.

In: a line `STEM GROUP` for each listed image, or one line `pattern: REGEX` that finds the group in
a stem. Out: the group of each image. It tells how sure a score is; trained and scored by it are the
draws alone that keep groups whole (`bench.data.draws`).
"""

import re
from collections.abc import Iterable
from pathlib import Path

from bench.data.files import read_lines
from fcn.errors import InputError

LISTING = "groups.txt"
PATTERN = "pattern:"
ALLOWED = (
    "write STEM GROUP on a line for each image, or one line such as  pattern: ^([^_]+)_  whose "
    "brackets find the group in a stem"
)


def read_groups(root: Path, stems: Iterable[str]) -> dict[str, str]:
    """Read the group of each stem; none where the folder has no `groups.txt`.

    Raises:
        InputError: It cannot be understood, or leaves a stem out.
    """
    path = root / LISTING
    if not path.is_file():
        return {}
    lines, stems = read_lines(path), list(dict.fromkeys(stems))
    is_pattern = len(lines) == 1 and lines[0].startswith(PATTERN)
    found = _find(path, lines[0], stems) if is_pattern else _read(path, lines)
    missing = [stem for stem in stems if not found.get(stem)]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise InputError(f"{path} gives no group to {missing[0]!r}{more}; {ALLOWED}")
    return {stem: found[stem] for stem in stems}


def _find(path: Path, line: str, stems: Iterable[str]) -> dict[str, str]:
    """Find groups in stems: the first pair of brackets, or all that matches."""
    text = line.removeprefix(PATTERN).strip()
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InputError(f"{path}: {text!r} is no regular expression ({error})") from None
    matches = {stem: pattern.search(stem) for stem in stems}
    first = min(pattern.groups, 1)
    return {stem: match[first] or "" for stem, match in matches.items() if match}


def _read(path: Path, lines: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        words = line.rsplit(None, 1)
        if len(words) != 2:
            raise InputError(f"{path} has the line {line!r}; {ALLOWED}")
        if found.setdefault(*words) != words[1]:
            raise InputError(f"{path} puts {words[0]!r} into two groups; {ALLOWED}")
    return found
