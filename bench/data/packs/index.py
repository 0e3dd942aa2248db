"""A pack's index, `index.json`: whose pack it is, what its layers are, where each image lies.

In: a folder of packed images. Out: a `PackIndex` that is whole and of the dataset that is meant.
"""

import hashlib
import json
import os
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from bench.data.layers import SEMANTIC, Input, Target, to_json
from bench.store.records import CLOSED, Channel, ClassNames, Count, Digest, Palette, describe_fault
from fcn.errors import InputError

LAYOUT = 1
"""Version of the files; raise it when they change."""

INDEX = "index.json"
_CHECKSUM = b', "own_sha256": "'

Side = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=CLOSED)
class Entry:
    """One image in the index."""

    name: str
    split: str
    height: Side
    width: Side
    offset: Count
    """Pixels before it, in both files."""
    class_counts: list[Count]
    more_counts: dict[str, list[Count]] = field(default_factory=dict)
    """Of each further target."""
    checksums: list[Count] = field(default_factory=list)
    """CRC-32 of its bytes in each file, in the order of the files; none in older packs."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what most datasets do not have is left out."""
        return {key: value for key, value in vars(self).items() if value or key != "more_counts"}


@dataclass(frozen=True, config=CLOSED | ConfigDict(populate_by_name=True))
class PackIndex:
    """What a pack holds."""

    fingerprint: Digest
    """Of the dataset."""
    class_names: ClassNames
    palette: Palette
    ignore_index: Channel
    entries: Annotated[list[Entry], Field(validation_alias="pictures")]
    target_name: str = SEMANTIC
    """Name of the target that the three above are of."""
    inputs: tuple[Input, ...] = ()
    """Beside the image."""
    targets: tuple[Target, ...] = ()
    """Further targets."""
    digests: dict[str, Digest] = field(default_factory=dict)
    """sha256 of each file; none in older packs."""
    layout: Literal[1] = 1

    @model_validator(mode="after")
    def _in_order(self) -> "PackIndex":
        offset = 0
        for entry in self.entries:
            if entry.offset != offset:
                raise ValueError(f"image {entry.name!r} is not where the one before it ends")
            offset += entry.height * entry.width
        return self

    @property
    def first_target(self) -> Target:
        """The target that is the dataset's own."""
        return Target(self.target_name, self.class_names, self.palette, self.ignore_index)

    @property
    def num_pixels(self) -> int:
        """Pixels of all images together."""
        return sum(entry.height * entry.width for entry in self.entries)


def read_index(folder: Path) -> PackIndex:
    """Read a pack's index.

    Raises:
        InputError: It is missing, damaged, of another version, or of another dataset than its
            folder's name says.
    """
    if not folder.is_dir():
        raise InputError(f"the dataset is not decoded in this store: {folder} is missing")
    try:
        content = (folder / INDEX).read_bytes()
        body, mark, checksum = content.rpartition(_CHECKSUM)
        if mark:  # written since packs have one
            content = body + b"}"
            if hashlib.sha256(content).hexdigest().encode() != checksum[:-2]:
                raise InputError(damaged(folder, "the checksum of its index is another"))
        index = _INDEX.validate_json(content, strict=True)
    except OSError as error:
        raise InputError(damaged(folder, f"{INDEX}: {error.strerror}")) from None
    except ValidationError as error:
        raise InputError(damaged(folder, describe_fault(error))) from None
    if index.fingerprint[:16] != folder.name and not folder.name.startswith(".tmp-"):
        raise InputError(damaged(folder, f"it holds dataset {index.fingerprint[:16]}"))
    return index


def write_index(folder: Path, index: PackIndex) -> None:
    """Write a pack's index, with its checksum at the end; what most datasets lack is left out."""
    values: dict[str, Any] = {
        "layout": index.layout,
        "fingerprint": index.fingerprint,
        "class_names": index.class_names,
        "palette": index.palette,
        "ignore_index": index.ignore_index,
        "pictures": [entry.to_json() for entry in index.entries],
    }
    if index.target_name != SEMANTIC:
        values["target_name"] = index.target_name
    if index.inputs:
        values["inputs"] = [to_json(one) for one in index.inputs]
    if index.targets:
        values["targets"] = [to_json(one) for one in index.targets]
    content = json.dumps({**values, "digests": index.digests}, ensure_ascii=False).encode()
    checksum = hashlib.sha256(content).hexdigest().encode()
    with (folder / INDEX).open("wb") as file:
        file.write(content[:-1] + _CHECKSUM + checksum + b'"}')
        file.flush()
        os.fsync(file.fileno())


def damaged(folder: Path, why: str) -> str:
    """Say that a pack cannot be used, why, and the way out."""
    return f"{folder} is damaged or of another version ({why}); delete it, and it is written anew"


_INDEX = TypeAdapter(PackIndex)
