"""Which images a folder of one's own lists in which split, and which file each stem means.

In: `train.txt`, `val.txt`, `test.txt` or `splits.yaml`, and the files below `images/`, `masks/` and
further folders. Out: stems by split, a file by stem. Only what is listed counts: other files may
lie beside, two of one stem among them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.data.files import files_below, read_lines
from bench.data.formats import SUFFIXES
from bench.data.problems import join_problems
from bench.data.sets.patterns import compose as _compose
from fcn.errors import InputError

SPLITS = ("train", "val", "test")
ALLOWED = (
    "write one image a line, as its stem below images/: p0 for images/p0.png and masks/p0.png, "
    "day/p0 for images/day/p0.png. Pairs of paths, CSV files and masks of another stem are not read"
)
_SUFFIX = "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES))
_PAIR = re.compile(rf"({_SUFFIX})[\"']?\s*[\s,;]\s*\S", re.IGNORECASE)
"""The end of a file's name, and something after it."""


@dataclass(frozen=True)
class Files:
    """Files below one folder, by stem."""

    root: Path
    """Folder of the dataset."""
    kind: str
    """Name of the folder in it."""
    by_stem: Mapping[str, list[Path]]
    """Files, relative to `root`, by stem in Unicode's composed form: macOS writes names apart."""
    expected: str = ""
    """Where the file of a stem would be, with {stem}; nothing for a PNG in the folder."""

    @classmethod
    def below(cls, root: Path, kind: str) -> "Files":
        """Look through a folder and its subfolders, but for hidden files; reads disk."""
        by_stem: dict[str, list[Path]] = {}
        for path in files_below(root / kind):
            if not path.name.startswith("."):
                relative = path.relative_to(root)
                by_stem.setdefault(_compose(_stem(relative)), []).append(relative)
        return cls(root, kind, by_stem)

    def find(self, stem: str) -> Path | None:
        """Return the file of a stem, if there is one.

        Raises:
            InputError: There are several.
        """
        found = self.by_stem.get(_compose(stem), [])
        found = [path for path in found if _stem(path) == stem] or found
        images = [path for path in found if path.suffix.lower() in SUFFIXES]
        if len(images) > 1:
            first, second = (self.root / path for path in images[:2])
            raise InputError(f"{first} and {second} have one stem; rename or remove one")
        if images:
            return images[0]
        return found[0] if len(found) == 1 else None  # named for what it is when it is read

    def find_all(self, stems: Iterable[str]) -> dict[str, Path]:
        """Return a file for each stem; where there is none, the one that would be looked for.

        Raises:
            InputError: A stem has several files, or none of the stems has one.
        """
        files: dict[str, Path] = {}
        problems, missing = [], []
        for stem in dict.fromkeys(stems):
            try:
                found = self.find(stem)
            except InputError as error:
                problems.append(str(error))
                continue
            usual = self.expected or f"{self.kind}/{{stem}}.png"
            files[stem] = found or Path(usual.replace("{stem}", stem))
            missing += [] if found else [stem]
        if problems:
            raise InputError(join_problems(problems))
        if missing and len(missing) == len(files):
            here = [path.as_posix() for paths in self.by_stem.values() for path in paths]
            raise InputError(
                f"{self.root / self.kind} has no file of a listed stem: {missing[0]!r} is listed, "
                f"and there are {', '.join(here[:3]) or 'no files'}; {ALLOWED}"
            )
        return files


def read_splits(root: Path, images: Files) -> dict[str, tuple[str, ...]]:
    """Read which stems are in which split; reads disk.

    Args:
        root: Folder of the dataset.
        images: Its images, by which an entry is recognised that is written as more than a stem.

    Raises:
        InputError: There is no list, or one cannot be understood.
    """
    listing = root / "splits.yaml"
    lists = {split: root / f"{split}.txt" for split in SPLITS if (root / f"{split}.txt").is_file()}
    if listing.is_file() and lists:
        names = ", ".join(path.name for path in lists.values())
        raise InputError(f"{root} has splits.yaml and {names}, which may differ; keep one of them")
    if listing.is_file():
        splits = read_yaml_lists(listing)
        return {split: _to_stems(listing, stems, images) for split, stems in splits.items()}
    if not lists:
        raise InputError(
            f"{root} says nothing about splits; write train.txt, val.txt and test.txt there, with "
            "the stem of one image per line (images/a.jpg is a), or splits.yaml with lists"
        )
    return {split: _to_stems(path, read_lines(path), images) for split, path in lists.items()}


def _to_stems(source: Path, entries: Iterable[str], images: Files) -> tuple[str, ...]:
    """Turn the entries of a list into stems; InputError for what is none."""
    stems, pairs = [], []
    for entry in entries:
        parts = re.split(r"[/\\]", entry)
        if not parts[0] or ".." in parts or parts[0].endswith(":"):
            raise InputError(
                f"{source} lists {entry!r}; write stems relative to images/, without .. and "
                "without the folders above"
            )
        stem = _to_stem(entry, images)
        if _compose(stem) not in images.by_stem and _is_pair(entry, images):
            pairs.append(entry)
        stems.append(stem)
    if pairs:
        more = f", and {len(pairs) - 1:,} lines like it" if len(pairs) > 1 else ""
        raise InputError(f"{source} has the line {pairs[0]!r}{more}, more than one name; {ALLOWED}")
    return tuple(stems)


def _to_stem(entry: str, images: Files) -> str:
    """Return the stem that an entry means: as it stands, or with what people write besides."""
    plain = entry.replace("\\", "/").removeprefix("./")
    short = plain.removeprefix("images/")
    readings = (entry, plain, short, _without_suffix(plain), _without_suffix(short))
    return next((r for r in readings if _compose(r) in images.by_stem), readings[-1])


def _is_pair(entry: str, images: Files) -> bool:
    """Tell an image with a mask or a number beside it."""
    first, *more = re.split(r"[\s,;]+", entry)
    is_image = _compose(_to_stem(first.strip("\"'"), images)) in images.by_stem
    return bool(more and is_image) or _PAIR.search(entry) is not None


def read_yaml_lists(path: Path) -> dict[str, tuple[str, ...]]:
    """Read `split: [stem, ...]`, each stem as it is written: 007 stays 007, no is not false.

    Raises:
        InputError: It is something else.
    """
    shape = f"{path}: write each split as a list of stems, such as  train: [a, b]"
    try:
        # The node tree alone: no types are guessed, no tags run, no aliases multiplied.
        top = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{shape}; it is not valid YAML: {str(error)[:200]}") from None
    if not isinstance(top, yaml.MappingNode):
        raise InputError(shape)
    splits: dict[str, tuple[str, ...]] = {}
    for key, value in top.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.SequenceNode):
            raise InputError(f"{shape}; line {line} is otherwise")
        if key.value in splits:
            raise InputError(f"{path}: line {line} gives the split {key.value!r} a second time")
        if not all(isinstance(item, yaml.ScalarNode) for item in value.value):
            raise InputError(f"{shape}; an entry below line {line} is no stem")
        splits[key.value] = tuple(item.value for item in value.value)
    return splits


def _stem(path: Path) -> str:
    """Return the stem of a file relative to the dataset's folder: images/day/a.png is day/a."""
    return Path(*path.parts[1:]).with_suffix("").as_posix()


def _without_suffix(name: str) -> str:
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in SUFFIXES else name
