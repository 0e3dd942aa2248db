"""Your own images: a folder with `images/`, `masks/`, their classes and a list of each split.

`masks/` holds class indices under the same stems; `classes.txt` a name per line, in the order of
the indices; `train.txt`, `val.txt`, `test.txt` a stem per line. One `splits.yaml`
(`train: [a, b]`) may stand for the lists. `groups.txt` may say which images belong together, such
as frames of a clip. Images may be of any size and in subfolders. A `classes.yaml` in the place of
`classes.txt` says where images and masks lie, and which values or colours are which class. Options
name further folders with files of the same stems: inputs such as `depth/`, and targets such as
`geometric/`, whose classes are in `classes-geometric.txt`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.data.dataset import DATASETS, spread_colours
from bench.data.files import FileDataset, image_mode, read_lines
from bench.data.layers import Input, Target
from bench.data.sets.described import DescribedDataset, find_files
from bench.data.sets.description import FILE, read_description
from bench.data.sets.groups import read_groups
from bench.data.sets.listing import Files, read_splits
from fcn.errors import InputError

DEEP = (256.0, 65535.0)
"""Values of 16-bit files that become 0 and 255, such as depth in millimetres: steps of 2 %."""


@DATASETS.register("folder")
def load_folder(
    data_dir: Path | None, *, ignore_index: int = 255, inputs: str = "", targets: str = ""
) -> FileDataset:
    """Open a folder of images; reads its lists.

    Args:
        data_dir: The folder.
        ignore_index: Label of pixels that are neither trained on nor scored.
        inputs: Names of folders with further inputs, such as "depth hha". The first listed file
            of each says whether it is colour or grey, and of 8 or 16 bits; 16 bits become 8 by
            logarithms.
        targets: Names of folders with further targets, such as "geometric".

    Raises:
        InputError: A folder or list is missing or cannot be understood.
    """
    if data_dir is None:
        raise InputError(
            "dataset 'folder' needs its folder: give --data DIR, which holds images/, masks/, "
            "classes.txt and train.txt"
        )
    description = data_dir / FILE
    if description.is_file():
        return _load_described(data_dir, description, ignore_index, inputs, targets)
    absent = [name for name in ("images", "masks") if not (data_dir / name).is_dir()]
    if absent:
        raise InputError(
            f"{data_dir / absent[0]} is no folder; dataset 'folder' reads images from images/ "
            f"and targets of the same stem from masks/ below {data_dir} (--data DIR). For files in "
            f"other places, `fcn-bench init NAME --images DIR --masks DIR` writes a {FILE} that "
            "says where they are"
        )
    class_names = _read_classes(data_dir / "classes.txt")
    files = Files.below(data_dir, "images"), Files.below(data_dir, "masks")
    return FileDataset(
        class_names=class_names,
        palette=spread_colours(len(class_names)),
        **_listed(data_dir, *files, ignore_index, inputs, targets),
    )


def _load_described(
    root: Path, path: Path, ignore_index: int, inputs: str, targets: str
) -> DescribedDataset:
    """Open a folder with a `classes.yaml`."""
    if (root / "classes.txt").is_file():
        raise InputError(f"{root} has {FILE} and classes.txt, which may differ; keep one of them")
    description = read_description(path)
    listed = _listed(root, *find_files(root, description, path), ignore_index, inputs, targets)
    if description.bands:
        listed["more_inputs"] = (description.bands.layer, *listed["more_inputs"])
    return DescribedDataset(
        class_names=tuple(description.classes),
        palette=description.palette,
        description=description,
        upright=description.exif == "apply",
        refuses_duplicates=description.duplicates == "refuse",
        **listed,
    )


def _listed(
    root: Path, all_images: Files, all_masks: Files, ignore_index: int, inputs: str, targets: str
) -> dict[str, Any]:
    """Return what the lists of a folder say, and its options: whatever the masks hold."""
    splits = read_splits(root, all_images)
    keys = [(split, stem) for split, stems in splits.items() for stem in stems]
    stems = [stem for _, stem in keys]
    groups = read_groups(root, stems)
    # A file that is listed but absent is left to reading, which names all of them at once.
    images, masks = all_images.find_all(stems), all_masks.find_all(stems)
    input_names, target_names = _names("inputs", inputs), _names("targets", targets)
    further = {name: _find_further(root, name, stems) for name in input_names + target_names}
    return {
        "name": "folder",
        "ignore_index": ignore_index,
        "splits": splits,
        "root": root,
        "files": {(split, stem): (images[stem], masks[stem]) for split, stem in keys},
        "more_inputs": tuple(_describe_input(root, name, further[name]) for name in input_names),
        "more_targets": tuple(_find_target(root, name, ignore_index) for name in target_names),
        "groups": {key: groups[key[1]] for key in keys if groups},
        "more_files": {
            name: {(split, stem): files[stem] for split, stem in keys}
            for name, files in further.items()
        },
    }


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


def _find_further(root: Path, name: str, stems: Iterable[str]) -> dict[str, Path]:
    """Find the files of a further input or target."""
    if not (root / name).is_dir():
        raise InputError(f"{root / name} is no folder of images; data.options names it")
    return Files.below(root, name).find_all(stems)


def _describe_input(root: Path, name: str, files: Mapping[str, Path]) -> Input:
    """Say what the files of a further input are, by the first that is listed and there."""
    first = next((root / path for path in files.values() if (root / path).is_file()), None)
    mode = image_mode(first) if first else ""
    if mode in ("L", "1"):
        return Input(name, 1)
    if mode == "I" or mode.startswith("I;16"):
        return Input(name, 1, log_range=DEEP)
    return Input(name, 3)


def _find_target(root: Path, name: str, ignore_index: int) -> Target:
    class_names = _read_classes(root / f"classes-{name}.txt")
    return Target(name, class_names, spread_colours(len(class_names)), ignore_index)


def _read_classes(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise InputError(
            f"{path} is missing; write the name of each class on a line of its own, in the order "
            "of the indices in masks/: the first line names index 0. For masks of other values or "
            "of colours, `fcn-bench init NAME --images DIR --masks DIR` writes a classes.yaml"
        )
    names = tuple(read_lines(path))
    if not 2 <= len(names) <= 255 or len(set(names)) < len(names):
        raise InputError(
            f"{path} has {len(names)} lines, {len(set(names))} of them different; write 2 to 255 "
            "class names, each once, background included"
        )
    return names
