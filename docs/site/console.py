"""Commands in Markdown: what its `console` blocks hold, block by block, with what each prints.

A line that begins with `$ ` is a command, with its continuations; what follows is its output.
"""

import re
from dataclasses import dataclass

_BLOCK = re.compile(r"^```console\n(.*?)^```$", flags=re.M | re.S)


@dataclass(frozen=True)
class Command:
    """One command as it is printed."""

    text: str
    """The line, continuations included, without `$ `."""
    output: tuple[str, ...]
    """The lines below it."""
    line: int
    """Where it stands in the file, from 1."""


def read_blocks(text: str) -> list[list[Command]]:
    """Return the commands of each console block of a page."""
    return [
        _read(found[1], text[: found.start()].count("\n") + 2) for found in _BLOCK.finditer(text)
    ]


def _read(block: str, first: int) -> list[Command]:
    commands: list[tuple[int, list[str], list[str]]] = []
    for line, content in enumerate(block.splitlines(), first):
        if content.startswith("$ "):
            commands.append((line, [content[2:]], []))
        elif commands and not commands[-1][2] and commands[-1][1][-1].endswith("\\"):
            commands[-1][1].append(content)
        elif commands:
            commands[-1][2].append(content)
        else:
            raise ValueError(f"line {line} of a console block is neither a command nor its output")
    return [Command("\n".join(said), tuple(out), line) for line, said, out in commands]


def simple_commands(text: str) -> list[str]:
    """Return the parts of a line that a shell runs one after the other, or joins by pipes."""
    return [part.strip() for part in re.split(r"&&|\||;(?! *done)", text) if part.strip()]
