"""Packing: a dataset checked and written, a folder that appears whole or not at all.

In: a `Dataset`. Out: the files that `bench.data.packs.pack.Pack` maps into memory.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import numpy as np

from bench.data.check import check
from bench.data.cores import Progress
from bench.data.dataset import Dataset
from bench.data.examine import Layers
from bench.data.layers import Input, Target
from bench.data.packs.index import INDEX, Entry, PackIndex, write_index
from bench.store.atomic import naming, sync_folder, umask
from bench.store.scratch import scratch_prefix
from fcn.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_IN_USE: dict[tuple[int, int], int] = {}
"""Descriptors of the packs that this process needs, by device and inode."""


def write_pack(
    dataset: Dataset, fingerprint: str, folder: Path, progress: Progress | None = None
) -> None:
    """Check a dataset and write it into a folder.

    Raises:
        InputError: Images cannot be used; of each kind three are named. Or two layers
            would be one file.
    """
    names = file_names(dataset.more_inputs, dataset.more_targets)
    _require_apart(dataset, names)
    checksums: list[list[int]] = []
    digests = [sha256() for _ in names]  # of what is written, while other processes read
    with ExitStack() as stack:
        files = [stack.enter_context((folder / name).open("wb")) for name in names]

        def keep(layers: Layers) -> None:
            contents = [np.ascontiguousarray(layer).data for layer in layers]
            checksums.append([crc32(content) for content in contents])
            for file, digest, content in zip(files, digests, contents, strict=True):
                digest.update(content)
                file.write(content)

        report = check(dataset, keep, progress)
        report.raise_problems()
        for file in files:
            file.flush()
            os.fsync(file.fileno())

    entries, offset = [], 0
    for p, sums in zip(report.images, checksums, strict=True):
        more = {name: list(counts) for name, counts in p.more_counts.items()}
        entry = Entry(p.name, p.split, p.height, p.width, offset, list(p.class_counts), more, sums)
        entries.append(entry)
        offset += p.height * p.width
    index = PackIndex(
        fingerprint=fingerprint,
        class_names=dataset.class_names,
        palette=dataset.palette,
        ignore_index=dataset.ignore_index,
        entries=entries,
        target_name=dataset.target_name,
        inputs=dataset.more_inputs,
        targets=dataset.more_targets,
        digests={name: own.hexdigest() for name, own in zip(names, digests, strict=True)},
    )
    write_index(folder, index)


def _require_apart(dataset: Dataset, names: Sequence[str]) -> None:
    """Refuse layers whose files would meet, if only where capitals do not count."""
    folded = [name.casefold() for name in names]
    twice = [name for name in names if folded.count(name.casefold()) > 1]
    if twice:
        layers = " and ".join(name.partition("-")[2].removesuffix(".bin") for name in twice)
        raise InputError(
            f"dataset {dataset.name!r} has further inputs or targets {layers}, which would be "
            "one file of a pack; name each once, and no two that differ in capitals alone"
        )


@contextmanager
def scratch_beside(folder: Path) -> Iterator[Path]:
    """Give a new folder on the same disk, removed afterwards if it is still there.

    Errors of the system name `folder`, whatever they are of.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with naming(folder):
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=scratch_prefix(folder.name)))
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
        if not (folder / INDEX).is_file():
            raise


def keep_in_use(folder: Path) -> None:
    """Say that this process needs a pack, until it ends, by a lock that needs no tidying up."""
    if fcntl is None:
        return
    with suppress(OSError):  # the pack just went, or its file system has no locks
        index = os.open(folder / "index.json", os.O_RDONLY)
        which = os.fstat(index)
        if (which.st_dev, which.st_ino) in _IN_USE:
            os.close(index)
            return
        _IN_USE[which.st_dev, which.st_ino] = index
        fcntl.flock(index, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_in_use(folder: Path) -> bool:
    """Say whether a process needs a pack, as far as its file system can tell."""
    if fcntl is None:
        return False
    try:
        with (folder / "index.json").open("r+b") as index:
            fcntl.flock(index, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


def file_names(more_inputs: Sequence[Input], more_targets: Sequence[Target]) -> list[str]:
    """Return the files of a pack with pixels, in the order in which an image's layers are read."""
    names = ["images.bin", "targets.bin", *(input_file(one.name) for one in more_inputs)]
    return names + [target_file(one.name) for one in more_targets]


def input_file(name: str) -> str:
    """Return the file of a further input in a pack."""
    return f"input-{name}.bin"


def target_file(name: str) -> str:
    """Return the file of a further target in a pack."""
    return f"target-{name}.bin"
