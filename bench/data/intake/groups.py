"""Which images belong together, such as frames of a clip, found in names or in a column.

In: names, and what a person says of groups. Out: the group of each, so that a split keeps them
together; or whether neighbours look alike, so that a split is made of blocks.
"""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from bench.data.bands import read_bands, render
from bench.data.files import read_lines
from bench.data.formats import opened
from fcn.errors import InputError

LEAST = 2
"""Images of a group, on average, from which one is thought to be meant."""
ALIKE = 0.5
"""Difference of neighbours over that of any two images, below which they are frames of a film."""
RELATED = 0.8
"""The same of neighbours in a group and images of two groups, from which names are no clips: breeds
of dogs, say, of which every split is to have some."""
NUM_COMPARED = 60
THUMBNAIL = (16, 16)
ALLOWED = "write auto, none, folder, prefix, or FILE.csv:COLUMN"


def find_groups(images: Mapping[str, Path], wanted: str) -> tuple[dict[str, str], str]:
    """Find the group of each image.

    Args:
        images: Files by name; some are read for `auto`.
        wanted: auto, none, folder, prefix, or FILE.csv:COLUMN.

    Returns:
        The groups, none where nothing tells any, and how they were found, or why not.

    Raises:
        InputError: What is wanted cannot be had.
    """
    ways, names = {"folder": _by_folder, "prefix": _by_prefix}, sorted(images, key=natural)
    if wanted == "none":
        return {}, ""
    if wanted == "auto":
        for way, find in ways.items():
            groups = find(names)
            counts = Counter(groups.values())
            if len(counts) >= 2 and len(names) >= LEAST * len(counts) and min(counts.values()) > 1:
                if are_related(images, groups):
                    return groups, f"by {way}"
                return {}, (
                    f"names have {len(counts)} groups by {way}, whose images look no more alike "
                    f"than any two: they are not kept together (--groups {way} does)"
                )
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


def join_identical(groups: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    """Join groups, and images without one, that have an image in common.

    Args:
        groups: By name of the image.
        digests: What an image's pixels are, by its name.
    """
    root: dict[str, str] = {}

    def find(group: str) -> str:
        while group in root:
            group = root[group]
        return group

    first: dict[str, str] = {}
    for name, digest in digests.items():
        group = find(groups.get(name, name))
        other = find(first.setdefault(digest, group))
        if other != group:
            root[group] = other
    return {name: find(groups.get(name, name)) for name in digests}


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


def are_related(images: Mapping[str, Path], groups: Mapping[str, str]) -> bool:
    """Say whether neighbours in a group look more alike than images of two groups; reads some."""
    members: dict[str, list[str]] = {}
    for name in sorted(groups, key=natural):
        members.setdefault(groups[name], []).append(name)
    chosen = [own[:2] for own in list(members.values())[: NUM_COMPARED // 2]]
    if len(chosen) < 10:  # few groups: more of each
        chosen = [own[: NUM_COMPARED // len(chosen)] for own in chosen]
    small = [np.stack([_thumbnail(images[name]) for name in own]) for own in chosen]
    within = np.concatenate([np.abs(own[1:] - own[:-1]).mean((1, 2)) for own in small])
    apart = [np.abs(a[: len(b)] - b[: len(a)]).mean() for a, b in itertools.pairwise(small)]
    return bool(within.mean() < RELATED * np.mean(apart))


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
    """Return a small grey image, less its mean, over its deviation: light changes in a clip."""
    try:
        with opened(path) as image:
            deep = image.mode == "F" or image.mode.startswith("I")
            small = image.resize(THUMBNAIL) if deep else image.convert("L").resize(THUMBNAIL)
    except InputError:  # of many bands, which Pillow does not read
        first = read_bands(path)[..., :1]
        low, high = int(first.min()), int(first.max())
        small = Image.fromarray(render(first, low, max(high, low + 1))[..., 0]).resize(THUMBNAIL)
    values = np.asarray(small).astype(np.float64)
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-9))
