"""Text that anyone may have written, shown so that it stays text: on terminals and on pages."""

import unicodedata

_BIDI = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def clean(text: object) -> str:
    r"""Write control characters, direction marks and lone surrogates out, as in `\x1b`."""
    return "".join(_visible(char) for char in str(text))


def clean_block(text: object) -> str:
    """Clean text of several lines, which keeps its line ends and tabs."""
    lines = str(text).replace("\r\n", "\n").expandtabs(4).split("\n")
    return "\n".join(clean(line) for line in lines)


def _visible(char: str) -> str:
    if unicodedata.category(char) not in ("Cc", "Cs") and char not in _BIDI:
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
