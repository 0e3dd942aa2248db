"""A stranger's folder taken in: looked at, described, split, and checked as a run will read it.

In: where images and masks are, and what a person says of them. Out: a folder with `classes.yaml`,
`splits.yaml`, perhaps `groups.txt`, and a page of images. It appears at the end, or not at all.
"""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import move, rmtree

import numpy as np
from numpy.typing import NDArray

from bench.data.check import check
from bench.data.class_map import ClassMap
from bench.data.cores import Progress
from bench.data.findings import DataReport
from bench.data.intake.depth import measure_bands
from bench.data.intake.drawing import Imported
from bench.data.intake.given_splits import Found, find_splits
from bench.data.intake.groups import find_groups, join_identical, look_alike, natural
from bench.data.intake.guess import Guess, guess_classes
from bench.data.intake.imports import import_masks
from bench.data.intake.named import Named, find_named
from bench.data.intake.pair_lists import pair_by_lists
from bench.data.intake.pairing import Pairing, pair
from bench.data.intake.preview import draw_page
from bench.data.intake.snapping import Snap, find_thin, snapped_keys
from bench.data.intake.splits import draw_splits
from bench.data.intake.tables import Table, find_table, read_table
from bench.data.intake.usable import Usable, find_usable
from bench.data.intake.writing import (
    relative,
    write_classes,
    write_groups,
    write_pairs,
    write_splits,
)
from bench.data.problems import join_problems
from bench.data.sets.folder import load_folder
from bench.store.atomic import umask
from bench.text import number_of, require_utf8
from fcn.errors import InputError

LEAST_PAIRS = 2
NUM_NAMED = 3
CITYSCAPES = "_gtFine_labelIds"


@dataclass(frozen=True)
class Wishes:
    """What a person says."""

    images: str
    """Folder or glob."""
    masks: str
    """The same of the masks, or what `source` makes masks of."""
    source: str = "masks"
    """What `masks` names; see `bench.data.intake.imports`."""
    classes: Path | None = None
    """Table of names; None looks for one."""
    groups: str = "auto"
    """What belongs together; see `bench.data.intake.groups`."""
    snap: Snap = ""
    """Take masks that are smeared; see `bench.data.intake.snapping`."""
    split_seed: int = 0
    """Of splits that are drawn."""
    draw: bool = False
    """Draw splits even where some are found."""


@dataclass(frozen=True)
class Taken:
    """What was found, for whoever writes a question about it."""

    folder: Path
    """Where the files are, until they are where they shall be."""
    report: DataReport
    """Of a check, as a run will read the images."""
    splits: Mapping[str, Sequence[str]]
    said: tuple[str, ...]
    """What was found and guessed, a sentence each."""
    inputs: tuple[str, ...] = ("rgb",)
    """What a network is to see."""


