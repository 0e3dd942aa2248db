"""A page that is followed from its first command to its last; outputs and figures are made anew.

In a page, beside `console` blocks whose commands are run in one folder, in order:

    <!-- writes FILE -->    the block below is what the reader writes into FILE
    <!-- shows FILE -->     the block below is what FILE holds by then
    <!-- figure FILE -->    the image below is a copy of FILE
    <!-- page FILE -->      the image below is how a browser shows FILE, at the top
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from console import Command, read_blocks

Run = Callable[[Command], list[str]]
"""Runs a command in the story's folder; returns the lines that it prints."""
Photograph = Callable[[Path, Path], None]
"""Photographs an HTML file into an image."""

_STEP = re.compile(
    r"(?P<console>^```console\n.*?^```$)"
    r"|^<!-- (?P<kind>writes|shows) (?P<file>\S+) -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$"
    r"|^<!-- (?P<image>figure|page) (?P<source>\S+) -->\n!\[[^\]]*\]\((?P<target>[^)]+)\)$",
    flags=re.M | re.S,
)


def follow(page: Path, folder: Path, run: Run, photograph: Photograph | None = None) -> str:
    """Follow a page in a folder; return its text with what was printed, shown and drawn.

    Args:
        page: The page; images are put where it looks for them, if `photograph` is given.
        folder: Where its commands are run.
        run: Runs a command there.
        photograph: Photographs pages; None leaves all images as they are.
    """

    def step(found: re.Match[str]) -> str:
        if found["console"]:
            return _console(found["console"], run)
        if found["kind"] == "writes":
            (folder / found["file"]).write_text(found["text"], encoding="utf-8")
            return found[0]
        if found["kind"] == "shows":
            text = (folder / found["file"]).read_text(encoding="utf-8")
            return f"<!-- shows {found['file']} -->\n```{found['language']}\n{text.rstrip()}\n```"
        source, target = folder / found["source"], page.parent / found["target"]
        if not source.exists():
            raise FileNotFoundError(f"{page.name}: no command of it made {found['source']}")
        if photograph is not None:
            target.parent.mkdir(exist_ok=True)
            photograph(source, target) if found["image"] == "page" else shutil.copy(source, target)
        return found[0]

    return _STEP.sub(step, page.read_text(encoding="utf-8"))


def _console(block: str, run: Run) -> str:
    lines = []
    for command in read_blocks(block)[0]:
        lines += [f"$ {command.text}", *run(command)]
    return "```console\n" + "\n".join(lines) + "\n```"
