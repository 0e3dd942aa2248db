"""Sentences with citations, written as text, Markdown and LaTeX.

In: paragraphs. Out: text; citations stand between control characters, which no name can hold.
"""

import re
from collections.abc import Callable, Sequence

from reports.formats import escape_latex, escape_markdown

Paragraph = tuple[str, list[str]]
"""Title and sentences."""
_CITATION = re.compile("\x02(.*?)\x03")


def cite(*keys: str) -> str:
    """Return a citation of references by key, to stand in a sentence."""
    return f"\x02{';'.join(keys)}\x03"


def list_cited(paragraphs: Sequence[Paragraph]) -> list[str]:
    """List the keys that paragraphs cite, in their order."""
    text = "".join(sentence for _, sentences in paragraphs for sentence in sentences)
    return [key for found in _CITATION.findall(text) for key in found.split(";")]


def to_text(paragraphs: Sequence[Paragraph]) -> str:
    """Write paragraphs as they are read, with keys of what they cite."""
    parts = [f"{title}. {_fill(' '.join(text), str, _cite_key)}" for title, text in paragraphs]
    return "\n\n".join(parts)


def to_markdown(paragraphs: Sequence[Paragraph]) -> str:
    """Write paragraphs as Markdown, with citations as pandoc has them."""
    parts = [
        f"**{title}.** {_fill(' '.join(text), escape_markdown, _cite_key)}"
        for title, text in paragraphs
    ]
    return "\n\n".join(parts) + "\n"


def to_latex(paragraphs: Sequence[Paragraph]) -> str:
    r"""Write paragraphs as LaTeX, with `\cite`."""
    parts = [
        rf"\paragraph{{{title}.}} {_fill(' '.join(text), escape_latex, _cite_latex)}"
        for title, text in paragraphs
    ]
    head = "% citations: \\bibliography{references}\n"
    return head + "\n\n".join(parts) + "\n"


def _cite_key(keys: str) -> str:
    return f" [{'; '.join(f'@{key}' for key in keys.split(';'))}]"


def _cite_latex(keys: str) -> str:
    return rf"~\cite{{{keys.replace(';', ',')}}}"


def _fill(text: str, escape: Callable[[str], str], write: Callable[[str], str]) -> str:
    """Escape what stands between citations, and write these, each of keys between semicolons."""
    parts = _CITATION.split(text)
    return "".join(write(part) if k % 2 else escape(part) for k, part in enumerate(parts))
