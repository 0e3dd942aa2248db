"""Which images belong together, such as frames of a clip, found in names or in a column.

In: names, and what a person says of groups. Out: the group of each, so that a split keeps them
together; or whether neighbours look alike, so that a split is made of blocks.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from bench.data.files import read_lines
from bench.data.formats import opened
from fcn.errors import InputError

LEAST = 2
"""Images of a group, on average, from which one is thought to be meant."""
ALIKE = 0.5
"""Difference of neighbours over that of any two images, below which they are frames of a film."""
NUM_COMPARED = 60
ALLOWED = "write auto, none, folder, prefix, or FILE.csv:COLUMN"


def find_groups(names: Sequence[str], wanted: str) -> tuple[dict[str, str], str]:
    """Find the group of each image.

    Args:
        names: Of the images.
        wanted: auto, none, folder, prefix, or FILE.csv:COLUMN.

    Returns:
        The groups, none where nothing tells any, and how they were found.

    Raises:
        InputError: What is wanted cannot be had.
    """
    ways = {"folder": _by_folder, "prefix": _by_prefix}
    if wanted == "none":
        return {}, ""
    if wanted == "auto":
        for way, find in ways.items():
            groups = find(names)
            counts = Counter(groups.values())
            if len(counts) >= 2 and len(names) >= LEAST * len(counts) and min(counts.values()) > 1:
                return groups, f"by {way}"
        return {}, ""
    if wanted in ways:
        groups = ways[wanted](names)
        if len(set(groups.values())) < 2:
            raise InputError(f"--groups {wanted}: all names give one group; {ALLOWED}")
        return groups, f"by {wanted}"
    path, colon, column = wanted.rpartition(":")
    if not colon:
        raise InputError(f"--groups {wanted}: {ALLOWED}")
    return _by_column(Path(path), column, names), f"by column {column!r} of {path}"


def look_alike(images: Sequence[Path]) -> bool:
    """Say whether neighbours, in the order of their names, are far more alike than any two images.

    Reads up to 60 of them.
    """
    chosen = images[:NUM_COMPARED]
    if len(chosen) < 6:
        return False
    small = np.stack([_thumbnail(path) for path in chosen])
    neighbours = np.abs(small[1:] - small[:-1]).mean()
    half = len(chosen) // 2
    apart = np.abs(small[half:] - small[: len(small) - half]).mean()
    return bool(neighbours < ALIKE * apart)


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return what sorts names as people do: frame 9 before frame 10."""
    return tuple((int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name))


def _by_folder(names: Sequence[str]) -> dict[str, str]:
    return {name: PurePosixPath(name).parent.as_posix() for name in names}


def _by_prefix(names: Sequence[str]) -> dict[str, str]:
    """Take the number of the frame, and what it is called, off each name."""
    found = {}
    for name in names:
        match = re.fullmatch(r"(.*?)[ ._-]*(?:frame|img|image|f|t)?[ ._-]*\d+", name, re.IGNORECASE)
        found[name] = match[1] if match and match[1] else name
    return found


def _by_column(path: Path, column: str, names: Sequence[str]) -> dict[str, str]:
    rows = list(csv.DictReader(read_lines(path)))
    if not rows or column not in rows[0]:
        known = ", ".join(rows[0]) if rows else "nothing"
        raise InputError(f"--groups: {path} has no column {column!r}; it has {known}")
    by_image: dict[str, str] = {}
    for row in rows:
        for other, cell in row.items():
            if other != column and isinstance(cell, str):
                by_image.setdefault(cell, row[column])
                by_image.setdefault(PurePosixPath(cell).stem, row[column])
    found = {n: by_image.get(n) or by_image.get(PurePosixPath(n).name) or "" for n in names}
    if missing := [name for name, group in found.items() if not group]:
        raise InputError(
            f"--groups: {path} has no row for {missing[0]!r} and {len(missing) - 1} more; a column "
            "of it must hold names of images, with or without their ending"
        )
    return found


def _thumbnail(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    with opened(path) as image:
        deep = image.mode == "F" or image.mode.startswith("I")
        pixels = np.asarray(image.resize((16, 16)) if deep else image.convert("L").resize((16, 16)))
    values = pixels.astype(np.float64)
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-9))
