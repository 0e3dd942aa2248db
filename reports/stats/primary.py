"""The primary score: the one that a report decides on, as its frames tell.

In: a frame of variants or changes. Out: the name of the score whose contrasts are the page's
family. A question may name another than mIoU (`score.primary`); its frames then have the columns of
that score, so that whoever reads a frame, or its CSV file, needs nothing beside it.
"""

from collections.abc import Iterable
from typing import Any

PRIMARY = "miou"
"""Where a question names none."""


def primary_of(columns: Iterable[Any]) -> str:
    """Return the score that a frame, or a row of it, decides on, by its columns.

    Of variants that is the one with marks (`<score>_best`), of changes the one with words
    (`<score>_diff_word`); of a frame that says neither, mIoU.
    """
    names = [str(name) for name in columns]
    for ending in ("_best", "_diff_word"):
        found = [name for name in names if name.endswith(ending)]
        if len(found) == 1:
            return found[0].removesuffix(ending)
    return PRIMARY


def compared_scores(primary: str) -> tuple[str, str]:
    """Return the two scores that are shown of every difference: the primary, and one beside it."""
    return primary, "miou" if primary == "pixel_acc" else "pixel_acc"
