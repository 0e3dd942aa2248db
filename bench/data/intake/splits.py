"""Splits: those that a folder lists already, or new ones drawn from a seed.

In: pairs, and files that may be lists. Out: names by split. A drawn split keeps groups together and
gives each split its share of every class.
"""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from bench.data.files import files_below, read_lines
from bench.data.intake.groups import natural
from bench.data.intake.pairing import Pair
from bench.data.sets.patterns import compose
from fcn.errors import InputError

WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
LIST_ENDINGS = (".txt", ".csv", ".tsv", ".lst", ".json")
LEAST_KNOWN = 0.5
"""Share of a list's entries that must be images at hand for it to be one."""


def find_splits(pairs: Sequence[Pair], folders: Iterable[Path]) -> tuple[dict[str, list[str]], str]:
    """Find splits that are given: in lists, or by folders called train, val and test.

    Args:
        pairs: All pairs.
        folders: Where lists may lie.

    Returns:
        Names by split, and where they are from; nothing where there are none.
    """
    names = _Names(pairs)
    for folder in dict.fromkeys(folders):
        found: dict[str, list[str]] = {}
        source: list[str] = []
        for path in _lists(folder):
            split = WORDS.get(re.split(r"[ ._-]", path.stem.lower())[0])
            entries = _entries(path)
            known = list(dict.fromkeys(n for n in map(names.find, entries) if n is not None))
            if split and split not in found and known and len(known) >= LEAST_KNOWN * len(entries):
                found[split] = known
                source.append(path.name)
        if "train" in found and len(found) > 1:
            return _sorted_splits(found), f"lists in {folder}: {', '.join(source)}"
    return _by_folder(pairs)


def draw_splits(
    counts: Mapping[str, NDArray[np.int64]],
    groups: Mapping[str, str],
    seed: int,
    *,
    in_blocks: bool = False,
) -> dict[str, list[str]]:
    """Draw splits from a seed.

    Groups are taken in an order drawn from the seed, those with rare classes first; each goes to
    the split that lacks most of what it holds.

    Args:
        counts: By name, pixels of each class, (C,).
        groups: By name, what must stay together; none for every image by itself.
        seed: Of the draw.
        in_blocks: Make each split of neighbours in the order of names, without any draw.
    """
    names = sorted(counts)
    if in_blocks:
        return _cut(sorted(names, key=natural))
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(groups.get(name, name), []).append(name)
    keys = list(members)
    wanted = {split: share for split, share in SHARES.items() if len(keys) > 2 or split != "val"}
    whole = sum(wanted.values())
    share = np.array([value / whole for value in wanted.values()])
    pixels = np.array([sum((counts[n] for n in members[key]), np.zeros(1)) for key in keys], float)
    total = pixels.sum(0)
    parts = pixels / np.maximum(total, 1)  # each group's share of every class
    sizes = np.array([len(members[key]) for key in keys]) / len(names)
    parts = np.concatenate([parts[:, total > 0], sizes[:, None]], axis=1)
    order = np.random.default_rng(seed).permutation(len(keys))
    order = order[np.argsort(-parts[order].max(1), kind="stable")]
    lacks = share[:, None] * np.ones(parts.shape[1])
    held = np.zeros(len(wanted), dtype=int)
    chosen: list[list[str]] = [[] for _ in wanted]
    for number, k in enumerate(order):
        empty = np.flatnonzero(held == 0)
        allowed = empty if len(order) - number <= len(empty) else np.arange(len(wanted))
        # What the splits together still lack of their shares, squared, is to shrink most.
        gain = ((lacks**2 - (lacks - parts[k]) ** 2) / share[:, None]).sum(1)
        best = int(allowed[np.argmax(gain[allowed])])
        chosen[best] += members[keys[k]]
        lacks[best] -= parts[k]
        held[best] += 1
    return {split: sorted(own) for split, own in zip(wanted, chosen, strict=True) if own}


def _cut(names: Sequence[str]) -> dict[str, list[str]]:
    """Cut a row of names at the shares, at least one for each."""
    first = max(1, round(len(names) * SHARES["train"]))
    second = max(first + 1, round(len(names) * (SHARES["train"] + SHARES["val"])))
    parts = {"train": names[:first], "val": names[first:second], "test": names[second:]}
    return {split: list(own) for split, own in parts.items() if own}


class _Names:
    """Names of images by whatever lists call them."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._by_text: dict[str, str | None] = {}
        for one in pairs:
            texts = {one.name, PurePosixPath(one.name).name}
            for path in (one.image, one.mask):
                parts = path.resolve().parts
                tails = ["/".join(parts[k:]) for k in range(1, len(parts))]
                texts |= {*tails, *(tail.removesuffix(path.suffix) for tail in tails)}
            for text in map(compose, texts):
                known = self._by_text.get(text, one.name)
                self._by_text[text] = one.name if known == one.name else None  # of two images

    def find(self, entry: str) -> str | None:
        """Return the name of the image that an entry of a list means."""
        first = entry.replace("\\", "/").strip().strip("\"'").strip("/")
        readings = [first, *re.split(r"[\t,;]", first), *first.split()]
        for text in readings:
            plain = compose(text.strip().strip("\"'").removeprefix("./").strip("/"))
            if (name := self._by_text.get(plain)) is not None:
                return name
        return None


def _lists(folder: Path) -> list[Path]:
    """Return the files that may be lists, those nearest to the top first."""
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if p.is_file()]
    for inner in ("ImageSets/Segmentation", "ImageSets", "splits", "split", "lists", "list"):
        found += files_below(folder / inner) if (folder / inner).is_dir() else []
    return sorted(
        (p for p in found if p.suffix.lower() in LIST_ENDINGS and not p.name.startswith(".")),
        key=lambda p: (len(p.parts), p.name),
    )


def _entries(path: Path) -> list[str]:
    """Return what may be the entries of a list; nothing where it is something else."""
    try:
        lines = read_lines(path)
        if path.suffix.lower() == ".json":
            given = json.loads("\n".join(lines))
            return [e for e in given if isinstance(e, str)] if isinstance(given, list) else []
        if path.suffix.lower() == ".csv":
            rows = [row for row in csv.reader(lines) if row]
            heads = ("image", "img", "file", "filename", "file_name", "path", "name", "stem", "id")
            head = [cell.strip().lower() for cell in rows[0]]
            column = next((head.index(h) for h in heads if h in head), None)
            start, column = (0, 0) if column is None else (1, column)
            return [row[column] for row in rows[start:] if len(row) > column]
    except (InputError, ValueError, RecursionError, csv.Error, IndexError):
        return []
    return lines


def _by_folder(pairs: Sequence[Pair]) -> tuple[dict[str, list[str]], str]:
    """Take splits from folders called train, val and test above, or below, images and masks."""
    found: dict[str, list[str]] = {}
    for one in pairs:
        words = [WORDS[part.lower()] for part in one.name.split("/")[:-1] if part.lower() in WORDS]
        if not words:
            return {}, ""
        found.setdefault(words[0], []).append(one.name)
    if "train" not in found or len(found) < 2:
        return {}, ""
    return _sorted_splits(found), "folders called train, val or test"


def _sorted_splits(found: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {split: found[split] for split in SHARES if split in found}
