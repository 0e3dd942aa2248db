"""What the cells of several tables have in common: estimates as text, heads."""

from collections.abc import Sequence

import pandas as pd

from reports.style import with_interval, with_spread, writer_of


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


def distinct(names: Sequence[str]) -> list[str]:
    """Number the names that are shown alike, so that each keeps its column."""
    seen: list[str] = []
    for name in names:
        number, shown = 2, name
        while shown in seen:
            number, shown = number + 1, f"{name} ({number})"
        seen.append(shown)
    return seen
