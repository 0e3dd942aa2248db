"""What the cells of several tables have in common: estimates as text, heads."""

from collections.abc import Sequence

import pandas as pd

from reports.style import points, with_interval, with_spread, writer_of


def show_estimates(frame: pd.DataFrame, prefix: str) -> list[str]:
    """Write mean ± deviation [interval] of each row, in percent or the score's own unit."""
    show = writer_of(prefix)
    unknown = pd.Series(float("nan"), frame.index)
    columns = [
        frame.get(f"{prefix}_{kind}", unknown).astype("float64")
        for kind in ("mean", "std", "low", "high")
    ]
    return [
        with_interval(with_spread(show(mean), std, show), low, high, show)
        for mean, std, low, high in zip(*columns, strict=True)
    ]


ADJUSTED = "≈ "
"""Stands before a difference that is not that of the means shown, since seeds are missing."""
ADJUSTED_MEANS = (
    "≈: seeds are missing, so it is by least squares or over common seeds, and not the difference "
    "of the means shown."
)


def show_differences(frame: pd.DataFrame, score: str) -> list[str]:
    """Write what each row differs by from the baseline, in points; marked where it is adjusted."""
    values = frame[f"{score}_diff_mean"]
    adjusted = frame.get(f"{score}_diff_adjusted", pd.Series(False, frame.index))
    return [
        ADJUSTED * bool(is_so) + points(value)
        for value, is_so in zip(values, adjusted, strict=True)
    ]


def distinct(names: Sequence[str]) -> list[str]:
    """Number the names that are shown alike, so that each keeps its column."""
    seen: list[str] = []
    for name in names:
        number, shown = 2, name
        while shown in seen:
            number, shown = number + 1, f"{name} ({number})"
        seen.append(shown)
    return seen
