"""Masks that tools export in folders of their own: CVAT, Label Studio, and one folder a class.

CVAT's "segmentation mask 1.1": `SegmentationClass/` in the colours of `labelmap.txt`. Label
Studio's "brush labels to PNG": `task-ID-...-tag-CLASS-N.png` for each part, whose image the JSON
export names. One folder a class: `road/a.png`, `car/a.png`, white where the class is.
"""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.class_map import Keys
from bench.data.intake.drawing import (
    Finder,
    Imported,
    find_json,
    keep_masks,
    number_classes,
    read_json,
)
from bench.data.intake.named import Named, find_named
from bench.data.intake.tables import Table, read_table
from bench.data.raw_masks import read_raw_mask
from bench.text import number_of
from fcn.errors import InputError

TAGGED = re.compile(r"task-(\d+)-.*?-tag-(.+?)(?:-(\d+))?\.png", re.IGNORECASE)
"""What Label Studio calls a part: task, class, number."""
NUM_TRIED = 8
"""Masks that tell whether folders are of classes: these are black and white."""
UPLOADED = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio puts before the name of a file that was uploaded."""


def import_cvat(images: Named, where: Path, folder: Path) -> Imported:
    """Find CVAT's masks and names; reads disk.

    Raises:
        InputError: They are not there.
    """
    masks, labels = where / "SegmentationClass", where / "labelmap.txt"
    if not masks.is_dir() or not labels.is_file():
        raise InputError(
            f"{where} has no SegmentationClass/ with labelmap.txt beside it; export from CVAT as "
            "'Segmentation mask 1.1' and unpack it there"
        )
    return Imported(find_named(str(masks), "--masks"), read_table(labels))


def are_class_folders(images: Named, masks: Named) -> bool:
    """Say whether masks lie in a folder for each class, several to an image; reads some of them."""
    if any(len(path.parts) < 2 for path in masks.paths):
        return False
    parts = [(path.parts[0], Path(*path.parts[1:]).with_suffix("")) for path in masks.paths]
    names = {name for _, name in parts}
    if not names <= {path.with_suffix("") for path in images.paths}:
        return False
    if len(set(parts)) == len(names):  # one to an image
        return False
    try:
        some = [read_raw_mask(masks.base / path, "values")[0] for path in masks.paths[:NUM_TRIED]]
    except InputError:
        return False
    return all(len(np.unique(part)) <= 2 for part in some)


def import_folders(images: Named, where: Path, folder: Path) -> Imported:
    """Draw masks from a folder for each class, by the alphabet; reads and writes disk.

    Raises:
        InputError: There are no such folders, or a file has the name of no image.
    """
    if not where.is_dir():
        raise InputError(f"{where} is no folder; --from folders reads one folder a class in it")
    folders = sorted(path for path in where.iterdir() if path.is_dir() and path.name[0] != ".")
    if not folders:
        raise InputError(f"{where} has no folders, one for each class")
    numbers, table = number_classes([path.name for path in folders], str(where))
    parts = _Parts()
    known = {path.with_suffix("") for path in images.paths}
    for one in folders:
        found = find_named(str(one), "--masks")
        for path in found.paths:
            name = path.with_suffix("")
            if name not in known:
                raise InputError(f"{one / path} has the name of no image below {images.base}")
            parts.lay(name.as_posix(), found.base / path, numbers[one.name])
    return Imported(keep_masks(parts.masks, folder), parts.name_by(table), parts.said())


def import_label_studio(images: Named, where: Path, folder: Path) -> Imported:
    """Draw masks from Label Studio's parts, in the order of their numbers; reads and writes disk.

    Raises:
        InputError: Parts, or the JSON that names their images, are not there.
    """
    found = find_named(str(where), "--masks")
    tagged = sorted(
        (int(match[1]), int(match[3] or 0), match[2], path)
        for path in found.paths
        if (match := TAGGED.fullmatch(path.name))
    )
    if not tagged:
        raise InputError(
            f"{where} has no file such as task-1-annotation-1-by-1-tag-road-0.png; export from "
            "Label Studio as 'Brush labels to PNG'"
        )
    tasks = {int(task["id"]): task for path in find_json(where) for task in _tasks(read_json(path))}
    numbers, table = number_classes(sorted({tag for _, _, tag, _ in tagged}), str(where))
    parts, finder = _Parts(), Finder(images)
    for task, _, tag, path in tagged:
        if task not in tasks:
            raise InputError(
                f"{found.base / path} is of task {task}, and no JSON in {where} says which image "
                "that is; export from Label Studio as JSON too, and put it there"
            )
        image = _image_of(finder, images, tasks[task])
        parts.lay(image.with_suffix("").as_posix(), found.base / path, numbers[tag])
    return Imported(keep_masks(parts.masks, folder), parts.name_by(table), parts.said())


class _Parts:
    """Masks made of parts, a file for each, later over earlier."""

    def __init__(self) -> None:
        self.masks: dict[str, NDArray[np.uint8]] = {}
        self._overlaps = 0

    def lay(self, name: str, path: Path, value: int) -> None:
        """Lay a part, white on black, over the mask of an image; reads disk."""
        part: Keys = read_raw_mask(path, "values")[0]
        if len(np.unique(part)) > 2:
            raise InputError(f"{path} holds more than two values; a part is white on black")
        mask = self.masks.setdefault(name, np.zeros(part.shape, dtype=np.uint8))
        if mask.shape != part.shape:
            raise InputError(f"{path} is of another size than the parts of {name!r} before it")
        self._overlaps += int(((mask > 0) & (part > 0)).sum())
        mask[part > 0] = value

    @property
    def leaves_any(self) -> bool:
        """Say whether some pixels are in no part."""
        return any((mask == 0).any() for mask in self.masks.values())

    def name_by(self, table: Table) -> Table:
        """Return a table of the parts, without a background where they leave nothing for it."""
        if self.leaves_any:
            return table
        by_value = {value: name for value, name in table.by_value.items() if value}
        return replace(table, by_value=by_value, order=tuple(by_value.values()))

    def said(self) -> tuple[str, ...]:
        """Say what was done."""
        left = "what is in none is background" if self.leaves_any else "each pixel is in one"
        said = f"{number_of(len(self.masks), 'mask')} drawn from parts; {left}"
        if not self._overlaps:
            return (said,)
        total = sum(mask.size for mask in self.masks.values())
        share = 100 * self._overlaps / total
        return (said, f"{share:.3g} % of the pixels are in several parts: the later one counts")


def _tasks(values: Any) -> list[dict[str, Any]]:
    """Return the tasks of an export of Label Studio."""
    rows = values if isinstance(values, list) else []
    return [
        r for r in rows if isinstance(r, dict) and "id" in r and isinstance(r.get("data"), dict)
    ]


def _image_of(finder: Finder, images: Named, task: dict[str, Any]) -> Path:
    told = [PurePosixPath(v).name for v in task["data"].values() if isinstance(v, str)]
    names = [name for one in told for name in (one, UPLOADED.sub("", one, count=1))]
    found = next((image for name in names if (image := finder.find(name))), None)
    if found is None:
        raise InputError(
            f"task {task['id']} is about {', '.join(told) or 'no file'}, which is not below "
            f"{images.base}"
        )
    return found
