"""Text that anyone may have written: shown so that it stays text, a path only if it stays below."""

import shlex
import unicodedata
from pathlib import Path

from fcn.errors import InputError

MAX_BYTES = 200
"""Of a file's name: systems take 255, and files on their way have longer names."""

_BIDI = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def clean(text: object) -> str:
    r"""Write control characters, direction marks and lone surrogates out, as in `\x1b`."""
    text = str(text)
    return text if text.isprintable() else "".join(_visible(char) for char in text)


def is_utf8(text: object) -> bool:
    """Say whether text can be written as UTF-8: names of files are bytes, and may be anything."""
    try:
        str(text).encode()
    except UnicodeEncodeError:
        return False
    return True


def require_utf8(text: object, what: str) -> None:
    """Refuse a name that is to be written into a file of text.

    Raises:
        InputError: It is not UTF-8.
    """
    if not is_utf8(text):
        raise InputError(
            f"{what} {clean(text)} is not UTF-8, and a file of UTF-8 text has to name it; rename it"
        )


def clean_block(text: object) -> str:
    """Clean text of several lines, which keeps its line ends and tabs."""
    lines = str(text).replace("\r\n", "\n").expandtabs(4).split("\n")
    return "\n".join(clean(line) for line in lines)


def sentence(text: object) -> str:
    """Clean text, and end it as a sentence where it is not: what follows it begins another."""
    cleaned = clean(text)
    return cleaned if cleaned.endswith((".", "!", "?")) else f"{cleaned}."


def number_of(number: int, noun: str) -> str:
    """Write a number of things: "1 image", "3 images", "2 classes", "1,200 masks"."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def require_file_name(name: str) -> str:
    """Return a name that can be that of a file, in any folder and nowhere else.

    Raises:
        ValueError: It leads elsewhere, or systems refuse it.
    """
    if not name.isprintable() or set(name) & set("/\\:") or not name.strip(". "):
        raise ValueError(
            f"{name!r} is used as the name of a file; give one without / \\ : and control "
            "characters that is not made of dots"
        )
    if len(name.encode()) > MAX_BYTES:
        raise ValueError(f"{name!r} is too long for the name of a file; {MAX_BYTES} bytes fit")
    return name


def require_path_below(name: str) -> str:
    """Return a name whose parts, separated by /, can be those of a path below any folder.

    Raises:
        ValueError: One of them cannot be the name of a file.
    """
    return "/".join(map(require_file_name, name.split("/")))


def our_command(words: str, root: Path) -> str:
    """Return a command about a store as it can be typed, with the store's folder where needed."""
    where = "" if root == Path("runs") else f" --runs {shlex.quote(str(root))}"
    return f"`fcn-bench {words}{where}`"


def remaking(run_id: str, root: Path) -> str:
    """Say how a run whose files are not to be believed is made again, as the end of a sentence."""
    command = our_command(f"runs prune {run_id}", root)
    return f"{command} removes the run, and the next command makes it again"


def _visible(char: str) -> str:
    if unicodedata.category(char) not in ("Cc", "Cs") and char not in _BIDI:
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
