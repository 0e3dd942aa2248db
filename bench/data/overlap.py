"""Images that two splits have in common, of one pack or of two.

A score on images that were trained on is too good. Only the use that a run makes of splits shows
whether that happens: folds, halves and `trainval` beside `train` overlap, and are right.
"""

from collections.abc import Collection, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from bench.data.layers import COLOUR
from bench.data.packs.pack import Pack

NUM_NAMED = 8
"""Images named in one message."""


def shared_images(first: tuple[Pack, str], second: tuple[Pack, str]) -> Iterator[tuple[int, int]]:
    """Yield the images of the second split that are in the first, each as a pair of their numbers.

    Sizes and checksums are compared, which an index holds; pixels only where these are equal and
    the names are not: 10,000 images take milliseconds.

    Args:
        first: A pack and one of its splits.
        second: Likewise.
    """
    (pack, split), (other, other_split) = (_colours(*first), _colours(*second))
    known: dict[tuple[int, int, int], dict[str, int]] = {}
    for i in pack.indices(split):
        known.setdefault((*pack.size(i), pack.checksum(i)), {})[pack.name(i)] = i
    for j in other.indices(other_split):
        alike = known.get((*other.size(j), other.checksum(j)), {})
        same = alike.get(other.name(j))
        if same is None:
            equal = (i for i in alike.values() if np.array_equal(pack.image(i), other.image(j)))
            same = next(equal, None)
        if same is not None:
            yield same, j


def name_shared(first: tuple[Pack, str], second: tuple[Pack, str]) -> list[str]:
    """Name the images of the second split that are in the first; takes what the above does.

    Those of one colour, such as empty tiles, are the same without having been copied.
    """
    other, _ = _colours(*second)
    pairs = shared_images(first, second)
    return [other.name(j) for _, j in pairs if not _is_blank(other.image(j))]


def find_leak(
    trained: tuple[Pack, str], judge: tuple[Pack, str], key: str, accepted: Collection[str]
) -> tuple[str | None, list[str]]:
    """Look for images that judge and are trained on.

    Those of one colour, such as empty tiles, are the same without having been copied.

    Args:
        trained: Pack and split that a run, or one it starts from, is trained on.
        judge: Pack and split that it is judged by.
        key: Setting that names the judge.
        accepted: Names of images that may be in both.

    Returns:
        What is wrong, if anything is; and the names of images that are accepted in both.
    """
    (pack, split), (other, other_split) = (_colours(*trained), _colours(*judge))
    pairs = [(pack.name(i), other.name(j), j) for i, j in shared_images(trained, judge)]
    leaking = (
        name if name == known else f"{name} (as {known})"
        for known, name, j in pairs
        if not {known, name} & set(accepted) and not _is_blank(other.image(j))
    )
    kept = [name for known, name, _ in pairs if {known, name} & set(accepted)]
    named = list(islice(leaking, NUM_NAMED + 1))
    if not named:
        return None, kept
    more = f" and others, {len(pairs)} in all" if len(named) > NUM_NAMED else ""
    text = (
        f"{key} {other_split!r} has images of split {split!r}, which is trained on: "
        f"{', '.join(named[:NUM_NAMED])}{more}; scores on them would be too good. Train on a split "
        "without them, or judge by another; images that may be in both are named in "
        "data.duplicates"
    )
    return text, kept


def _colours(pack: Pack, split: str) -> tuple[Pack, str]:
    return pack.choose((COLOUR.name,), ()), split


def _is_blank(pixels: NDArray[np.uint8]) -> bool:
    return bool((pixels == pixels[0, 0]).all())
