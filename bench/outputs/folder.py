"""What commands write into folders of others: only that is replaced or removed later.

    <folder>/fcn-bench.json   {"format": 1, "files": {NAME: {"by": .., "of": {..}, "sha256": [..]}}}

A file is ours where the manifest has its name with its content: one that was changed by hand since
is somebody's. `of` says what it shows; what shows something else is never replaced. The manifest is
written last, and also first, with the contents to come: a command that is killed on its way does
not take its own files for somebody's, nor do two that write one report at a time.
"""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from bench.store.atomic import file_digest, replacing
from bench.text import clean, require_path_below
from fcn.errors import InputError

MANIFEST = "fcn-bench.json"
NUM_KEPT = 3
"""Contents that a manifest keeps of a name: of the last writings, which may have overlapped."""
NUM_NAMED = 3
"""Files that a refusal names, of those that share a reason."""


class _File(BaseModel):
    """What is known of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str
    """The command that wrote it."""
    of: dict[str, str]
    """What it shows, by one name or several; one in common makes two the same."""
    sha256: list[str]
    """Of its contents, the newest first."""


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    files: dict[Annotated[str, AfterValidator(require_path_below)], _File]


class Outputs:
    """A folder as one command sees it.

    Args:
        folder: The folder; made with the first file.
        by: The command.
        of: What its files show: see `_File.of`.
        option: How another folder is chosen, for refusals.
        earlier: What an earlier version wrote here, which kept no manifest: what each shows, by
            name. Asked only where there is none.
        chosen: Whether somebody named this very folder: then what the same command wrote there of
            something else is replaced too, as long as nobody changed it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        by: str,
        of: Mapping[str, str],
        option: str = "--out DIR",
        earlier: Mapping[str, Mapping[str, str]] | None = None,
        chosen: bool = False,
    ) -> None:
        self.folder, self._by, self._chosen = folder, by, chosen
        self._of = {name: clean(text) for name, text in of.items()}
        self._option, self._earlier = option, earlier or {}

    def require(self, names: Iterable[str]) -> None:
        """See, before anything is computed, that files of these names can be written.

        Raises:
            InputError: There are files of that name which are not ours to replace, or a name is
                none that a manifest holds.
            OSError: Nothing can be written here.
        """
        require_writable(self.folder)
        try:
            names = list(map(require_path_below, names))
        except ValueError as error:
            raise InputError(str(error)) from None
        # Looked at again: a file may be of another command that wrote it after the first look.
        if self._find_reasons(names) and (reasons := self._find_reasons(names)):
            said = "; ".join(f"{_list_names(found)} {why}" for why, found in reasons.items())
            raise InputError(
                f"{self.folder} holds what is not to be replaced: {said}. Choose another folder "
                f"with {self._option}, or move those files away"
            )

    def own(self) -> list[str]:
        """Return the names of the files here that are of the same command and show the same."""
        return [name for name, file in self._read().items() if not self._why_not(name, file)]

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write files in their order, each at once; remove what is left of the last writing.

        Raises:
            InputError: A file of one of the names is not ours to replace; nothing is written.
            OSError: A file cannot be written.
        """
        self.require(contents)
        stale = [name for name in self.own() if name not in contents]
        self._record(contents, without=())
        for name in stale:
            (self.folder / name).unlink(missing_ok=True)
        for name, content in contents.items():
            with replacing(self.folder / name) as temporary:
                temporary.write_bytes(content)
        self._record(contents, without=stale)

    def _find_reasons(self, names: list[str]) -> dict[str, list[str]]:
        """Return names that are not ours to write, by reason."""
        known = self._read()
        reasons: dict[str, list[str]] = {}
        for name in names:
            if why := self._why_not(name, known.get(name)):
                reasons.setdefault(why, []).append(name)
        return reasons

    def _why_not(self, name: str, file: _File | None) -> str | None:
        """Say why a name is not ours to write; None if it is."""
        path = self.folder / name
        for parent in path.parents[: len(Path(name).parts) - 1]:
            if os.path.lexists(parent) and not parent.is_dir():
                return f"cannot be written: {parent.relative_to(self.folder)} is no folder"
        if not os.path.lexists(path):
            return None
        if file is None or not path.is_file():
            return "is not a file that fcn-bench wrote"
        is_same = self._chosen or file.of.items() & self._of.items()
        if file.by != self._by or not is_same:
            return f"is of another {file.by}, {self._describe(file.of)}"
        try:
            return None if file_digest(path) in file.sha256 else "was changed since it was written"
        except FileNotFoundError:  # another command has just removed its own
            return None

    def _describe(self, of: Mapping[str, str]) -> str:
        if "file" in of:
            return f"that of {os.path.normpath(self.folder / of['file'])}"
        return f"that of {next(iter(of.values()), 'what nobody noted')}"

    def _read(self) -> dict[str, _File]:
        path = self.folder / MANIFEST
        try:
            return _Manifest.model_validate_json(path.read_bytes()).files
        except FileNotFoundError:
            return {
                name: _File(by=self._by, of=dict(of), sha256=[file_digest(self.folder / name)])
                for name, of in self._earlier.items()
                if (self.folder / name).is_file()
            }
        except (OSError, ValueError):
            raise InputError(
                f"{path} is not what this version writes there: damaged, of another version or "
                f"somebody's, so that nobody knows which files here are ours. Choose another "
                f"folder with {self._option}, or move {MANIFEST} away"
            ) from None

    def _record(self, contents: Mapping[str, bytes], without: Collection[str]) -> None:
        """Note what is being written, beside what else is known: another may be writing too."""
        files = {name: file for name, file in self._read().items() if name not in without}
        for name, content in contents.items():
            digest = hashlib.sha256(content).hexdigest()
            earlier = [
                one for one in (files[name].sha256 if name in files else ()) if one != digest
            ]
            kept = [digest, *earlier][:NUM_KEPT]
            files[name] = _File(by=self._by, of=self._of, sha256=kept)
        manifest = _Manifest(files=dict(sorted(files.items())))
        text = json.dumps(manifest.model_dump(), indent=1, ensure_ascii=False)
        with replacing(self.folder / MANIFEST) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def require_writable(folder: Path) -> None:
    """See that files can be written into a folder, which need not be there yet; leaves nothing.

    Raises:
        OSError: They cannot; it names the folder, or the file that is in its way.
    """
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


def _list_names(names: list[str]) -> str:
    more = len(names) - NUM_NAMED
    return ", ".join(names[:NUM_NAMED]) + (f" and {more} more" if more > 0 else "")
