"""Lists that come with fcn-bench: classes and splits of published data sets, each with its source.

In: the name of a file in `lists/`, whose first lines say what it is and where it is from. Out: its
names, in their order.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from bench.data.files import read_lines

FOLDER = Path(__file__).parent / "lists"


@lru_cache(maxsize=64)
def read_published(name: str) -> tuple[str, ...]:
    """Return the names that a list holds."""
    return tuple(line for line in read_lines(FOLDER / f"{name}.txt") if not line.startswith("#"))


def read_splits(root: Path, lists: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return splits by lists that lie in a data set's folder, else by those that come with us.

    Args:
        root: Folder of the data set.
        lists: By split: the name of its file there, and of ours.

    Raises:
        InputError: A file cannot be read.
    """
    return {
        split: tuple(read_lines(root / own)) if (root / own).is_file() else read_published(ours)
        for split, (own, ours) in lists.items()
    }
