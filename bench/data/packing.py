"""Packing: a dataset checked and written, a folder that appears whole or not at all.

In: a `Dataset`. Out: the files that `bench.data.pack.Pack` maps into memory.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

from bench.atomic import file_digest, sync_folder, umask
from bench.data.check import Layers, check
from bench.data.dataset import Dataset
from bench.data.layers import SEMANTIC, Input, LabelMap, to_json

LAYOUT = 1
"""Version of the files; raise it when they change."""


@dataclass(frozen=True)
class Entry:
    """One picture in the index."""

    name: str
    split: str
    height: int
    width: int
    offset: int
    """Pixels before it, in both files."""
    class_counts: list[int]
    more_counts: dict[str, list[int]] = field(default_factory=dict)
    """Of each further label map."""
    checksums: list[int] = field(default_factory=list)
    """CRC-32 of its bytes in each file, in the order of `file_names`; none in older packs."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what most datasets do not have is left out."""
        return {key: value for key, value in vars(self).items() if value or key != "more_counts"}


def write_pack(dataset: Dataset, fingerprint: str, folder: Path) -> None:
    """Check a dataset and write it into a folder.

    Raises:
        InputError: Pictures cannot be used; the first twenty problems are named.
    """
    names = file_names(dataset.more_inputs, dataset.more_targets)
    checksums: list[list[int]] = []
    with ExitStack() as stack:
        files = [stack.enter_context((folder / name).open("wb")) for name in names]

        def keep(layers: Layers) -> None:
            contents = [layer.tobytes() for layer in layers]
            checksums.append([crc32(content) for content in contents])
            for file, content in zip(files, contents, strict=True):
                file.write(content)

        report = check(dataset, keep)
        report.raise_problems()
        for file in files:
            file.flush()
            os.fsync(file.fileno())

    pictures, offset = [], 0
    for p, sums in zip(report.pictures, checksums, strict=True):
        more = {name: list(counts) for name, counts in p.more_counts.items()}
        entry = Entry(p.name, p.split, p.height, p.width, offset, list(p.class_counts), more, sums)
        pictures.append(entry.to_json())
        offset += p.height * p.width
    index = {
        "layout": LAYOUT,
        "fingerprint": fingerprint,
        "class_names": dataset.class_names,
        "palette": dataset.palette,
        "ignore_index": dataset.ignore_index,
        "pictures": pictures,
        **_more_layers(dataset),
        "digests": {name: file_digest(folder / name) for name in names},
    }
    with (folder / "index.json").open("w", encoding="utf-8") as text:
        json.dump(index, text, ensure_ascii=False)
        text.flush()
        os.fsync(text.fileno())


@contextmanager
def scratch_beside(folder: Path) -> Iterator[Path]:
    """Give a new folder on the same disk, removed afterwards if it is still there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".tmp-{folder.name}-"))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def publish(scratch: Path, folder: Path) -> None:
    """Rename into place. Who comes second finds the same content there and leaves it."""
    scratch.chmod(0o777 & ~umask())  # mkdtemp gives 0700, but a store may be shared
    try:
        scratch.rename(folder)
        sync_folder(folder.parent)
    except OSError:
        if not (folder / "index.json").is_file():
            raise


def file_names(more_inputs: Sequence[Input], more_targets: Sequence[LabelMap]) -> list[str]:
    """Return the files of a pack with pixels, in the order in which a picture's layers are read."""
    names = ["images.bin", "targets.bin", *(input_file(one.name) for one in more_inputs)]
    return names + [target_file(one.name) for one in more_targets]


def input_file(name: str) -> str:
    """Return the file of a further input in a pack."""
    return f"input-{name}.bin"


def target_file(name: str) -> str:
    """Return the file of a further label map in a pack."""
    return f"target-{name}.bin"


def _more_layers(dataset: Dataset) -> dict[str, Any]:
    """Describe what a dataset has beside a picture and a label map; most have nothing."""
    layers: dict[str, Any] = {
        "inputs": [to_json(one) for one in dataset.more_inputs],
        "targets": [to_json(one) for one in dataset.more_targets],
    }
    names = {} if dataset.target_name == SEMANTIC else {"target_name": dataset.target_name}
    return {**names, **{key: value for key, value in layers.items() if value}}
