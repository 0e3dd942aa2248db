"""How numbers, names and figures look: the only place where units are displayed.

In: raw values (fractions, seconds, counts) and text that anyone may have written. Out: short
strings without control characters, and matplotlib settings under which no text is a formula.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import seaborn as sns

from bench.metrics import METRICS, find_metric, is_by_image
from bench.text import clean

MISSING = "–"
"""Shown for a value that does not exist; a missing number is never zero."""
MINUS = "−"

LABELS = {
    "variant": "variant",
    "backbone": "backbone",
    "skip": "skip",
    "gmacs": "GMACs",
    "latency_ms": "latency, ms",
    "step_memory_mib": "memory of a step, MiB",
}
"""Names of columns as a reader knows them. Scores have their own; others are shown as they are."""

INK = "#1d2430"
FAINT = "#6b7280"
BLANK = "#d9dce1"
"""Fill of what does not exist: a missing cell, an unlabelled pixel."""

PAPER = "#fefefe"
"""Stands for a figure's ground: told from white letters, it can be exchanged for a dark one."""
WASH = "#f6f7f8"
EMPTY = "#f1f2f4"
EDGE = "#b6bcc6"
GRID = "#e8eaee"
MIDTONE = "#757d8a"
"""Words on a transparent ground: 4.2 to 1 on white, 4.3 to 1 on the dark page."""
RIGHT, WRONG = "#0072B2", "#D55E00"
"""Okabe and Ito's blue and vermilion: apart for every kind of colour blindness."""

ON_DARK: dict[str, str] = {
    **{PAPER: "#14171c", WASH: "#1b2027", EMPTY: "#1f242c", GRID: "#282e37", EDGE: "#4a5260"},
    **{INK: "#e6e8eb", FAINT: "#9aa3b0", BLANK: "#48505c"},
    **{"#0072b2": "#3f9fe0", "#d55e00": "#ee7b30", "#009e73": "#2fbf95", "#56b4e9": "#9bd8ff"},
}
"""Colours of a figure on a dark ground, for those on white; others stay as they are."""

# Okabe and Ito's colours, darkest contrast first; the yellow is too pale for lines on white.
_PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK]


def percent(fraction: float) -> str:
    """Write a fraction as a percentage with one decimal, without its sign: 0.6241 -> "62.4"."""
    return MISSING if math.isnan(fraction) else f"{100 * fraction:.1f}".replace("-", MINUS)


def points(difference: float) -> str:
    """Write a difference of fractions as signed percentage points: 0.0123 -> "+1.2"."""
    if math.isnan(difference):
        return MISSING
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def number_of_points(difference: float) -> str:
    """Write a bound of differences as it was given: 0.01 -> "1 point", 0.005 -> "0.5 points"."""
    number = f"{100 * difference:g}"
    return f"{number} point{'' if number == '1' else 's'}"


def with_spread(text: str, std: float, show: Callable[[float], str] = percent) -> str:
    """Add "± std" to a shown mean; a spread that does not exist is left out."""
    return text if math.isnan(std) or text == MISSING else f"{text} ± {show(std)}"


def writer_of(score: str) -> Callable[[float], str]:
    """Return what writes values of a score: in percent, or in its own unit with two decimals."""
    return _in_unit if _has_unit(score) else percent


def difference_writer_of(score: str) -> Callable[[float], str]:
    """Return what writes differences of a score: in points, or in its own unit, with their sign."""
    return _signed if _has_unit(score) else points


def _has_unit(score: str) -> bool:
    return (score in METRICS or is_by_image(score)) and bool(find_metric(score).unit)


def _in_unit(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.2f}".replace("-", MINUS)


def _signed(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:+.2f}".replace("-", MINUS)


def between(low: float, high: float, show: Callable[[float], str] = percent) -> str:
    """Write an interval: "[60.1, 64.5]"; one that does not exist is missing."""
    write = end_of_points if show is points else show
    return MISSING if math.isnan(low) or math.isnan(high) else f"[{write(low)}, {write(high)}]"


def end_of_points(end: float) -> str:
    """Write an end of an interval as `points` do; close to zero with its side, "+0.0" or "−0.0"."""
    text = points(end)
    is_beside = text == "0.0" and abs(end) > TINY
    return (f"+{text}" if end > 0 else f"{MINUS}{text}") if is_beside else text


TINY = 1e-9
"""What rounding leaves of nothing, as a fraction."""


