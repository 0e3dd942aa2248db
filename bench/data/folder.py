"""Your own pictures: a folder with `images/`, `masks/`, `classes.txt` and a list of each split.

`masks/` holds class indices under the same stems; `classes.txt` a name per line, in the order of
the indices; `train.txt`, `val.txt`, `test.txt` a stem per line. One `splits.yaml`
(`train: [a, b]`) may stand for the lists. Pictures may be of any size and in subfolders. Options
name further folders with files of the same stems: inputs such as `depth/`, and label maps such as
`geometric/`, whose classes are in `classes-geometric.txt`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import yaml

from bench.data.dataset import DATASETS, spread_colours
from bench.data.files import FileDataset, join_problems, picture_mode, read_lines
from bench.data.layers import Input, LabelMap
from fcn.errors import InputError

SPLITS = ("train", "val", "test")
DEEP = (256.0, 65535.0)
"""Values of 16-bit files that become 0 and 255, such as depth in millimetres: steps of 2 %."""


@DATASETS.register("folder")
def load_folder(
    data_dir: Path | None, *, ignore_index: int = 255, inputs: str = "", targets: str = ""
) -> FileDataset:
    """Open a folder of pictures; reads its lists.

    Args:
        data_dir: The folder.
        ignore_index: Label of pixels that are neither trained on nor scored.
        inputs: Names of folders with further inputs, such as "depth hha". The first file of each
            says whether it is colour or grey, and of 8 or 16 bits; 16 bits become 8 by logarithms.
        targets: Names of folders with further label maps, such as "geometric".

    Raises:
        InputError: A folder or list is missing or cannot be understood.
    """
    if data_dir is None:
        raise InputError(
            "dataset 'folder' needs its folder: give --data DIR, which holds images/, masks/, "
            "classes.txt and train.txt"
        )
    absent = [name for name in ("images", "masks") if not (data_dir / name).is_dir()]
    if absent:
        raise InputError(
            f"{data_dir / absent[0]} is no folder; dataset 'folder' reads pictures from images/ "
            f"and label maps of the same stem from masks/ below {data_dir} (--data DIR)"
        )
    class_names = _read_classes(data_dir / "classes.txt")
    splits = _read_splits(data_dir)
    images, masks = (_files_by_stem(data_dir, kind) for kind in ("images", "masks"))
    # A picture that is listed but absent is left to reading, which names all of them at once.
    files = {
        (split, stem): (
            images.get(stem, Path("images", f"{stem}.png")),
            masks.get(stem, Path("masks", f"{stem}.png")),
        )
        for split, stems in splits.items()
        for stem in stems
    }
    more_inputs = tuple(_find_input(data_dir, name) for name in _names("inputs", inputs))
    more_targets = tuple(
        _find_target(data_dir, name, ignore_index) for name in _names("targets", targets)
    )
    return FileDataset(
        name="folder",
        class_names=class_names,
        palette=spread_colours(len(class_names)),
        ignore_index=ignore_index,
        splits=splits,
        root=data_dir,
        files=files,
        more_inputs=more_inputs,
        more_targets=more_targets,
        more_files={
            name: _files_of(data_dir, name, files)
            for name in (*(i.name for i in more_inputs), *(t.name for t in more_targets))
        },
    )


def _names(option: str, text: str) -> list[str]:
    """Read the folders that an option names."""
    names = text.replace(",", " ").split()
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in ("images", "masks", "rgb"):
            raise InputError(
                f"data.options.{option} of dataset 'folder' has {name!r}; name folders beside "
                "images/ and masks/, by letters and digits"
            )
    return names


def _find_input(root: Path, name: str) -> Input:
    """Say what the files of a further input are, by the first of them."""
    found = _files_by_stem(root, name)
    if not found:
        raise InputError(f"{root / name} is no folder of pictures; data.options.inputs names it")
    mode = picture_mode(root / next(iter(found.values())))
    if mode in ("L", "P", "1"):
        return Input(name, 1)
    if mode == "I" or mode.startswith("I;16"):
        return Input(name, 1, log_range=DEEP)
    return Input(name, 3)


def _find_target(root: Path, name: str, ignore_index: int) -> LabelMap:
    class_names = _read_classes(root / f"classes-{name}.txt")
    return LabelMap(name, class_names, spread_colours(len(class_names)), ignore_index)


def _files_of(
    root: Path, name: str, files: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Path]:
    found = _files_by_stem(root, name)
    return {key: found.get(key[1], Path(name, f"{key[1]}.png")) for key in files}


def _read_classes(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise InputError(
            f"{path} is missing; write the name of each class on a line of its own, in the order "
            "of the indices in masks/: the first line names index 0"
        )
    names = tuple(read_lines(path))
    if not 2 <= len(names) <= 255 or len(set(names)) < len(names):
        raise InputError(
            f"{path} has {len(names)} lines, {len(set(names))} of them different; write 2 to 255 "
            "class names, each once, background included"
        )
    return names


def _read_splits(root: Path) -> dict[str, tuple[str, ...]]:
    listing = root / "splits.yaml"
    lists = {split: root / f"{split}.txt" for split in SPLITS if (root / f"{split}.txt").is_file()}
    if listing.is_file() and lists:
        names = ", ".join(path.name for path in lists.values())
        raise InputError(f"{root} has splits.yaml and {names}, which may differ; keep one of them")
    if listing.is_file():
        splits = _read_yaml(listing)
    else:
        splits = {split: tuple(read_lines(path)) for split, path in lists.items()}
    if not splits:
        raise InputError(
            f"{root} says nothing about splits; write train.txt, val.txt and test.txt there, with "
            "the stem of one picture per line (images/a.jpg is a), or splits.yaml with lists"
        )
    unsafe = [s for stems in splits.values() for s in stems if s[:1] in "/\\" or ".." in s]
    if unsafe:
        raise InputError(f"{root} lists {unsafe[0]!r}; write stems relative to images/, without ..")
    return splits


def _read_yaml(path: Path) -> dict[str, tuple[str, ...]]:
    """Read `split: [stem, ...]`, each stem as it is written: 007 stays 007, no is not false."""
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


def _files_by_stem(root: Path, kind: str) -> dict[str, Path]:
    """Map stems below `images/` or `masks/` to files relative to `root`."""
    files: dict[str, Path] = {}
    problems = []
    for path in sorted((root / kind).rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        stem = path.relative_to(root / kind).with_suffix("").as_posix()
        if stem in files:
            problems.append(f"{path} and {root / files[stem]} have one stem; rename or remove one")
        files[stem] = path.relative_to(root)
    if problems:
        raise InputError(join_problems(problems))
    return files
