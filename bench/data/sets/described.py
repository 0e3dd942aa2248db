"""A folder whose `classes.yaml` says what its files mean: any place, any values, any colours.

In: a `Description`, and the splits and groups beside it. Out: a dataset like any other.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from bench.data.bands import read_bands, render
from bench.data.files import FileDataset, read_image, read_lines, require_bands
from bench.data.layers import Input
from bench.data.raw_masks import read_raw_mask
from bench.data.sets.description import BANDS, ClassEntry, Description
from bench.data.sets.listing import Files
from bench.data.sets.patterns import Pattern, compose
from fcn.errors import InputError

VOID = 255
"""Label of void in published sets, once masks are read."""
WAY_OUT = " in classes.yaml; list them with a class or under `void`, or write `others: void`"
COLUMNS = ("name", "image", "mask")
"""Of the file that `pairs` names."""


@dataclass(frozen=True)
class DescribedDataset(FileDataset):
    """Images with masks of which a `classes.yaml` says what they hold."""

    description: Description = field(kw_only=True)
    """What the files mean."""

    @classmethod
    def of(
        cls,
        name: str,
        description: Description,
        root: Path,
        splits: Mapping[str, tuple[str, ...]],
        files: Mapping[tuple[str, str], tuple[Path, Path]],
        *,
        groups: Mapping[tuple[str, str], str] = MappingProxyType({}),
    ) -> Self:
        """Return a published set: files that are known, masks that are described."""
        return cls(
            name=name,
            class_names=tuple(description.classes),
            palette=description.palette,
            ignore_index=VOID,
            splits=dict(splits),
            root=root,
            files=dict(files),
            groups=dict(groups),
            description=description,
        )

    def read_colours(self, path: Path) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) of a file, or what can be shown of its bands.

        Its transparency may be the mask.
        """
        if bands := self.description.bands:
            return render(self._read_bands(path), *bands.range)
        is_mask = self.description.channel == "alpha"
        return read_image(path, upright=self.upright, drop_alpha=is_mask)

    def read_input(self, split: str, name: str, wanted: Input) -> Any:
        """Return the bands (H, W, bands) uint16 of an image, or another input of it."""
        if wanted.name != BANDS:
            return super().read_input(split, name, wanted)
        return self._read_bands(self._find(self.files[split, name][0]))

    def _read_bands(self, path: Path) -> NDArray[np.uint16]:
        bands = read_bands(path, upright=self.upright)
        assert self.description.bands is not None
        return np.asarray(require_bands(bands, self.description.bands.layer, path))

    def read_labels(self, path: Path, target: str) -> NDArray[np.uint8]:
        """Return the classes (H, W) of a mask; further masks hold class indices."""
        if target != self.target_name:
            return super().read_labels(path, target)
        labels, _ = self._read_snapped(path)
        return labels

    def count_moved(self, split: str, name: str) -> int:
        """Return how many pixels of an image's mask were not what `snap` takes them for."""
        if self.description.snap == "none":
            return 0
        _, moved = self._read_snapped(self.root / self.files[split, name][1])
        return moved

    def content(self) -> list[object]:
        """Return the digests of all files, and what decides how they are read; reads disk."""
        d = self.description
        return [*super().content(), [d.class_map.to_json(), d.channel, d.exif, d.snap]]

    def label(self, path: Path) -> str:
        """Return a file's name: its place may be anywhere, seen from the folder."""
        return path.name

    def _read_snapped(self, path: Path) -> tuple[NDArray[np.uint8], int]:
        """Return the classes of a mask, and how many pixels were moved to the nearest key."""
        d, mapping = self.description, self.description.class_map
        keys, exact = read_raw_mask(
            path,
            mapping.kind,
            channel=d.channel,
            upright=self.upright,
            lossy=d.snap != "none",
        )
        moved = 0
        if d.snap == "all" or (d.snap == "lossy" and not exact):
            near = mapping.nearest(keys)
            keys, moved = near, int((near != keys).sum())
        way_out = WAY_OUT if self.name == "folder" else "; fetch the file again"
        return mapping.apply(keys, self.ignore_index, path, way_out), moved


def describe_values(
    classes: Mapping[str, list[int]],
    *,
    shown: Mapping[str, tuple[int, int, int]] = MappingProxyType({}),
    void: Sequence[int] = (),
    others: Literal["refuse", "void"] = "refuse",
) -> Description:
    """Describe masks of values.

    Args:
        classes: Values of each class, in the order of their indices.
        shown: Colours in which classes are drawn.
        void: Values that do not count.
        others: What further values are.
    """
    return Description(
        classes={n: ClassEntry(values=v, shown=shown.get(n)) for n, v in classes.items()},
        void=list(void),
        others=others,
    )


def find_files(root: Path, description: Description, where: Path) -> tuple[Files, Files]:
    """Find images and masks; reads disk.

    Args:
        root: Folder that patterns are relative to.
        description: Where they lie.
        where: The file that says so, put into messages.

    Raises:
        InputError: A pattern is none, or means no file.
    """
    if description.pairs:
        return _read_pairs(root, root / description.pairs)
    patterns = {
        kind: Pattern.parse(getattr(description, kind), root, where=f"{kind} in {where}")
        for kind in ("images", "masks")
    }
    masks = patterns["masks"].find(root)
    is_one = patterns["images"] == patterns["masks"]
    taken = [] if is_one else [path for paths in masks.values() for path in paths]
    found = {"masks": masks, "images": patterns["images"].find(root, taken)}
    for kind, files in found.items():
        if not files:
            raise InputError(
                f"{kind} in {where} is {getattr(description, kind)!r}, and no file is of that "
                f"kind below {root / patterns[kind].base}"
            )
    places = {kind: (pattern.base / pattern.rest).as_posix() for kind, pattern in patterns.items()}
    return (
        Files(root, "images", found["images"], places["images"]),
        Files(root, "masks", found["masks"], places["masks"]),
    )


def _read_pairs(root: Path, path: Path) -> tuple[Files, Files]:
    """Read a list of pairs, with a name for each."""
    first, *rows = list(csv.reader(read_lines(path))) or [[]]
    if tuple(first) != COLUMNS or not rows or any(len(row) != len(COLUMNS) for row in rows):
        raise InputError(
            f"{path} must open with the line {','.join(COLUMNS)} and have these three for each "
            "image, paths relative to it"
        )
    images: dict[str, list[Path]] = {}
    masks: dict[str, list[Path]] = {}
    for name, image, mask in rows:
        if compose(name) in images:
            raise InputError(f"{path} has the name {name!r} twice; give each image its own")
        images[compose(name)], masks[compose(name)] = [Path(image)], [Path(mask)]
    return Files(root, "images", images), Files(root, "masks", masks)
