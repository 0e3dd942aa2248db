"""What the cells of several tables have in common: estimates as text, heads, the best value."""

from collections.abc import Sequence

import pandas as pd

from reports.style import percent, with_interval, with_spread


def show_estimates(frame: pd.DataFrame, prefix: str) -> list[str]:
    """Write mean ± deviation [interval] of each row, in percent."""
    unknown = pd.Series(float("nan"), frame.index)
    columns = [
        frame.get(f"{prefix}_{kind}", unknown).astype("float64")
        for kind in ("mean", "std", "low", "high")
    ]
    return [
        with_interval(with_spread(percent(mean), std), low, high)
        for mean, std, low, high in zip(*columns, strict=True)
    ]


def best_rows(values: pd.Series) -> list[int]:
    """Return the positions of the highest value; none where there is nothing to be better than.

    Zero is not the best of anything: a class that nobody predicts has no best.
    """
    if values.notna().sum() < 2 or not values.max() > 0:
        return []
    return [i for i, value in enumerate(values) if value == values.max()]


def distinct(names: Sequence[str]) -> list[str]:
    """Number the names that are shown alike, so that each keeps its column."""
    seen: list[str] = []
    for name in names:
        number, shown = 2, name
        while shown in seen:
            number, shown = number + 1, f"{name} ({number})"
        seen.append(shown)
    return seen
