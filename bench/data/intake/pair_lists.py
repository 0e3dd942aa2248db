"""Pairs of images and masks whose names have nothing in common, by lists that have both."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.data.intake.lists import Names, find_lists, read_list
from bench.data.intake.named import Named
from bench.data.intake.pairing import Pair, Pairing
from bench.data.sets.patterns import compose
from fcn.errors import InputError

LEAST = 2
"""Pairs from which on lists are thought to be of pairs."""


def pair_by_lists(images: Named, masks: Named, folders: Iterable[Path]) -> Pairing | None:
    """Find pairs in lists that have an image and a mask on each line; reads disk.

    Args:
        images: The images.
        masks: The masks.
        folders: Where lists may lie.

    Returns:
        The pairs; None where no list has any.
    """
    ours, theirs = (
        Names({path.as_posix(): [files.base / path] for path in files.paths})
        for files in (images, masks)
    )
    mask_of: dict[str, str] = {}
    sources: dict[str, None] = {}
    for folder in dict.fromkeys(folders):
        for path in find_lists(folder):
            for cells in _rows(path):
                image = next((name for cell in cells if (name := ours.find(cell))), None)
                mask = next((name for cell in cells if (name := theirs.find(cell))), None)
                if image and mask and image not in mask_of:
                    mask_of[image] = mask
                    sources[path.name] = None
    if len(mask_of) < LEAST:
        return None
    pairs = [
        Pair(
            compose(Path(image).with_suffix("").as_posix()), images.base / image, masks.base / mask
        )
        for image, mask in sorted(mask_of.items())
    ]
    used = set(mask_of.values())
    return Pairing(
        tuple(pairs),
        None,
        tuple(images.base / path for path in images.paths if path.as_posix() not in mask_of),
        tuple(masks.base / path for path in masks.paths if path.as_posix() not in used),
        (f"names of images and masks have nothing in common; pairs are from {', '.join(sources)}",),
    )


def _rows(path: Path) -> Iterator[Sequence[str]]:
    """Yield the cells of each line that has several."""
    try:
        listing = read_list(path)
    except InputError:  # it may be anything
        return
    for row in listing.rows:
        cells = row
        if len(row) == 1:
            parts = re.split(r"[\t,;]", row[0])
            cells = parts if len(parts) > 1 else row[0].split()
        if len(cells) > 1:
            yield cells
