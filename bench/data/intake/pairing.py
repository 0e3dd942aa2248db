"""Which mask belongs to which image, by their names, and the two patterns that say so.

In: files that a person names as images and as masks. Out: pairs, patterns with `{stem}` where these
give the same pairs, and what is left over.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.data.intake.affixes import (
    MASK_TAILS,
    OF_MASKS,
    Affix,
    Candidate,
    cores,
    find_candidates,
)
from bench.data.intake.named import Named
from bench.data.sets.patterns import Pattern, compose
from fcn.errors import InputError


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
    said: tuple[str, ...] = ()
    """How they were found, where that is unusual."""


def pair(images: Named, masks: Named) -> Pairing:
    """Pair images with masks.

    Raises:
        InputError: No mask has the name of an image, one has that of several, or each image has
            several masks of equal right.
    """
    images, masks = _tell_apart(images, masks)
    if len(images.paths) == len(masks.paths) == 1:  # there is no question which is whose
        (image,), (mask,) = images.paths, masks.paths
        one = Pair(
            compose(image.with_suffix("").as_posix()), images.base / image, masks.base / mask
        )
        return Pairing((one,), None, (), ())
    best = _choose(find_candidates(images, masks), images, masks)
    if best is None or best.matched < min(len(images.paths), len(masks.paths)):
        loose = _choose(find_candidates(images, masks, loose=True), images, masks)
        if loose and (best is None or loose.matched > best.matched):
            best = loose
    if best is None:
        _require_one_each(images, masks)
        raise InputError(
            f"no mask below {masks.base} has the name of an image below {images.base}: images are "
            f"called {_some(images.paths)}, masks {_some(masks.paths)}. Names may differ by what "
            "all masks, or all images, have before or after the common part; else rename one of "
            "the two, or list pairs in a CSV file with the columns image and mask beside them"
        )
    return _pair_by(best, images, masks)


def _require_one_each(images: Named, masks: Named) -> None:
    """Refuse several files of one name, where that is why there are no pairs."""
    names = {compose(path.stem) for path in images.paths} & {compose(p.stem) for p in masks.paths}
    for files, what, option in ((images, "images", "--images"), (masks, "masks", "--masks")):
        for name in sorted(names):
            alike = [path.as_posix() for path in files.paths if compose(path.stem) == name]
            if len(alike) > 1:
                raise InputError(
                    f"{alike[0]} and {alike[1]} below {files.base} have one name, so that no "
                    f"{what} can be told by it: name those that are meant, by their folder or by a "
                    f"glob in quotes, such as {option} '{files.base / alike[0]}' with * for {name}"
                )


def _pair_by(best: Candidate, images: Named, masks: Named) -> Pairing:
    by_core = {core: path for path, core in cores(masks, best.of_mask)}
    pairs, lone = [], []
    for path, core in cores(images, best.of_image):
        mask = by_core.pop(core, None)
        if mask is None:
            lone.append(images.base / path)
        else:
            name = compose(path.with_suffix("").as_posix()) if best.of_image.is_loose else core
            pairs.append(Pair(name, images.base / path, masks.base / mask))
    used = {one.mask for one in pairs}
    matched = tuple(sorted(pairs, key=lambda one: one.name))
    return Pairing(
        matched,
        _patterns(best, images, masks, matched),
        (*lone, *(images.base / p for p in images.paths if best.of_image.core(p) is None)),
        tuple(masks.base / path for path in masks.paths if masks.base / path not in used),
        (LOOSELY,) if best.of_image.is_loose else (),
    )


LOOSELY = "names differ in capitals, or in zeros before a number, and were paired all the same"


def _choose(found: Sequence[Candidate], images: Named, masks: Named) -> Candidate | None:
    """Return the best way to pair.

    Raises:
        InputError: Another one pairs the same images with other masks, with equal right.
    """
    best = max(found, key=lambda one: one.rank, default=None)
    if best is None:
        return None
    ours = _masks_by(best, images, masks)
    for other in found:
        if other.rank[:2] == best.rank[:2] and other.of_image == best.of_image:
            theirs = _masks_by(other, images, masks)
            if ours.keys() == theirs.keys() and not set(ours.values()) & set(theirs.values()):
                first = next(iter(ours))
                raise InputError(
                    f"{images.base / first} has several masks, {ours[first]} and {theirs[first]}, "
                    "and so have all images: name those that are meant by a glob in quotes, such "
                    f"as --masks '{masks.base}/{best.of_mask.head}*{best.of_mask.tail}"
                    f"{ours[first].suffix}'. Masks of one class each belong into a folder for each "
                    "class (car/a.png, road/a.png), which `--from folders` reads"
                )
    return best


def _masks_by(way: Candidate, images: Named, masks: Named) -> dict[Path, Path]:
    """Return the mask of each image, both below their bases."""
    by_core = {core: path for path, core in cores(masks, way.of_mask)}
    found = cores(images, way.of_image)
    return {path: by_core[core] for path, core in found if core in by_core}


def _tell_apart(images: Named, masks: Named) -> tuple[Named, Named]:
    """Take masks from among the images, or images from among the masks, where one holds both."""
    ours, theirs = (
        {os.path.abspath(f.base / path): path for path in f.paths} for f in (images, masks)
    )
    both = ours.keys() & theirs.keys()
    if len(both) == len(ours) == len(theirs):
        return _tell_apart_by_name(images)
    for wide, own, other in ((images, ours, theirs), (masks, theirs, ours)):
        rest = tuple(path for place, path in own.items() if place not in other)
        if both and rest:
            kept = replace(wide, paths=rest)
            return (kept, masks) if wide is images else (images, kept)
    return images, masks


def _tell_apart_by_name(files: Named) -> tuple[Named, Named]:
    """Say which of the files of one place are masks."""
    words = "|".join(re.escape(tail[1:]) for tail in MASK_TAILS)
    called = re.compile(rf"(?:.*[ ._-])?(?:{words})|(?:{words})[ ._-]?\d.*", re.IGNORECASE)
    named = {
        path
        for path in files.paths
        if called.fullmatch(path.stem) or any(map(OF_MASKS.fullmatch, path.parent.parts))
    }
    if not named:
        photographs = {path for path in files.paths if path.suffix.lower() in (".jpg", ".jpeg")}
        named = set(files.paths) - photographs
    if not named or len(named) == len(files.paths):
        return files, files  # one file is both: the mask is in its alpha channel
    rest = tuple(path for path in files.paths if path not in named)
    return replace(files, paths=rest), replace(files, paths=tuple(sorted(named)))


def _patterns(
    best: Candidate, images: Named, masks: Named, pairs: Sequence[Pair]
) -> tuple[str, str] | None:
    """Return patterns that find the same pairs, if there are any."""
    texts = [
        _write(images, best.of_image, [one.image for one in pairs]),
        _write(masks, best.of_mask, [one.mask for one in pairs]),
    ]
    way = best.of_image
    if way.folders != "all" or way.is_loose or any("{" in str(f.base) for f in (images, masks)):
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


def _write(files: Named, affix: Affix, paths: Sequence[Path]) -> str:
    endings = {path.suffix for path in paths}
    ending = endings.pop() if len({e.lower() for e in endings}) == 1 else ".*"
    is_nested = any(len(path.relative_to(files.base).parts) > 1 for path in paths)
    if affix.is_whole:
        return (files.base / f"{{stem}}/{affix.head}{ending}").as_posix()
    folder = "{folder}/" if is_nested and affix.head else ""
    name = f"{folder}{affix.head}{{stem}}{affix.tail}{ending}"
    return (files.base / name).as_posix()


def _some(paths: Sequence[Path]) -> str:
    return ", ".join(repr(path.as_posix()) for path in paths[:3])
