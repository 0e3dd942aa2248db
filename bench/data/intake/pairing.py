"""Which mask belongs to which image, by their names, and the two patterns that say so.

In: what a person names as images and as masks, folders or globs. Out: pairs, patterns with `{stem}`
where these give the same pairs, and what is left over.
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from bench.data.files import files_below
from bench.data.formats import SUFFIXES
from bench.data.sets.patterns import JUNK, Pattern, compose
from fcn.errors import InputError

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


@dataclass(frozen=True)
class Pair:
    """An image and its mask."""

    name: str
    """By which lists and results call it."""
    image: Path
    mask: Path


@dataclass(frozen=True)
class Pairing:
    """All pairs, and how they are found again."""

    pairs: tuple[Pair, ...]
    """By name."""
    patterns: tuple[str, str] | None
    """Of images and of masks, absolute or relative to the working folder; None where none fits."""
    lone_images: tuple[Path, ...]
    """Without a mask."""
    lone_masks: tuple[Path, ...]
    """Without an image."""


@dataclass(frozen=True)
class Named:
    """Files that a person names."""

    base: Path
    """Folder below which all lie."""
    paths: tuple[Path, ...]
    """Relative to it, sorted."""


def find_named(text: str, option: str, suffixes: set[str] = SUFFIXES) -> Named:
    """Find the files of a folder, and below it, or of a glob; reads disk.

    Hidden files, and those that systems leave, are passed over.

    Raises:
        InputError: There is none.
    """
    where = Path(text).expanduser()
    if where.is_dir():
        base, found = where, files_below(where)
    else:
        found = [Path(path) for path in glob.glob(str(where), recursive=True)]
        folders = [path for path in found if path.is_dir()]
        files = [path for path in found if path.is_file()]
        found = sorted({*files, *(path for folder in folders for path in files_below(folder))})
        parents = [str(path.parent) for path in found]
        base = Path(os.path.commonpath(parents)) if parents else where
    below = [path.relative_to(base) for path in found]
    kept = [
        path
        for path in below
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.parts)
        and path.name.lower() not in JUNK
    ]
    if not kept:
        what = ", ".join(sorted({path.suffix for path in below})[:5]) or "no files at all"
        raise InputError(
            f"{option} {text}: no image file is there ({what}); give a folder, which is looked "
            "through with those below it, or a glob in quotes, such as 'data/*_mask.png'"
        )
    return Named(base, tuple(kept))


def pair(images: Named, masks: Named) -> Pairing:
    """Pair images with masks.

    Raises:
        InputError: No mask has the name of an image, or one has that of several.
    """
    if images.base == masks.base:
        images, masks = _tell_apart(images, masks)
    best = max(_candidates(images, masks), key=lambda one: one.rank, default=None)
    if best is None or not best.matched:
        raise InputError(
            f"no mask below {masks.base} has the name of an image below {images.base}: images are "
            f"called {_some(images)}, masks {_some(masks)}. Names may differ by what all masks, or "
            "all images, have before or after the common part; else rename one of the two"
        )
    by_core = {core: path for path, core in best.cores(masks, best.of_mask)}
    pairs, lone = [], []
    for path, core in best.cores(images, best.of_image):
        mask = by_core.pop(core, None)
        if mask is None:
            lone.append(images.base / path)
        else:
            pairs.append(Pair(core, images.base / path, masks.base / mask))
    used = {one.mask for one in pairs}
    matched = tuple(sorted(pairs, key=lambda one: one.name))
    return Pairing(
        matched,
        _patterns(best, images, masks, matched),
        (*lone, *(images.base / p for p in images.paths if best.of_image.core(p) is None)),
        tuple(masks.base / path for path in masks.paths if masks.base / path not in used),
    )


@dataclass(frozen=True)
class _Affix:
    """What a file's name has before and after its stem."""

    head: str
    tail: str
    folders: str = "all"
    """Which folders are part of a stem: all below the base, all but those called images, masks and
    the like, or none."""
    is_whole: bool = False
    """The head is all of the name: folders alone tell files apart, as in `ID/image.png`."""

    def core(self, path: Path) -> str | None:
        """Return the stem of a file; None for one without head or tail."""
        name = compose(path.stem)
        fits = name.startswith(self.head) and name.endswith(self.tail)
        if not fits or (self.is_whole and name != self.head):
            return None
        if self.is_whole:
            return "/".join(_folders(path, self.folders)) or None
        core = name[len(self.head) : len(name) - len(self.tail)]
        if len(self.head) + len(self.tail) >= len(name):
            return None
        return "/".join((*_folders(path, self.folders), core))


@dataclass(frozen=True)
class _Candidate:
    """A way to pair."""

    of_image: _Affix
    of_mask: _Affix
    matched: int

    @property
    def rank(self) -> tuple[float, ...]:
        """Most pairs first; then the more telling tail of masks, and the least that is cut."""
        affixes = (self.of_image, self.of_mask)
        cut = sum(len(affix.head) + len(affix.tail) for affix in affixes)
        return (self.matched, _telling(self.of_mask.tail), -cut)

    @staticmethod
    def cores(files: Named, affix: _Affix) -> Iterator[tuple[Path, str]]:
        """Yield the files that have a stem, with it."""
        found = ((path, affix.core(path)) for path in files.paths)
        return ((path, core) for path, core in found if core is not None)


