"""A dataset decoded once: flat uint8 files that all runs map into memory, and an index.

In: a `Dataset`. Out: `Pack`, read only, in `<packs_dir>/<first 16 of the fingerprint>/` with
`images.bin` (H, W, 3 of each picture), `targets.bin` (H, W of each) and `index.json`.
A pack appears by one rename: whoever sees it sees all of it.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.check import DataReport, check
from bench.data.dataset import Dataset, Palette
from fcn.errors import InputError

__all__ = ["DataReport", "Pack", "check", "open_pack", "pack"]

LAYOUT = 1
"""Version of the files; raise it when they change."""


@dataclass(frozen=True)
class _Entry:
    """One picture in the index."""

    name: str
    split: str
    height: int
    width: int
    offset: int
    """Pixels before it, in both files."""
    class_counts: list[int]


class Pack:
    """Decoded pictures of one dataset, numbered from 0 over all splits.

    Args:
        folder: What `pack` wrote.

    Raises:
        InputError: The folder is not whole.
    """

    def __init__(self, folder: Path) -> None:
        index = _read_index(folder)
        self.folder = folder
        self.fingerprint: str = index["fingerprint"]
        self.class_names: tuple[str, ...] = tuple(index["class_names"])
        self.palette: Palette = tuple((r, g, b) for r, g, b in index["palette"])
        self.ignore_index: int = index["ignore_index"]
        self._entries = [_Entry(**entry) for entry in index["pictures"]]
        num_pixels = sum(entry.height * entry.width for entry in self._entries)
        self._images = _map(folder / "images.bin", 3 * num_pixels)
        self._targets = _map(folder / "targets.bin", num_pixels)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    def indices(self, split: str) -> list[int]:
        """Return the numbers of a split's pictures, in the dataset's order.

        Raises:
            InputError: There is no such split, or it is empty.
        """
        found = [i for i, entry in enumerate(self._entries) if entry.split == split]
        if not found:
            known = ", ".join(dict.fromkeys(entry.split for entry in self._entries))
            raise InputError(f"the dataset has no split {split!r}; it has {known}")
        return found

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return a picture, (H, W, 3) uint8, a read-only view of the file."""
        at = self._entries[index]
        stop = at.offset + at.height * at.width
        return self._images[3 * at.offset : 3 * stop].reshape(at.height, at.width, 3)

    def target(self, index: int) -> NDArray[np.uint8]:
        """Return a label map, (H, W) uint8, a read-only view of the file."""
        at = self._entries[index]
        stop = at.offset + at.height * at.width
        return self._targets[at.offset : stop].reshape(at.height, at.width)

    def name(self, index: int) -> str:
        """Return a picture's name, unique in its split."""
        return self._entries[index].name

    def size(self, index: int) -> tuple[int, int]:
        """Return a picture's height and width in pixels."""
        return self._entries[index].height, self._entries[index].width

    def image_class_counts(self, split: str) -> NDArray[np.int64]:
        """Return the pixels of each class in each picture of a split, (N, C), int64."""
        rows = [self._entries[i].class_counts for i in self.indices(split)]
        return np.array(rows, dtype=np.int64)

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """Return the pixels of each class in a split, (C,), int64."""
        counts: NDArray[np.int64] = self.image_class_counts(split).sum(0)
        return counts


def open_pack(packs_dir: Path, fingerprint: str) -> Pack:
    """Open the pack of a fingerprint.

    Raises:
        InputError: It is not there, or not whole.
    """
    return Pack(packs_dir / fingerprint[:16])


def pack(dataset: Dataset, packs_dir: Path) -> Pack:
    """Check a dataset and write its pack, unless it is there already; reads and writes disk.

    Raises:
        InputError: Pictures cannot be used; the first twenty problems are named.
    """
    fingerprint = dataset.fingerprint()
    folder = packs_dir / fingerprint[:16]
    if not folder.exists():
        with _scratch_beside(folder) as scratch:
            _write(dataset, fingerprint, scratch)
            _publish(scratch, folder)
    return open_pack(packs_dir, fingerprint)


def _write(dataset: Dataset, fingerprint: str, folder: Path) -> None:
    with (
        (folder / "images.bin").open("wb") as images,
        (folder / "targets.bin").open("wb") as targets,
    ):

        def keep(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
            images.write(image.tobytes())
            targets.write(target.tobytes())

        report = check(dataset, keep)
        report.raise_problems()
        for file in (images, targets):
            file.flush()
            os.fsync(file.fileno())

    pictures, offset = [], 0
    for p in report.pictures:
        counts = list(p.class_counts)
        pictures.append(vars(_Entry(p.name, p.split, p.height, p.width, offset, counts)))
        offset += p.height * p.width
    index = {
        "layout": LAYOUT,
        "fingerprint": fingerprint,
        "class_names": dataset.class_names,
        "palette": dataset.palette,
        "ignore_index": dataset.ignore_index,
        "pictures": pictures,
    }
    with (folder / "index.json").open("w", encoding="utf-8") as text:
        json.dump(index, text, ensure_ascii=False)
        text.flush()
        os.fsync(text.fileno())


@contextmanager
def _scratch_beside(folder: Path) -> Iterator[Path]:
    """Give a new folder on the same disk, removed afterwards if it is still there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".tmp-{folder.name}-"))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(scratch: Path, folder: Path) -> None:
    """Rename into place. Who comes second finds the same content there and leaves it."""
    mask = os.umask(0)
    os.umask(mask)
    scratch.chmod(0o777 & ~mask)  # mkdtemp gives 0700, but a store may be shared
    try:
        scratch.rename(folder)
    except OSError:
        if not (folder / "index.json").is_file():
            raise


def _read_index(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(
            f"the dataset is not decoded in this store ({folder} is missing); "
            "`fcn-bench data prepare DATASET --data DIR` writes it"
        )
    try:
        index: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(_damaged(folder)) from None
    if index.get("layout") != LAYOUT:
        raise InputError(_damaged(folder))
    return index


def _map(path: Path, num_bytes: int) -> NDArray[np.uint8]:
    if not path.is_file() or path.stat().st_size != num_bytes or num_bytes == 0:
        raise InputError(_damaged(path.parent))
    return np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))


def _damaged(folder: Path) -> str:
    return f"{folder} is damaged or of another version; delete it, and it is written anew"