def with_interval(
    text: str, low: float, high: float, show: Callable[[float], str] = percent
) -> str:
    """Add an interval to a shown value, if there is one."""
    shown = between(low, high, show)
    return text if MISSING in (text, shown) else f"{text} {shown}"


def places(first: float, last: float) -> str:
    """Write the places that a variant may have: "1", "1 to 3"; NaN for unknown."""
    if math.isnan(first):
        return MISSING
    return f"{first:.0f}" if first == last else f"{first:.0f} to {last:.0f}"


def p_value(p: float) -> str:
    """Write a probability: "≤0.001", "0.012", "0.34"; one at the floor of the draws is a bound."""
    if math.isnan(p):
        return MISSING
    if p <= P_FLOOR:
        return f"≤{P_FLOOR:g}"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_bound(p: float) -> str:
    """Write a probability in a sentence: "= 0.012", "≤ 0.001"."""
    shown = p_value(p)
    return f"≤ {shown[1:]}" if shown.startswith("≤") else f"= {shown}"


P_FLOOR = 0.001
"""Below it the draws of a page cannot tell probabilities apart."""


def times(ratio: float, *, is_apart: bool) -> str:
    """Write a ratio of costs: "1.35"; "≈ 1" where it is not told apart from one."""
    if math.isnan(ratio):
        return MISSING
    return f"{ratio:.3g}" if is_apart or ratio == 1 else "≈ 1"


def duration(seconds: float) -> str:
    """Write a duration: "0.042 s", "4.2 s", "12.3 min", "5.1 h"."""
    if math.isnan(seconds):
        return MISSING
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2g} s"


def millions(count: float) -> str:
    """Write a count in millions: 60_965_224 -> "61.0 M"."""
    return MISSING if math.isnan(count) else f"{count / 1e6:.{1 if count >= 1e6 else 3}f} M"


def label(name: str) -> str:
    """Return the reader's name of a column."""
    if name in METRICS or is_by_image(name):
        return clean(find_metric(name).label)
    return LABELS.get(name, clean(name))


def mean_label(score: str) -> str:
    """Return how the mean of a score over seeds is called in a sentence, "mean" said once."""
    shown = label(score)
    return shown if shown.startswith("mean ") else f"mean {shown}"


def capital(text: str) -> str:
    """Begin a sentence with a text."""
    return f"{text[:1].upper()}{text[1:]}"


def enumerate_names(names: Iterable[str], most: int = 6) -> str:
    """Write names as in a sentence: "a, b and c"; of more than `most`, the number of the rest."""
    listed = list(names)
    if len(listed) > most:
        listed = [*listed[:most], f"{len(listed) - most} more"]
    return " and ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))


def figure_label(text: object, length: int = 32) -> str:
    """Clean text for a figure: short, and visible in a legend, which hides a leading `_`."""
    shown = clean(text)
    if len(shown) > length:  # variants are often told apart by their ends
        tail = (length - 1) // 2
        shown = f"{shown[: length - 1 - tail]}…{shown[len(shown) - tail :]}"
    return f"\u200a{shown}" if shown.startswith("_") else shown


def colours(names: Sequence[str]) -> dict[str, str]:
    """Give each name a colour that stays apart for colour-blind readers."""
    more = sns.color_palette("viridis", len(names)).as_hex()
    palette = _PALETTE if len(names) <= len(_PALETTE) else more
    return dict(zip(names, palette, strict=False))


@contextmanager
def theme() -> Iterator[None]:
    """Apply the look of all figures while they are drawn and saved, and undo it afterwards."""
    settings: Any = {**sns.axes_style("ticks"), **_RC}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A class named in a script that the font lacks is drawn as boxes; that is no error.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


@contextmanager
def image_theme() -> Iterator[None]:
    """Apply the look of photographs and masks: a transparent ground, for page and slide."""
    ground: Any = {"figure.facecolor": "none", "text.color": MIDTONE, "axes.titlecolor": MIDTONE}
    with theme(), mpl.rc_context(ground):
        yield


_RC: dict[str, Any] = {
    "text.parse_math": False,  # a class may be called $\bad{x}$
    "svg.hashsalt": "fcn-bench",  # ids of SVG elements are random without it
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same page on every machine
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": EDGE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": PAPER,
    "savefig.facecolor": "auto",
    "axes.facecolor": "none",
    "hatch.linewidth": 0.6,
}