def _tell_apart(images: Named, masks: Named) -> tuple[Named, Named]:
    """Take masks from among the images, where both lie in one folder."""
    if images.paths != masks.paths:  # a glob named the masks
        rest = tuple(path for path in images.paths if path not in set(masks.paths))
        return (Named(images.base, rest), masks) if rest else (images, masks)
    tails = "|".join(re.escape(tail[1:]) for tail in MASK_TAILS)
    called = re.compile(rf"(?:.*[ ._-])?(?:{tails})", re.IGNORECASE)
    named = {
        path
        for path in images.paths
        if called.fullmatch(path.stem) or any(map(_OF_MASKS.fullmatch, path.parent.parts))
    }
    if not named:
        photographs = {path for path in images.paths if path.suffix.lower() in (".jpg", ".jpeg")}
        named = set(images.paths) - photographs
    if not named or len(named) == len(images.paths):
        return images, masks  # one file is both: the mask is in its alpha channel
    rest = tuple(path for path in images.paths if path not in named)
    return Named(images.base, rest), Named(masks.base, tuple(sorted(named)))


def _candidates(images: Named, masks: Named) -> Iterator[_Candidate]:
    """Yield the ways to pair that match anything, the least cut first."""
    for folders in ("all", "plain", "none"):
        found = False
        image_cores = {affix: _core_counts(images, affix) for affix in _affixes(images, folders)}
        mask_cores = {affix: _core_counts(masks, affix) for affix in _affixes(masks, folders)}
        for (of_image, ours), (of_mask, theirs) in product(image_cores.items(), mask_cores.items()):
            # A stem of two files says nothing: it pairs neither.
            matched = sum(1 for core in ours.keys() & theirs.keys() if ours[core] == 1)
            doubled = any(theirs[core] > 1 for core in ours.keys() & theirs.keys())
            if matched and not doubled:
                found = True
                yield _Candidate(of_image, of_mask, matched)
        if found:
            return


def _core_counts(files: Named, affix: _Affix) -> Counter[str]:
    return Counter(core for _, core in _Candidate.cores(files, affix))


def _affixes(files: Named, folders: str) -> list[_Affix]:
    """Return the heads and tails that many files have."""
    names = [compose(path.stem) for path in files.paths]
    heads = Counter(name[: m.end()] for name in names for m in re.finditer(r"[ ._-]", name))
    tails = Counter(name[m.start() :] for name in names for m in re.finditer(r"[ ._-]", name))
    heads |= Counter(m[0] for name in names if (m := re.match(r"[^\W\d]+(?=\d)", name)))
    least = max(2, COMMON * len(names))
    common = [["", *(k for k, n in c.most_common(12) if n >= least)] for c in (heads, tails)]
    parts = [_Affix(head, tail, folders) for head, tail in product(*common)]
    whole = [name for name, count in Counter(names).most_common(4) if count >= least]
    return parts + [_Affix(name, "", folders, is_whole=True) for name in whole]


def _telling(tail: str) -> int:
    """Say how likely a tail is that of masks."""
    word = re.sub(r"[ ._-]", "_", tail).lower()
    if any(word.endswith(other) for other in OTHER_TAILS):
        return -1
    known = [k for k, own in enumerate(MASK_TAILS) if word.endswith(own.lower())]
    return len(MASK_TAILS) - known[0] if known else 0


def _folders(path: Path, which: str) -> tuple[str, ...]:
    parts = tuple(compose(part) for part in path.parent.parts)
    if which == "all":
        return parts
    return tuple(p for p in parts if not _KIND.fullmatch(p)) if which == "plain" else ()


_MASK_FOLDERS = (
    "masks?|labels?|annotations?|gts?|gtfine|ground_?truth|segmentation(class)?|targets?|segs?"
)
_OF_MASKS = re.compile(_MASK_FOLDERS, re.IGNORECASE)
_KIND = re.compile(
    rf"(images?|imgs?|jpegimages|photos?|pictures?|leftimg8bit|rgb|{_MASK_FOLDERS})",
    re.IGNORECASE,
)


def _patterns(
    best: _Candidate, images: Named, masks: Named, pairs: Sequence[Pair]
) -> tuple[str, str] | None:
    """Return patterns that find the same pairs, if there are any."""
    texts = [
        _write(images, best.of_image, [one.image for one in pairs]),
        _write(masks, best.of_mask, [one.mask for one in pairs]),
    ]
    if best.of_image.folders != "all" or any("{" in str(f.base) for f in (images, masks)):
        return None
    root = Path()
    first, second = (Pattern.parse(text, root, where="pattern") for text in texts)
    theirs = second.find(root)
    is_one = texts[0] == texts[1]
    taken = [] if is_one else [path for found in theirs.values() for path in found]
    ours = first.find(root, taken)
    for one in pairs:
        if ours.get(one.name) != [one.image] or theirs.get(one.name) != [one.mask]:
            return None
    return texts[0], texts[1]


def _write(files: Named, affix: _Affix, paths: Sequence[Path]) -> str:
    endings = {path.suffix for path in paths}
    ending = endings.pop() if len({e.lower() for e in endings}) == 1 else ".*"
    is_nested = any(len(path.relative_to(files.base).parts) > 1 for path in paths)
    if affix.is_whole:
        return (files.base / f"{{stem}}/{affix.head}{ending}").as_posix()
    folder = "{folder}/" if is_nested and affix.head else ""
    name = f"{folder}{affix.head}{{stem}}{affix.tail}{ending}"
    return (files.base / name).as_posix()


def _some(files: Named) -> str:
    return ", ".join(repr(path.as_posix()) for path in files.paths[:3])
