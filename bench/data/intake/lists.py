"""Lists that lie beside images: of those of a split, of all splits, of images with their masks.

In: a folder. Out: the files that may be lists, and what stands in them, as rows of cells.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.data.files import files_below, read_lines
from bench.data.formats import SUFFIXES, is_file
from bench.data.intake.pairing import Pair
from bench.data.sets.listing import read_yaml_lists
from bench.data.sets.patterns import compose
from fcn.errors import InputError

ENDINGS = (".txt", ".csv", ".tsv", ".lst", ".json", ".yaml", ".yml")
FOLDERS = ("ImageSets/Segmentation", "ImageSets", "splits", "split", "lists", "list")
"""Where lists may lie, beside the folder itself."""


@dataclass(frozen=True)
class Listing:
    """What stands in a file that may be a list."""

    rows: Sequence[Sequence[str]] = ()
    """Its rows, without a head; a line of a text is one cell."""
    head: Sequence[str] = ()
    """Names of its columns, in lower case; none where it has no head."""
    lists: Mapping[str, Sequence[str]] | None = None
    """Of JSON and YAML, lists by their keys."""

    def column(self, names: Sequence[str]) -> int | None:
        """Return the first column of one of some names."""
        return next((self.head.index(name) for name in names if name in self.head), None)


IMAGE_HEADS = (
    *("image", "img", "file", "filename", "file_name", "path", "name", "stem", "id", "image_id"),
    *("image_path", "img_path", "image_name", "image_file", "sat_image_path", "images"),
)
"""What columns of images are called."""


def find_lists(folder: Path) -> list[Path]:
    """Return the files that may be lists, those nearest to the top first; reads disk."""
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if is_file(p)]
    for inner in FOLDERS:
        found += files_below(folder / inner) if (folder / inner).is_dir() else []
    return sorted(
        (p for p in found if p.suffix.lower() in ENDINGS and not p.name.startswith(".")),
        key=lambda p: (len(p.parts), p.name),
    )


def read_list(path: Path) -> Listing:
    """Read a file that may be a list; reads disk.

    Raises:
        InputError: It cannot be read, or is no list.
    """
    ending = path.suffix.lower()
    if ending in (".yaml", ".yml"):
        return Listing(lists=read_yaml_lists(path))
    lines = read_lines(path)
    if ending == ".json":
        return _from_json(path, "\n".join(lines))
    if ending not in (".csv", ".tsv"):
        return Listing([[line] for line in lines])
    try:
        counts = {mark: sum(line.count(mark) for line in lines) for mark in "\t;,"}
        rows = list(csv.reader(lines, delimiter=max(counts, key=lambda mark: counts[mark])))
    except csv.Error as error:
        raise InputError(f"{path} is no CSV ({error})") from None
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    if any(name in head for name in IMAGE_HEADS):
        return Listing(rows[1:], head)
    return Listing(rows)


class Names:
    """Images, or masks, by whatever lists call them: a name, a path from anywhere, any ending."""

    def __init__(self, files: Mapping[str, Sequence[Path]]) -> None:
        self._by_text: dict[str, str | None] = {}
        for name, paths in files.items():
            texts = {name, PurePosixPath(name).name}
            for path in paths:
                parts = path.resolve().parts
                tails = ["/".join(parts[k:]) for k in range(1, len(parts))]
                texts |= {*tails, *(tail.removesuffix(path.suffix) for tail in tails)}
            for spelling in {one for text in texts for one in _spellings(text)}:
                known = self._by_text.get(spelling, name)
                self._by_text[spelling] = name if known == name else None  # of two images

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> "Names":
        """Return pairs by what lists call their images or masks."""
        return cls({one.name: (one.image, one.mask) for one in pairs})

    def find(self, entry: str) -> str | None:
        """Return the name that an entry of a list means."""
        first = entry.replace("\\", "/").strip().strip("\"'").strip("/")
        readings = [first, *re.split(r"[\t,;]", first), *first.split()]
        for text in readings:
            plain = text.strip().strip("\"'").removeprefix("./").strip("/")
            for tail in _tails(plain):
                for spelling in _spellings(tail):
                    if (name := self._by_text.get(spelling)) is not None:
                        return name
        return None


def _tails(path: str) -> Iterator[str]:
    """Yield a path, then without its leading folders: those of the machine where it was written.

    The last folder stays: `training/1.jpg` is not `validation/1.jpg`.
    """
    parts = path.split("/")
    yield from ("/".join(parts[k:]) for k in range(max(1, len(parts) - 1)))


def _spellings(text: str) -> list[str]:
    """Return a text as it is, then without the ending of an image, then without capitals."""
    plain = compose(text)
    path = PurePosixPath(plain)
    short = plain.removesuffix(path.suffix) if path.suffix.lower() in SUFFIXES else plain
    return list(dict.fromkeys((plain, short, plain.casefold(), short.casefold())))


def _from_json(path: Path, text: str) -> Listing:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{path} is no JSON") from None
    if isinstance(given, dict):
        lists = {
            str(key): [entry for entry in value if isinstance(entry, str)]
            for key, value in given.items()
            if isinstance(value, list)
        }
        return Listing(lists=lists)
    rows = given if isinstance(given, list) else []
    return Listing([[entry] for entry in rows if isinstance(entry, str)])
