"""Figures without pyplot: nothing is global, nothing stays open, the same bytes every time.

In: a size, or a figure. Out: a figure with axes, or its rendering.
"""

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.style import theme

WIDTH = 10.0
"""Inches; the page shows it at its full text width."""


def new_figure(
    size: tuple[float, float], rows: int, columns: int, **share: Any
) -> tuple[Figure, Any]:
    """Make a figure and its axes (an array, rows x columns) without pyplot."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **share)


def save_figure(figure: Figure, *, svg: bool = True) -> dict[str, bytes]:
    """Render a figure as bytes by file suffix, the same bytes every time."""
    kinds: dict[str, dict[str, Any]] = {
        ".svg": {"metadata": {"Date": None, "Creator": None}},
        ".png": {"metadata": {"Software": None}, "dpi": 160},
    }
    rendered = {}
    with theme():
        for suffix, options in kinds.items():
            if svg or suffix == ".png":
                buffer = io.BytesIO()
                figure.savefig(buffer, format=suffix[1:], **options)
                rendered[suffix] = buffer.getvalue()
    return rendered
