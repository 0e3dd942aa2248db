"""Drawing masks: shapes and parts painted one over the other, and what an import gives."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data.files import files_below
from bench.data.intake.named import Named, find_named
from bench.data.intake.tables import VOID_NAMES, Table
from bench.text import require_utf8
from fcn.errors import InputError

VOID = 255
BACKGROUND = "background"


@dataclass(frozen=True)
class Imported:
    """Masks as an import gives them."""

    masks: Named
    table: Table | None = None
    """Names of the classes, where what was exported has them."""
    said: tuple[str, ...] = ()
    """What a person must know of it."""


def number_classes(names: Iterable[str], source: str) -> tuple[dict[str, int], Table]:
    """Number classes from 1 on, with a background at 0 and void at 255.

    Args:
        names: Of the classes, in their order; the first may be the background.
        source: Where they are from.

    Raises:
        InputError: There are more than fit, or one cannot be written.
    """
    numbers: dict[str, int] = {}
    for name in names:
        require_utf8(name, f"{source}: class")
        if VOID_NAMES.fullmatch(name):
            numbers[name] = VOID
        elif name.strip("_").lower() == BACKGROUND:
            numbers[name] = 0
        elif name not in numbers:
            numbers[name] = 1 + sum(1 for number in numbers.values() if 0 < number < VOID)
    if len(numbers) > VOID:
        raise InputError(f"{source} has {len(numbers)} classes; 254 fit")
    by_value = {number: name for name, number in numbers.items()}
    by_value = {0: BACKGROUND, **by_value}
    order = tuple(by_value[number] for number in sorted(by_value))
    return numbers, Table(source, by_value, {}, order)


def keep_masks(masks: Mapping[str, NDArray[np.uint8]], folder: Path) -> Named:
    """Write masks, by the name of their image; writes disk."""
    for name, mask in masks.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    return find_named(str(folder), "--masks")


class Finder:
    """Images by what an export calls them: a path from anywhere, or a name."""

    def __init__(self, images: Named) -> None:
        self._by_name: dict[str, list[Path]] = {}
        for path in images.paths:
            self._by_name.setdefault(path.name, []).append(path)

    def find(self, told: str) -> Path | None:
        """Return an image, relative to the base of all; None where none, or several, are meant."""
        wanted = PurePosixPath(told.replace("\\", "/"))
        alike = self._by_name.get(wanted.name, [])
        longer = [path for path in alike if str(wanted).endswith(path.as_posix())]
        found = longer or alike
        return found[0] if len(found) == 1 else None


def find_json(where: Path) -> list[Path]:
    """Return the JSON files that a path means: itself, or those of a folder and below."""
    if where.is_file():
        return [where]
    return [
        path
        for path in files_below(where)
        if path.suffix.lower() == ".json" and not path.name.startswith(".")
    ]


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: It is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({str(error)[:200]}); export it again") from None
