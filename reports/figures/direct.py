"""Direct labels: names at the ends of lines, where a reader looks for them, instead of a legend.

In: axes with lines drawn. Out: nothing; names are written into the axes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from reports.style import figure_label

End = tuple[float, float, str]
"""Where a line ends, y and x, and its name."""
MOST = 7
"""Lines that are named at their ends; the names of more would not stand beside them."""
TOGETHER = 0.02
"""Share of the axis within which ends are beneath each other."""


def name_lines(ax: Axes, ends: Sequence[End], palette: Mapping[str, str]) -> None:
    """Write each line's name at its end, moved apart where two would meet."""
    low, high = ax.get_ylim()
    room, floor = (high - low) * 0.055, -np.inf
    for y, x, name in sorted(ends):
        floor = max(y, floor + room)
        beside: Any = {"xytext": (10, 0), "textcoords": "offset points", "annotation_clip": False}
        ax.annotate(figure_label(name, 22), (x, floor), va="center", color=palette[name], **beside)


def can_name(ends: Sequence[End]) -> bool:
    """Say whether lines are few, and end beneath each other: a name amid other lines misleads."""
    places = [x for _, x, _ in ends]
    return 0 < len(ends) <= MOST and max(places) - min(places) <= TOGETHER * max(places)
