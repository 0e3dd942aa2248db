"""A figure as the page shows it: small, without scripts, light and dark, with names for its points.

In: a drawing. Out: an `Illustration` with its files, and an address that embeds it.
"""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from markupsafe import Markup
from PIL import Image

from bench.text import clean
from reports.figures.canvas import Drawing, Mark, adapt, save_figure

PIXELS_PER_INCH = 94.4
"""A figure of full width (10 inches) fills the page's column of 944 pixels."""
QUALITY = 82
"""Of images on the page, WebP's scale; the files in `figures/` keep every pixel."""

OF_LOGS = ("curves", "bound")
"""How names of figures begin that are drawn from logs or images."""


@dataclass(frozen=True)
class Illustration:
    """A figure with its words."""

    name: str
    """Name of its files, without suffix."""
    title: str
    caption: str
    width: int
    height: int
    """Size in CSS pixels, so that letters are equally large in all figures."""
    files: dict[str, bytes]
    """Renderings by what follows the name: `.png`, `.svg`, `-dark.svg`."""
    marks: Sequence[Mark] = ()
    variants: Sequence[str] = ()
    """Which variant each mark is of; empty for none."""
    finding: str = ""
    """What it shows, in a sentence, for who does not see it."""

    @property
    def is_of_logs(self) -> bool:
        """Whether it was drawn from logs or images, which are not beside a report."""
        return self.name.startswith(OF_LOGS)

    def without_copies(self) -> "Illustration":
        """Return it with its SVG alone."""
        return replace(self, files={".svg": self.files[".svg"]})

    @property
    def alt(self) -> str:
        """Return what it shows; its caption, which says how to read it, where that is not said."""
        return f"{self.title}. {self.finding or self.caption}"

    @property
    def source(self) -> Markup:
        """The figure as a data URI: an image cannot run a script, whatever is written in it."""
        if ".svg" in self.files:
            # Percent signs instead of base64: a quarter smaller, and nothing is left to escape.
            drawn = adapt(self.files[".svg"]).replace('"', "'").replace("\n", " ")
            return Markup(f"data:image/svg+xml,{quote(drawn, safe=_PLAIN)}")
        buffer = io.BytesIO()
        with Image.open(io.BytesIO(self.files[".png"])) as image:
            image.save(
                buffer, "WEBP", quality=QUALITY, method=2
            )  # 4: a tenth smaller, twice the time
        return Markup(f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}")

    @property
    def points(self) -> str:
        """The named points as JSON, for the page's script."""
        marks = [
            [x, y, clean(text), *([clean(variant)] if variant else [])]
            for (x, y, text), variant in zip(self.marks, self.variants, strict=True)
        ]
        return json.dumps(marks, ensure_ascii=False, separators=(",", ":")) if marks else ""


def illustrate(
    name: str, title: str, caption: str, figure: Drawing, finding: str = "", *, svg: bool = True
) -> Illustration:
    """Render a drawing; images are pixels alone (`svg=False`)."""
    width, height = (round(inches * PIXELS_PER_INCH) for inches in figure.get_size_inches())
    files = save_figure(figure, svg=svg)
    marks = figure.marks(), figure.variants()
    return Illustration(name, title, caption, width, height, files, *marks, finding)


_PLAIN = " =:/;,.()!*+-_~@$?[]{}|^"
"""What may stand in a data URI between double quotes. A single quote may not: scripts end there."""
