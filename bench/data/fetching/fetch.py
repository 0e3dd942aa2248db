"""A published data set brought here: downloaded, known by its digest, unpacked, moved in.

    DIR/<folder>.part/              archives that somebody put there, and what is unpacked
    DIR/<folder>.part/downloaded/   archives on their way; gone at the end
    DIR/<folder>                    the data set, by one rename

What broke off is gone on with by the next call. What is there already is left as it is, an archive
that somebody put there too.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.data.fetching.archives import unpack
from bench.data.fetching.published import PUBLISHED, Archive, Published
from bench.durations import spell_bytes
from bench.store.atomic import umask
from fcn.download import DownloadError, fetch, file_hash
from fcn.errors import InputError

DOWNLOADED = "downloaded"

Progress = Callable[[str, int, int], None]
"""Told of a file's name, its bytes that are here, and all of its bytes."""


def fetch_dataset(
    name: str, data_dir: Path, *, keep_archives: bool = False, progress: Progress | None = None
) -> Path:
    """Bring a published data set into a folder; uses the network and the disk.

    Args:
        name: Of the data set.
        data_dir: What `--data` names later.
        keep_archives: Leave what was downloaded where it is.
        progress: Told what is downloaded.

    Returns:
        Its folder below `data_dir`.

    Raises:
        InputError: It is not served, cannot be had, or is not what it should be.
    """
    published = PUBLISHED[name]
    place = data_dir / published.folder
    if os.path.lexists(place):
        raise InputError(
            f"{place} is there already, and nothing is written over; `fcn-bench data check {name} "
            f"--data {data_dir}` looks at it, or give another folder with --data"
        )
    scratch = place.with_name(f"{place.name}.part")
    scratch.mkdir(parents=True, exist_ok=True)
    _require_room(name, published, scratch)
    files = [_download(name, one, scratch, progress) for one in published.archives]
    unpacked = Path(tempfile.mkdtemp(prefix="unpacked-", dir=scratch))
    try:
        for one, file in zip(published.archives, files, strict=True):
            _put(one, file, unpacked)
        if published.content and (found := content_digest(unpacked)) != published.content:
            listed = " and ".join(map(str, files))
            raise InputError(
                f"what {listed} holds is not what {name}'s publisher sent once: the sha256 over "
                f"its files is {found}, not {published.content}; nothing of it was taken. "
                f"{_anew(listed)}"
            )
        unpacked.chmod(0o777 & ~umask())
        _move_in(unpacked, place)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    if not keep_archives:
        for file in files:
            if file.parent.name == DOWNLOADED:
                file.unlink(missing_ok=True)
    for folder in (scratch / DOWNLOADED, scratch):
        with suppress(OSError):  # something is in it
            folder.rmdir()
    return place


def content_digest(folder: Path) -> str:
    """Return the SHA-256 over a folder's files, as these commands do.

    `find . -type f | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum`
    """
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    total = hashlib.sha256()
    for name in sorted(names, key=os.fsencode):
        total.update(f"{file_hash(folder / name)}  {name}\n".encode())
    return total.hexdigest()


def _download(name: str, one: Archive, scratch: Path, progress: Progress | None) -> Path:
    given = scratch / one.address.rpartition("/")[2]
    file = given if given.is_file() else scratch / DOWNLOADED / given.name
    try:
        return fetch(
            one.address,
            file,
            one.wanted,
            (lambda here, total: progress(file.name, here, total)) if progress else None,
        )
    except DownloadError as error:
        if file.is_file():
            raise InputError(
                f"{file} is not {one.address}, of data set {name!r}: {error}. {_anew(file)}"
            ) from None
        raise InputError(
            f"{one.address}, of data set {name!r}, cannot be had: {error}. The same command goes "
            f"on with what has come; or fetch the file another way, put it at {given}, and give "
            "the same command"
        ) from None


def _anew(file: object) -> str:
    return f"Delete {file}, and the same command downloads it anew"


def _put(one: Archive, file: Path, folder: Path) -> None:
    """Unpack an archive, or copy a file that is none, to its place in a folder."""
    if one.is_packed:
        try:
            unpack(file, folder / one.into, inside=one.inside, limits=one.limits)
        except InputError as error:
            if one.wanted.digest:  # it is the publisher's
                raise
            raise InputError(f"{error}. {_anew(file)}") from None
    else:
        (folder / one.into).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / one.into)


def _move_in(unpacked: Path, place: Path) -> None:
    """Give a data set its name, unless another command was faster."""
    try:
        unpacked.rename(place)
    except OSError as error:
        raise InputError(f"{place} is there already, and nothing is written over") from error


def _require_room(name: str, published: Published, folder: Path) -> None:
    needed = 2 * sum(one.wanted.size or 0 for one in published.archives)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{name} takes about {spell_bytes(needed)} while it is unpacked, and "
            f"{spell_bytes(free)} are free in {folder}; make room, or give another folder with "
            "--data"
        )
