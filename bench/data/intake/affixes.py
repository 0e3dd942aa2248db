"""Which part of a file's name is its stem: not what all images, or all masks, have beside it.

In: names of images and of masks. Out: the ways in which they can be paired, each a head and a tail
that images have, and those that masks have.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from bench.data.intake.named import Named
from bench.data.sets.patterns import compose

MASK_TAILS = (
    *("_labelTrainIds", "_labelIds", "_gt", "_mask", "_masks", "_label", "_labels", "_seg"),
    *("_segmentation", "_semantic", "_annotation", "_anno", "_target", "_L", "_id", "_index"),
)
"""What masks are called beside their images, the likeliest first; any separator, any case."""
OTHER_TAILS = (
    "instanceids",
    "instance",
    "instances",
    "color",
    "colour",
    "polygons",
    "vis",
    "overlay",
)
"""What is no mask where there is something else."""
COMMON = 0.3
"""Least share of the files that have a head or tail which is no part of a stem."""

_MASK_FOLDERS = (
    "masks?|labels?|annotations?|annots?|gts?|gtfine|ground_?truth|segmentation(class)?|targets?|"
    "segs?"
)
OF_MASKS = re.compile(_MASK_FOLDERS, re.IGNORECASE)
"""What folders of masks are called."""
_KINDS = rf"images?|imgs?|jpegimages|photos?|pictures?|leftimg8bit|rgb|{_MASK_FOLDERS}"
_KIND = re.compile(rf"({_KINDS})", re.IGNORECASE)
SPLIT_OF_KIND = re.compile(
    rf"^(train(?:ing)?|val(?:id|idation)?|test(?:ing)?)[ ._-]?({_KINDS})$", re.IGNORECASE
)
"""Such as `trainannot` beside `train`, and `val_labels` beside `val`."""

Folders = Literal["all", "plain", "none"]
"""Those that are part of a stem: all below the base, all but what says image or mask, or none."""


@dataclass(frozen=True)
class Affix:
    """What a file's name has before and after its stem."""

    head: str
    tail: str
    folders: Folders = "all"
    is_whole: bool = False
    """The head is all of the name: folders alone tell files apart, as in `ID/image.png`."""
    is_loose: bool = False
    """Neither capitals nor zeros before a number tell stems apart."""

    def core(self, path: Path) -> str | None:
        """Return the stem of a file; None for one without head or tail."""
        name = spell(path.stem, loose=self.is_loose)
        fits = name.startswith(self.head) and name.endswith(self.tail)
        if not fits or (self.is_whole and name != self.head):
            return None
        folders = [spell(part, loose=self.is_loose) for part in _folders(path, self.folders)]
        if self.is_whole:
            return "/".join(folders) or None
        core = name[len(self.head) : len(name) - len(self.tail)]
        if len(self.head) + len(self.tail) >= len(name):
            return None
        return "/".join((*folders, core))


@dataclass(frozen=True)
class Candidate:
    """A way to pair."""

    of_image: Affix
    of_mask: Affix
    matched: int
    """Pairs that it gives."""

    @property
    def rank(self) -> tuple[float, ...]:
        """Most pairs first; then the more telling tail of masks, and the least that is cut."""
        affixes = (self.of_image, self.of_mask)
        cut = sum(len(affix.head) + len(affix.tail) for affix in affixes)
        return (self.matched, _telling(self.of_mask.tail), -cut)


def find_candidates(images: Named, masks: Named, *, loose: bool = False) -> list[Candidate]:
    """Return the ways to pair that match anything, with as many folders in stems as can be.

    Args:
        images: The images.
        masks: The masks.
        loose: Neither capitals nor zeros before a number tell stems apart.
    """
    whichs: tuple[Folders, ...] = ("all", "plain", "none")
    for folders in whichs:
        ours, theirs = (
            {affix: _count_cores(files, affix) for affix in _affixes(files, folders, loose)}
            for files in (images, masks)
        )
        found = [
            Candidate(of_image, of_mask, matched)
            for (of_image, i), (of_mask, m) in product(ours.items(), theirs.items())
            if (matched := _match(i, m))
        ]
        if found:
            return found
    return []


def cores(files: Named, affix: Affix) -> Iterator[tuple[Path, str]]:
    """Yield the files that have a stem, with it."""
    found = ((path, affix.core(path)) for path in files.paths)
    return ((path, core) for path, core in found if core is not None)


def spell(name: str, *, loose: bool) -> str:
    """Return a name in one spelling; a loose one has no capitals, and no zeros before numbers."""
    name = compose(name)
    return re.sub(r"(?<!\d)0+(?=\d)", "", name.casefold()) if loose else name


def _match(ours: Counter[str], theirs: Counter[str]) -> int:
    """Count the stems that are of one image and one mask; none if one is of several masks."""
    both = ours.keys() & theirs.keys()
    # A stem of two files says nothing: it pairs neither.
    return 0 if any(theirs[core] > 1 for core in both) else sum(ours[core] == 1 for core in both)


def _count_cores(files: Named, affix: Affix) -> Counter[str]:
    return Counter(core for _, core in cores(files, affix))


def _affixes(files: Named, folders: Folders, loose: bool) -> list[Affix]:
    """Return the heads and tails that many files have."""
    names = [spell(path.stem, loose=loose) for path in files.paths]
    heads = Counter(name[: m.end()] for name in names for m in re.finditer(r"[ ._-]", name))
    tails = Counter(name[m.start() :] for name in names for m in re.finditer(r"[ ._-]", name))
    heads |= Counter(m[0] for name in names if (m := re.match(r"[^\W\d]+(?=\d)", name)))
    least = max(2, COMMON * len(names))
    common = [["", *(k for k, n in c.most_common(12) if n >= least)] for c in (heads, tails)]
    parts = [Affix(head, tail, folders, False, loose) for head, tail in product(*common)]
    whole = [name for name, count in Counter(names).most_common(4) if count >= least]
    return parts + [Affix(name, "", folders, True, loose) for name in whole]


def _telling(tail: str) -> int:
    """Say how likely a tail is that of masks."""
    word = re.sub(r"[ ._-]", "_", tail).lower()
    if any(word.endswith(other) for other in OTHER_TAILS):
        return -1
    known = [k for k, own in enumerate(MASK_TAILS) if word.endswith(own.lower())]
    return len(MASK_TAILS) - known[0] if known else 0


def _folders(path: Path, which: Folders) -> tuple[str, ...]:
    parts = tuple(compose(part) for part in path.parent.parts)
    if which == "all":
        return parts
    if which == "none":
        return ()
    named = (SPLIT_OF_KIND.sub(r"\1", part) for part in parts)
    return tuple(part for part in named if not _KIND.fullmatch(part))
