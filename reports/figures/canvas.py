"""Figures without pyplot: nothing is global, nothing stays open, the same bytes every time.

In: a size, or a figure. Out: a figure with axes, or its renderings on a white and a dark ground.
A `Drawing` also remembers what its points are called, for a reader who points at them.
"""

import io
import re
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.style import ON_DARK, theme

WIDTH = 10.0
"""Inches; the page shows it at its full text width."""
Mark = tuple[int, int, str]
"""A named point: thousandths of the figure's width from the left, of its height from the top."""


class Drawing(Figure):
    """A figure with names for its points."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._named: list[tuple[Axes, float, float, str, str]] = []
        FigureCanvasAgg(self)

    def name_point(self, ax: Axes, x: float, y: float, text: str, variant: str = "") -> None:
        """Name a point of the data; what has no finite place is left out.

        Args:
            ax: Where it is drawn.
            x: Its place in the data.
            y: Likewise.
            text: What it says.
            variant: Which variant it is of, so that others of it are lit with it; empty for none.
        """
        if x == x and y == y:
            self._named.append((ax, float(x), float(y), text, variant))

    def marks(self) -> list[Mark]:
        """Return the named points where the last rendering put them."""
        return [mark for mark, _ in self._place()]

    def variants(self) -> list[str]:
        """Return the variant of each of these points."""
        return [variant for _, variant in self._place()]

    def _place(self) -> Iterator[tuple[Mark, str]]:
        to_figure = self.transFigure.inverted()
        for ax, x, y, text, variant in self._named:
            right, up = to_figure.transform(ax.transData.transform((x, y)))
            if 0 <= right <= 1 and 0 <= up <= 1:
                yield (round(1000 * right), round(1000 * (1 - up)), text), variant


def new_figure(
    size: tuple[float, float], rows: int, columns: int, **share: Any
) -> tuple[Drawing, Any]:
    """Make a figure and its axes (an array, rows x columns) without pyplot."""
    figure = Drawing(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **share)


def save_figure(figure: Figure, *, svg: bool = True) -> dict[str, bytes]:
    """Render a figure as bytes by file suffix, the same bytes every time.

    Returns:
        `.png`, and with `svg` also `.svg` on white and `-dark.svg` for a dark slide.
    """
    kinds: dict[str, dict[str, Any]] = {
        ".svg": {"metadata": {"Date": None, "Creator": None}},
        ".png": {"metadata": {"Software": None}, "dpi": 160},
    }
    rendered = {}
    with theme():
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine(None)  # else each rendering draws all of it once more for it
        for suffix, options in kinds.items():
            if svg or suffix == ".png":
                buffer = io.BytesIO()
                figure.savefig(buffer, format=suffix[1:], **options)
                rendered[suffix] = buffer.getvalue()
    if svg:
        drawn = shorten(rendered[".svg"].decode())
        rendered[".svg"] = drawn.encode()
        rendered["-dark.svg"] = _COLOUR.sub(lambda found: ON_DARK[found[0]], drawn).encode()
    return rendered


def shorten(svg: str) -> str:
    """Return the same image in fewer letters: a dozen of them are most of a page.

    Places along paths are rounded to hundredths of a point; no comments, indentation or metadata.
    """
    svg = _GAP.sub(">\n<", _COMMENT.sub("", svg))
    return _PATH.sub(lambda path: _NUMBER.sub(_round, " ".join(path[0].split())), svg)


def _round(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def adapt(svg: bytes) -> str:
    """Return a light SVG that turns dark with the page that embeds it.

    One image instead of two: a rule for each colour, inside the image.
    """
    rules = "".join(
        f'[style*="{part}: {light}"],[{part}="{light}"]{{{part}:{dark}!important}}'
        for light, dark in ON_DARK.items()
        for part in ("fill", "stroke")
    )
    style = f"<style>@media screen and (prefers-color-scheme:dark){{{rules}}}</style>"
    head, body = svg.decode().split("<defs>", 1)
    return f"{head[head.index('<svg') :]}{style}<defs>{body}"


_COMMENT = re.compile(r"<!--.*?-->\n?| *<metadata>.*?</metadata>\n", re.DOTALL)
_GAP = re.compile(r">\s+<")
_PATH = re.compile(r'(?<= d=")[^"]*')
_NUMBER = re.compile(r"-?\d+\.\d+")
_COLOUR = re.compile("|".join(ON_DARK))
