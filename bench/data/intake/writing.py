"""The files that an intake writes: `classes.yaml`, `splits.yaml`, `groups.txt`, `pairs.csv`.

In: what was found and guessed. Out: texts that read back as the same.
"""

import csv
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.data.class_map import rgb_of, write_key
from bench.data.intake.guess import Guess
from bench.data.intake.pairing import Pair
from bench.text import clean

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]*[A-Za-z0-9_]|[A-Za-z_]")
_WORDS = {"true", "false", "null"}


def word(text: str) -> str:
    """Write a word as YAML has it: as it stands where it can be nothing else."""
    is_plain = _PLAIN.fullmatch(text) is not None and text not in _WORDS
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def write_classes(
    guess: Guess,
    *,
    places: Mapping[str, str],
    settings: Mapping[str, str],
    said: Sequence[str],
) -> str:
    """Write `classes.yaml`.

    Args:
        guess: Classes and void.
        places: `images` and `masks`, or `pairs`.
        settings: Further keys, as they are written.
        said: Sentences for its head.
    """
    lines = [
        "# What the masks hold; change names, merge classes, move values to void as you like.",
        *(f"# {clean(line)}" for line in said),
    ]
    lines += [f"{key}: {json.dumps(text, ensure_ascii=False)}" for key, text in places.items()]
    lines += [f"{key}: {text}" for key, text in settings.items()]
    lines.append("classes:")
    for name, keys in guess.classes.items():
        listed = ", ".join(write_key(guess.kind, key) for key in keys)
        shown = ""
        if name in guess.shown:
            shown = f", shown: {list(rgb_of(guess.shown[name]))}"
        lines.append(f"  {word(name)}: {{{guess.kind}: [{listed}]{shown}}}")
    if guess.void:
        listed = ", ".join(write_key(guess.kind, key) for key in guess.void)
        lines.append(f"void: [{listed}]")
    return "\n".join(lines) + "\n"


def write_splits(splits: Mapping[str, Sequence[str]], source: str) -> str:
    """Write `splits.yaml`, a name on each line."""
    lines = [f"# {clean(source)}"]
    for split, names in splits.items():
        lines += [f"{split}:", *(f"  - {word(name)}" for name in names)]
    return "\n".join(lines) + "\n"


def write_groups(groups: Mapping[str, str]) -> str:
    """Write `groups.txt`: a group is one word there."""
    numbers = {group: n for n, group in enumerate(sorted(set(groups.values())))}
    words = {
        group: group if group and not re.search(r"\s", group) else f"group-{n}"
        for group, n in numbers.items()
    }
    return "".join(f"{name} {words[group]}\n" for name, group in sorted(groups.items()))


def write_pairs(pairs: Sequence[Pair], folder: Path) -> str:
    """Write `pairs.csv`, with paths relative to the folder that it is for."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "image", "mask"))
    for one in pairs:
        writer.writerow((one.name, relative(one.image, folder), relative(one.mask, folder)))
    return text.getvalue()


def relative(path: Path | str, folder: Path) -> str:
    """Return a path, or a pattern, as seen from a folder, with / between folders."""
    return Path(os.path.relpath(path, folder)).as_posix()
