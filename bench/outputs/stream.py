"""What a command wrote into a folder, so that it touches nothing there that it did not make.

`.fcn-bench-MAKER.jsonl` holds the path below the folder and the SHA-256 of every file written by
one maker: a run that predicted, a report. A line is there before its file is, so that what was
written in the moment of a kill is known too. A file is its maker's as long as its content is.
"""

import hashlib
import json
import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from bench.store.atomic import append_lines, file_digest, replacing
from fcn.errors import InputError

PREFIX, SUFFIX = ".fcn-bench-", ".jsonl"


class Manifest:
    """The files of one maker below one folder; reads disk.

    Args:
        folder: The folder, whether or not it is there.
        maker: Who writes, such as "run-0123456789abcdef"; a name that can be part of a file's.
    """

    def __init__(self, folder: Path, maker: str) -> None:
        self.folder = folder
        self.path = folder / f"{PREFIX}{maker}{SUFFIX}"
        self.files = _read(self.path)
        """Path below the folder, with /, -> what it was made of, by digest of what was written."""

    def is_ours(self, path: Path, of: str | None = None) -> bool:
        """Say whether a file is one that this maker wrote, unchanged since.

        Args:
            path: A file, anywhere.
            of: What it must have been made of; None for anything.
        """
        made = self.files.get(self._name(path), {})
        if not made or not path.is_file():
            return False
        digest = file_digest(path)
        return digest in made and of in (None, made[digest])

    def may_write(self, path: Path, of: str | None = None) -> bool:
        """Say whether nothing is there, or what this maker wrote."""
        return not os.path.lexists(path) or self.is_ours(path, of)

    def write(self, path: Path, content: bytes, of: str = "") -> None:
        """Write a file below the folder, atomically, and note it.

        Args:
            path: Where.
            content: What.
            of: What it is made of.

        Raises:
            InputError: Something else is there.
        """
        if not self.may_write(path, of):
            raise InputError(f"{path} is there, and is not what this command wrote; move it away")
        name, digest = self._name(path), hashlib.sha256(content).hexdigest()
        if self.files[name].get(digest) != of:
            append_lines(self.path, [json.dumps({"file": name, "of": of, "sha256": digest})])
            self.files[name][digest] = of
        with replacing(path) as temporary:
            temporary.write_bytes(content)

    def _name(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.folder)).as_posix()


def find_manifests(folder: Path) -> list[Manifest]:
    """Return those that lie in a folder itself."""
    return [
        Manifest(folder, path.name.removeprefix(PREFIX).removesuffix(SUFFIX))
        for path in sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))
    ]


def _read(path: Path) -> defaultdict[str, dict[str, str]]:
    """Read a manifest; a line that was cut or changed speaks for no file."""
    files: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        with suppress(ValueError, TypeError, KeyError):
            values = json.loads(line)
            files[str(values["file"])][str(values["sha256"])] = str(values["of"])
    return files
