"""Archives of strangers unpacked: files and folders alone, below one folder, within limits.

In: a tar, a tar.gz or a zip, and an empty folder. Out: files in that folder, or a refusal.
By hand, for the libraries' own ways follow what an archive says: links, absolute names, modes, and
any number of bytes. tarfile's filters came with Python 3.11.4 and had holes of their own
(CVE-2025-4517).
"""

import gzip
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from bench.durations import spell_bytes
from bench.text import require_path_below
from fcn.errors import InputError

BLOCK = 1 << 20
LONGEST_READ = 1 << 24
"""Most bytes that are ever read at once: tarfile reads names and notes of any length whole."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of packing in a zip; the others may take any memory."""
NO_TYPE, ENCRYPTED = 0, 1


@dataclass(frozen=True)
class Limits:
    """What an archive may come to."""

    files: int = 200_000
    """Files and folders in it, whether or not they are taken."""
    bytes: int = 16 * 2**30
    """Bytes of all of them."""
    ratio: float = 100.0
    """Bytes of all of them to one of the archive: photographs give less than two, masks ten."""


def unpack(archive: Path, folder: Path, *, inside: str = "", limits: Limits | None = None) -> int:
    """Write an archive's files into a folder and return how many; nothing there is written over.

    Args:
        archive: The file. What it is is told by its content.
        folder: Where its files go; made if it is not there.
        inside: The folder in the archive whose files are taken; others are passed over.
        limits: What it may come to.

    Raises:
        InputError: It is no archive, is damaged, goes beyond a limit, or holds what is neither a
            file nor a folder, or has a name that leads elsewhere or that another has too.
    """
    taking = _Taking(archive, folder, inside.strip("/"), limits or Limits())
    with archive.open("rb") as file:
        kind = file.read(2)
    try:
        if kind == b"PK":
            _unpack_zip(archive, taking)
        else:
            _unpack_tar(archive, taking, is_compressed=kind == b"\x1f\x8b")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{archive} is damaged, or no tar or zip: {error}") from None
    if not taking.num_files:
        raise InputError(f"{archive} holds no file" + (f" below {inside}" if inside else ""))
    return taking.num_files


def _unpack_zip(archive: Path, taking: "_Taking") -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            taking.count(member.file_size)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir() or kind == stat.S_IFDIR:
                continue
            if kind not in (NO_TYPE, stat.S_IFREG):
                raise taking.refuse(member.filename, "is neither a file nor a folder")
            if member.flag_bits & ENCRYPTED or member.compress_type not in METHODS:
                raise taking.refuse(member.filename, "is encrypted, or packed in an unusual way")
            # As it stands in the file: zipfile cuts names at NUL, and turns what separates them.
            if (place := taking.place_of(member.orig_filename)) is not None:
                with opened.open(member) as content:
                    taking.write(place, content, member.file_size)


def _unpack_tar(archive: Path, taking: "_Taking", *, is_compressed: bool) -> None:
    opener: Any = gzip.open if is_compressed else Path.open
    with (
        opener(archive, "rb") as plain,
        tarfile.open(fileobj=cast(Any, _Bounded(plain, taking)), mode="r:") as opened,
    ):
        for member in opened:
            taking.count(member.size)
            if member.isdir():
                continue
            # A sparse file has holes: a few bytes of it come to any number.
            if not member.isreg() or member.issparse():
                raise taking.refuse(member.name, "is neither a file nor a folder")
            if (place := taking.place_of(member.name)) is not None:
                with cast(IO[bytes], opened.extractfile(member)) as content:
                    taking.write(place, content, member.size)
        plain.seek(opened.offset)  # tarfile takes a damaged head for the end
        if plain.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"there is no file's head at byte {opened.offset}")


class _Taking:
    """What has been taken from an archive so far."""

    def __init__(self, archive: Path, folder: Path, inside: str, limits: Limits) -> None:
        self.archive, self._folder, self._limits = archive, folder, limits
        self._inside = f"{inside}/" if inside else ""
        packed = max(archive.stat().st_size, BLOCK)
        self._most_bytes = int(min(limits.bytes, packed * limits.ratio))
        self.most_plain_bytes = self._most_bytes + limits.files * 2 * tarfile.BLOCKSIZE
        """Bytes of a tar with heads and padding."""
        self.num_files = 0
        self._num_members = self._num_bytes = 0
        self._names: set[str] = set()

    def count(self, size: int) -> None:
        """Count a member, whether or not it is taken.

        Raises:
            InputError: There are too many, or they come to too much.
        """
        self._num_members += 1
        self._num_bytes += size
        if self._num_members > self._limits.files:
            raise InputError(
                f"{self.archive} holds more than {self._limits.files} files; nothing is taken from "
                "it"
            )
        if self._num_bytes > self._most_bytes:
            raise self.too_large()

    def place_of(self, name: str) -> Path | None:
        """Return where a file goes; None if it is not taken.

        Raises:
            InputError: Its name leads elsewhere, or another has it too.
        """
        plain = name.removeprefix("./")
        try:
            require_path_below(plain)
        except ValueError as error:
            raise self.refuse(name, f"is no name for a file here: {error}") from None
        if not plain.startswith(self._inside):
            return None
        # As file systems compare that take no notice of capitals, or of how letters are composed.
        alike = unicodedata.normalize("NFC", plain).casefold()
        if alike in self._names:
            raise self.refuse(name, "is there twice")
        self._names.add(alike)
        return self._folder / plain.removeprefix(self._inside)

    def write(self, place: Path, content: IO[bytes], size: int) -> None:
        """Write a file, and see that it is of the size it was said to have."""
        rest = size
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                while rest >= 0 and (block := content.read(min(BLOCK, rest + 1))):
                    rest -= file.write(block)
        except (FileExistsError, NotADirectoryError):
            raise self.refuse(place.name, "is a file and a folder at once") from None
        if rest:
            raise self.refuse(place.name, "has another size than it was said to have")
        self.num_files += 1

    def refuse(self, name: str, why: str) -> InputError:
        """Return the refusal of an archive for one of its members."""
        return InputError(f"{self.archive} holds {name!r}, which {why}; nothing is taken from it")

    def too_large(self) -> InputError:
        """Return the refusal of an archive that comes to too much."""
        return InputError(
            f"{self.archive} comes to more than {spell_bytes(self._most_bytes)}, which is more "
            "than a data set of its size would; nothing is taken from it"
        )


class _Bounded:
    """A tar as tarfile reads it: never much at once, and never beyond what it may come to."""

    def __init__(self, plain: IO[bytes], taking: _Taking) -> None:
        self._plain, self._taking = plain, taking

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LONGEST_READ:  # a name or a note of that length
            raise self._taking.too_large()
        self._require(self._plain.tell() + size)
        return self._plain.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        self._require(place)
        return self._plain.seek(place, whence)

    def tell(self) -> int:
        return self._plain.tell()

    def _require(self, place: int) -> None:
        if place > self._taking.most_plain_bytes:
            raise self._taking.too_large()
