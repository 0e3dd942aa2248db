"""Which files a pattern means, and the stem of each: `photos/{stem}.jpg`, `gt/{stem}_mask.png`.

In: a folder, or a path with `{stem}`. Out: files by stem. `{stem}` may reach over folders; `*` is
anything within a name, and `.*` at the end any image, however its ending is written.
"""

import os
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bench.data.files import files_below
from bench.data.formats import SUFFIXES
from fcn.errors import InputError

ANY_IMAGE = "(?:" + "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES)) + ")"
PARTS = {"{stem}": "(.+)", "{folder}": "(.+)", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_TOKENS = re.compile(r"\{stem\}|\{folder\}|\*\*|\*|\?")
JUNK = ("thumbs.db", "desktop.ini")
"""Files that systems leave in folders, in lower case; hidden ones are passed over too."""


@dataclass(frozen=True)
class Pattern:
    """Files below one folder whose paths look alike."""

    base: Path
    """Folder below which they lie."""
    rest: str
    """Their paths below it, with `{stem}`."""

    @classmethod
    def parse(cls, text: str, root: Path, *, where: str) -> "Pattern":
        """Read a pattern, or the name of a folder, which means all images in it and below.

        Args:
            text: As a person wrote it, with / between folders.
            root: Folder that it is relative to.
            where: File and key, put into messages.

        Raises:
            InputError: It has no `{stem}`, or more than one; or its folder is not there.
        """
        plain = text.replace("\\", "/")
        if (root / plain).is_dir():
            return cls(_from(root, Path(plain)), "{stem}.*")
        if plain.count("{stem}") != 1 or plain.count("{folder}") > 1:
            raise InputError(
                f"{where} is {text!r}, which is no folder in {root} and no pattern: write "
                "{stem} once for the part of the path by which an image and its mask belong "
                "together, such as photos/{stem}.jpg and masks/{stem}_mask.png"
            )
        parts = plain.split("/")
        depth = next(n for n, part in enumerate(parts) if _TOKENS.search(part))
        base = Path("/" if depth and not parts[0] else "", *parts[:depth])
        if not (root / base).is_dir():
            raise InputError(f"{where} is {text!r}, and {root / base} is no folder")
        return cls(_from(root, base), "/".join(parts[depth:]))

    def find(self, root: Path, passed_over: Collection[Path] = ()) -> dict[str, list[Path]]:
        """Return the files relative to `root` by stem in Unicode's composed form; reads disk.

        Hidden files and those that systems leave are passed over.

        Args:
            root: Folder of the dataset.
            passed_over: Files, relative to it, that mean something else.
        """
        folder, skip = root / self.base, set(passed_over)
        expression = self._compile()
        found: dict[str, list[Path]] = {}
        for path in files_below(folder):
            below = path.relative_to(folder)
            if any(part.startswith(".") for part in below.parts) or path.name.lower() in JUNK:
                continue
            match = expression.fullmatch(compose(below.as_posix()))
            relative = self.base / below
            if match and relative not in skip:
                found.setdefault("/".join(match.groups()), []).append(relative)
        return found

    def _compile(self) -> re.Pattern[str]:
        rest, ending = compose(self.rest), ""
        if rest.endswith(".*"):
            rest, ending = rest[:-2], ANY_IMAGE
        pieces, place = [], 0
        for token in _TOKENS.finditer(rest):
            pieces += [re.escape(rest[place : token.start()]), PARTS[token[0]]]
            place = token.end()
        tail, suffix = os.path.splitext(rest[place:]) if not ending else (rest[place:], "")
        # Only the ending is read in any case: of stems, some systems tell a from A.
        pieces += [re.escape(tail), f"(?i:{re.escape(suffix)}{ending})"]
        return re.compile("".join(pieces), re.DOTALL)


def _from(root: Path, path: Path) -> Path:
    """Return a path relative to a folder; one that leads out of it whole, as messages show it.

    Out of a folder that is a link it leads to neighbours of what is linked.
    """
    return Path(os.path.abspath(root.resolve() / path)) if ".." in path.parts else path


def compose(name: str) -> str:
    """Return a name in Unicode's composed form: macOS writes letters and accents apart."""
    return unicodedata.normalize("NFC", name)
