"""Splits that a folder has already: in lists, in one file, or by folders of train, val and test.

In: pairs, and files that may be lists. Out: names by split, and why other lists were not used.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.intake.affixes import SPLIT_OF_KIND
from bench.data.intake.lists import IMAGE_HEADS, Listing, Names, find_lists, read_list
from bench.data.intake.pairing import Pair
from bench.data.intake.splits import SHARES
from fcn.errors import InputError

WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
SPLIT_HEADS = ("split", "subset", "set", "partition", "dataset", "fold", "phase", "usage")
"""What columns are called that name a split."""
LEAST_KNOWN = 0.5
"""Share of a list's entries that must be images at hand for it to be one."""


@dataclass(frozen=True)
class Found:
    """Splits that are given."""

    splits: dict[str, list[str]]
    """Names by split; none where nothing says any."""
    source: str = ""
    """Where they are from."""
    passed_over: tuple[str, ...] = ()
    """Lists, and entries of lists, that were not used, each with the reason."""


def find_splits(pairs: Sequence[Pair], folders: Iterable[Path]) -> Found:
    """Find splits that are given: in lists, or by folders called train, val and test.

    Args:
        pairs: All pairs.
        folders: Where lists may lie.
    """
    names = Names.of(pairs)
    passed_over: dict[str, None] = {}
    for folder in dict.fromkeys(folders):
        lists = find_lists(folder)
        for find in (_by_name, _by_content):
            splits, source, left = find(names, lists)
            if "train" in splits and len(splits) > 1:
                where = f"lists in {folder}: {', '.join(source)}"
                return Found(_in_order(splits), where, tuple(left))
            passed_over |= dict.fromkeys([*left, *_say_alone(splits, source)])
    splits = _by_folder(pairs)
    if splits:
        return Found(splits, "folders called train, val or test")
    return Found({}, passed_over=tuple(passed_over))


def _by_name(
    names: Names, lists: Sequence[Path]
) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Find splits in files called by them; return them, those files, and why others are none."""
    found: dict[str, list[str]] = {}
    source, left = [], []
    words = {path: re.split(r"[ ._-]", path.stem.lower())[0] for path in lists}
    has_train = "train" in map(WORDS.get, words.values())
    for path, word in words.items():
        split = "train" if word == "trainval" and not has_train else WORDS.get(word)
        if split is None or split in found:
            continue
        try:
            entries = _entries(read_list(path))
        except InputError as error:
            left.append(f"{path.name} is not used: {error}")
            continue
        known = list(dict.fromkeys(n for n in map(names.find, entries) if n is not None))
        if known and len(known) >= LEAST_KNOWN * len(entries):
            found[split] = known
            source.append(path.name)
            left += _say_unknown(path, names, entries)
        elif entries:
            left.append(
                f"{path.name} is not used: {len(known)} of its {len(entries)} entries, such as "
                f"{entries[0]!r}, are images with a mask"
            )
    return found, source, left


def _entries(listing: Listing) -> list[str]:
    """Return what may be names of images: of a table its column of images."""
    column = listing.column(IMAGE_HEADS) or 0
    return [row[column] for row in listing.rows if len(row) > column]


def _by_content(
    names: Names, lists: Sequence[Path]
) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Find one file that says all splits: a list for each, or a column that names them."""
    for path in lists:
        try:
            told = _told(read_list(path))
        except InputError:  # it may be anything
            continue
        found = {
            split: list(dict.fromkeys(n for n in map(names.find, own) if n is not None))
            for split, own in told.items()
        }
        found = {split: own for split, own in found.items() if own}
        number = sum(map(len, found.values()))
        if "train" in found and number >= LEAST_KNOWN * sum(map(len, told.values())):
            entries = [entry for own in told.values() for entry in own]
            return found, [path.name], _say_unknown(path, names, entries)
    return {}, [], []


def _say_unknown(path: Path, names: Names, entries: Sequence[str]) -> list[str]:
    """Say which entries of a list that is used mean no image."""
    unknown = [entry for entry in entries if names.find(entry) is None]
    if not unknown:
        return []
    which = f"such as {unknown[0]!r}" if len(unknown) > 1 else repr(unknown[0])
    are = "are no images" if len(unknown) > 1 else "is no image"
    return [
        f"{len(unknown):,} of {len(entries):,} entries of {path.name}, {which}, {are} with a mask"
    ]


def _say_alone(splits: Mapping[str, Sequence[str]], source: Sequence[str]) -> list[str]:
    """Say why lists that are found are no splits: there is nothing to train on, or to judge by."""
    if not splits:
        return []
    lacks = "says which images to judge by" if "train" in splits else "says which to train on"
    are = "is not used: it is the only list, and none" if len(splits) == 1 else "are not used: none"
    return [f"{' and '.join(source)} {are} {lacks}"]


def _told(listing: Listing) -> dict[str, list[str]]:
    """Return what a file says of splits: its lists by their keys, or its rows by a column."""
    column, image = listing.column(SPLIT_HEADS), listing.column(IMAGE_HEADS)
    lists = listing.lists or {}
    told = {WORDS[k.lower()]: list(own) for k, own in lists.items() if k.lower() in WORDS}
    if column is None or image is None:
        return told
    for row in listing.rows:
        split = WORDS.get(row[column].strip().lower()) if len(row) > column else None
        if split and len(row) > image:
            told.setdefault(split, []).append(row[image])
    return told


def _by_folder(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    """Take splits from folders called train, val and test above, or below, images and masks."""
    found: dict[str, list[str]] = {}
    common = Path(os.path.commonpath([one.image.parent for one in pairs]))
    for one in pairs:
        parts = [*one.name.split("/")[:-1], *one.image.parent.relative_to(common).parts]
        words = [word for part in parts if (word := _split_of(part))]
        if not words:
            return {}
        found.setdefault(words[0], []).append(one.name)
    return _in_order(found) if "train" in found and len(found) > 1 else {}


def _split_of(folder: str) -> str | None:
    """Return the split that a folder's name says: train, or train_images."""
    return WORDS.get(SPLIT_OF_KIND.sub(r"\1", folder).lower())


def _in_order(found: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {split: found[split] for split in SHARES if split in found}