@contextmanager
def taken_in(folder: Path, wishes: Wishes, progress: Progress | None = None) -> Iterator[Taken]:
    """Look at a folder of images and masks, and describe it in a new one; reads and writes disk.

    Args:
        folder: What to make; it must not be there, or be empty.
        wishes: Where things are.
        progress: Called with the number of files looked at, and of all, twice over.

    Yields:
        What was found; the new folder lies beside its place until the caller is done.

    Raises:
        InputError: Nothing that runs can be made of it; each file that is in the way is named.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; give another name, or move it away")
    # `.` has no name, and what a link leads to has other neighbours.
    place = folder.resolve() if folder.is_symlink() else Path(os.path.abspath(folder))
    require_utf8(place.name, "the folder")
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}-"))
    try:
        yield _take_in(scratch, place, wishes, progress)
        _give_place(scratch, place)
    finally:
        rmtree(scratch, ignore_errors=True)


def _give_place(scratch: Path, place: Path) -> None:
    """Move what was made to its place; an empty folder stays: somebody may be in it."""
    if place.exists():
        for path in scratch.iterdir():
            move(path, place)
    else:
        scratch.chmod(0o777 & ~umask())  # mkdtemp gives 0700
        scratch.rename(place)


def _take_in(scratch: Path, folder: Path, wishes: Wishes, progress: Progress | None) -> Taken:
    images = find_named(wishes.images, "--images")
    imported = import_masks(wishes.source, images, wishes.masks, scratch / "masks")
    for base, option in ((images.base, "--images"), (imported.masks.base, "--masks")):
        require_utf8(relative(base, scratch), f"{option}: the folder")
    roots = _places(images.base, imported.masks.base)
    said = [*dict.fromkeys((*images.said, *imported.masks.said)), *imported.said]
    table = _find_table(wishes, imported, roots, said)
    paired = _pair(images, imported.masks, roots)
    usable = find_usable(paired.pairs, table, lossy=bool(wishes.snap), progress=progress)
    usable = replace(usable, problems=_of_annotations(usable.problems, scratch / "masks"))
    if len(usable.facts) < LEAST_PAIRS:
        raise InputError(_say_too_few(len(usable.facts), paired, usable.problems))
    said += [*_say_pairs(paired), *usable.said, *_say_left_out(usable.problems)]
    counts, settings = usable.counts, _settings(usable)
    if wishes.snap:
        keys = snapped_keys(wishes.snap, usable, table)
        all_exact = all(one.mask.exact for one in usable.facts)
        settings["snap"] = "all" if all_exact else "lossy"
        mapping = ClassMap(usable.kind, tuple((key,) for key in keys))
        counts = {name: _snap(own, mapping) for name, own in counts.items()}
    palettes = {one.mask.palette for one in usable.facts}
    thin = () if wishes.snap else find_thin(usable)
    guess = guess_classes(usable.kind, list(counts.values()), table, palettes, thin)
    pairs = tuple(one.pair for one in usable.facts)
    splits, source, groups = _split(usable, counts, guess, roots, wishes)
    said += [*guess.said, *source]
    if usable.facts[0].image.bands:
        trained = [one.pair.image for one in usable.facts if one.pair.name in splits["train"]]
        settings["bands"] = measure_bands(trained, usable.upright, said)
    _write(scratch, replace(paired, pairs=pairs), guess, settings, said)
    (scratch / "splits.yaml").write_text(write_splits(splits, source[-1]), encoding="utf-8")
    if groups:
        listed = {name for names in splits.values() for name in names}
        own = {name: group for name, group in groups.items() if name in listed}
        (scratch / "groups.txt").write_text(write_groups(own), encoding="utf-8")
    return _check(scratch, folder.name, splits, said, progress)


def _find_table(
    wishes: Wishes, imported: Imported, roots: Sequence[Path], said: list[str]
) -> Table:
    """Read the table of classes that is named, imported, or lies there."""
    if wishes.classes:
        return read_table(wishes.classes)
    return imported.table or find_table(roots, said)


def _pair(images: Named, masks: Named, roots: Sequence[Path]) -> Pairing:
    """Pair images with masks by their names, or by lists that have both."""
    try:
        return pair(images, masks)
    except InputError:
        listed = pair_by_lists(images, masks, roots)
        if listed is None:
            raise
        return listed


def _check(
    scratch: Path,
    title: str,
    splits: Mapping[str, Sequence[str]],
    said: list[str],
    progress: Progress | None,
) -> Taken:
    """Read everything as a run will read it, and draw the page."""
    dataset = load_folder(scratch)
    report = check(dataset, progress=progress)
    report.raise_problems()
    said += report.remarks()
    page = draw_page(dataset, report, title, said)
    (scratch / "index.html").write_text(page, encoding="utf-8")
    inputs = tuple(one.name for one in dataset.more_inputs) or ("rgb",)
    return Taken(scratch, report, splits, tuple(said), inputs)


def _settings(usable: Usable) -> dict[str, str]:
    settings = {} if usable.upright else {"exif": "ignore"}
    return settings if usable.channel == "colour" else {**settings, "channel": "alpha"}


def _say_pairs(paired: Pairing) -> list[str]:
    said = [f"{number_of(len(paired.pairs), 'pair')} of an image and its mask", *paired.said]
    if all(one.mask.stem.endswith(CITYSCAPES) for one in paired.pairs):
        said.append(
            "masks are called as those of Cityscapes: data set `cityscapes` has their names, and "
            "takes the 19 classes that are scored there (docs/data.md)"
        )
    for lone, what, other in (
        (paired.lone_images, "image", "mask"),
        (paired.lone_masks, "mask", "image"),
    ):
        if lone:
            has = f"has no {other} and is" if len(lone) == 1 else f"have no {other} and are"
            names = ", ".join(str(path) for path in lone[:NUM_NAMED])
            more = f" and {len(lone) - NUM_NAMED:,} more" if len(lone) > NUM_NAMED else ""
            said.append(f"{number_of(len(lone), what)} {has} passed over: {names}{more}")
    return said


def _say_too_few(number: int, paired: Pairing, problems: Sequence[str]) -> str:
    if not problems:
        return (
            f"there is {number_of(number, 'pair')} of an image and its mask; a question needs "
            f"{LEAST_PAIRS}, one to train on and one to judge by: name the folders of all images "
            "and masks, or globs in quotes"
        )
    return (
        f"{number} of {number_of(len(paired.pairs), 'pair')} can be used, which is too few for a "
        f"question. {join_problems(list(problems))}"
    )


def _snap(own: Counter[int], mapping: ClassMap) -> Counter[int]:
    keys = np.array([list(own)], dtype=np.int32)
    found: Counter[int] = Counter()
    for near, pixels in zip(mapping.nearest(keys)[0].tolist(), own.values(), strict=True):
        found[near] += pixels
    return found


def _of_annotations(problems: Sequence[str], drawn: Path) -> tuple[str, ...]:
    """Tell problems with masks that were drawn as problems with what these were drawn from."""
    mask = re.compile(rf" and its mask {re.escape(str(drawn))}/.*?\.png (\d+x\d+); make .*")
    how = r", and what is annotated on it is for \1; give the images that were annotated"
    return tuple(mask.sub(how, problem) for problem in problems)


def _say_left_out(problems: Sequence[str]) -> list[str]:
    if not problems:
        return []
    pairs = number_of(len(problems), "pair")
    return [f"left out: {pairs} that cannot be used. {join_problems(list(problems))}"]


def _places(images: Path, masks: Path) -> list[Path]:
    """Return where lists and tables may lie: beside images and masks, and above both."""
    folders = [images, masks, images.parent, masks.parent]
    common = Path(os.path.commonpath([images.resolve(), masks.resolve()]))
    return list(dict.fromkeys([*folders, common]))


def _split(
    usable: Usable,
    counts: Mapping[str, Counter[int]],
    guess: Guess,
    roots: Sequence[Path],
    wishes: Wishes,
) -> tuple[dict[str, list[str]], list[str], dict[str, str]]:
    """Find splits or draw them, and find groups; the last sentence says which."""
    pairs = [one.pair for one in usable.facts]
    names = [one.name for one in pairs]
    found = Found({}) if wishes.draw else find_splits(pairs, roots)
    images = {one.name: one.image for one in pairs}
    groups, how = find_groups(images, wishes.groups)
    if found.splits:
        said = [*found.passed_over, *_say_found(found, names)]
        return found.splits, said, _unparted(groups, found, wishes)
    class_of = {key: n for n, keys in enumerate(guess.classes.values()) for key in keys}
    rows = {name: _by_class(counts[name], class_of, len(guess.classes)) for name in names}
    in_blocks = (
        not groups
        and wishes.groups == "auto"
        and look_alike([images[n] for n in sorted(names, key=natural)])
    )
    digests = {one.pair.name: one.image.digest for one in usable.facts}
    together = join_identical(groups, digests)
    drawn = draw_splits(rows, together, wishes.split_seed, in_blocks=in_blocks)
    sizes = ", ".join(f"{len(own)} {split}" for split, own in drawn.items())
    if in_blocks:
        how = "neighbours look like frames of one film: each split is a block of them"
    elif groups:
        how = (
            f"drawn with seed {wishes.split_seed}, by classes; {len(set(groups.values()))} groups "
            f"({how}) stay together"
        )
    else:
        alone = f"drawn with seed {wishes.split_seed}, by classes, image by image"
        how = f"{alone}; {how}" if how else alone
    twice = len(names) - len(set(digests.values()))
    said = [*found.passed_over]
    if twice and not in_blocks:
        those = "is a copy of another, and lies" if twice == 1 else "are copies of others, and lie"
        said.append(f"{number_of(twice, 'image')} {those} in the same split")
    return drawn, [*said, f"no split was found; splits ({sizes}) are new: {how}"], groups


def _say_found(found: Found, names: Sequence[str]) -> list[str]:
    left = len(set(names).difference(*found.splits.values()))
    stay = "is in none and stays" if left == 1 else "are in none and stay"
    more = f"; {number_of(left, 'image')} {stay} out" if left else ""
    sizes = ", ".join(f"{len(own)} {split}" for split, own in found.splits.items())
    return [f"splits ({sizes}) are from {found.source}{more}"]


def _unparted(groups: dict[str, str], found: Found, wishes: Wishes) -> dict[str, str]:
    """Return groups, or none if splits that are given part one that was guessed."""
    splits_of: dict[str, set[str]] = {}
    for split, own in found.splits.items():
        for name in own:
            splits_of.setdefault(groups.get(name, name), set()).add(split)
    is_parted = any(len(splits) > 1 for splits in splits_of.values())
    return {} if wishes.groups == "auto" and is_parted else groups


def _by_class(
    own: Counter[int], class_of: Mapping[int, int], num_classes: int
) -> NDArray[np.int64]:
    row = np.zeros(num_classes, dtype=np.int64)
    for key, pixels in own.items():
        if key in class_of:
            row[class_of[key]] += pixels
    return row


def _write(
    scratch: Path,
    paired: Pairing,
    guess: Guess,
    settings: Mapping[str, str],
    said: Sequence[str],
) -> None:
    if paired.patterns:
        # The scratch folder lies beside the one that it becomes: what is seen from both is one.
        images, masks = (relative(pattern, scratch) for pattern in paired.patterns)
        places = {"images": images, "masks": masks}
    else:
        places = {"pairs": "pairs.csv"}
        text = write_pairs(paired.pairs, scratch)
        (scratch / "pairs.csv").write_text(text, encoding="utf-8")
    heads = [" ".join(line.split()) for line in said]
    text = write_classes(guess, places=places, settings=settings, said=heads)
    (scratch / "classes.yaml").write_text(text, encoding="utf-8")
