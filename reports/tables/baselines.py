"""Differences of all pairs of variants, as the page's script takes them: any may be the baseline.

In: what is found (`stats.contrasts`). Out: JSON. Numbers are tenths of points, rounded as they are
shown elsewhere, so that the page says of a pair what every other table does. A pair is there once:
read the other way its signs turn. All pairs are of the page's family, so none needs a new interval.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from markupsafe import Markup

from bench.text import clean, number_of
from reports.formats import to_script_json
from reports.stats.comparability import Comparability
from reports.stats.contrasts import Findings
from reports.stats.finding import Finding
from reports.style import MINUS, end_of_points, p_bound, points
from reports.tables.cells import ADJUSTED_MEANS

Pair = tuple[int, int, int, float | None, float | None, str, str, bool]
"""Places of both variants; difference, low and high in tenths of points (an end beside zero is a
tenth of one, so that its side is known); word, p, and whether it is adjusted for missing seeds."""


def list_pairs(
    variants: Sequence[str], findings: Findings, comparability: Comparability
) -> list[Pair]:
    """List what the later of each two variants has more than the earlier, where that is known."""
    pairs = []
    for (i, before), (j, after) in combinations(enumerate(variants), 2):
        found = findings.compare(before, after)
        if found is not None and comparability.holds((before, after), findings.score):
            pairs.append(_write_pair(i, j, found))
    return pairs


def baselines_json(
    variants: Sequence[str],
    shown: Mapping[str, str],
    baseline: str | None,
    pairs: Sequence[Pair],
) -> Markup:
    """Write what the script reads.

    Args:
        variants: In the page's order.
        shown: How each is named on the page.
        baseline: The one that the page begins with; None for the first.
        pairs: `list_pairs`.
    """
    content = {
        "variants": [[clean(name), shown.get(name, clean(name))] for name in variants],
        "baseline": variants.index(baseline) if baseline in variants else 0,
        "pairs": pairs,
    }
    return to_script_json(content)


def describe_pairs(pairs: Sequence[Pair], left_out: int = 0) -> str:
    """Say what the differences of pairs are, and what their intervals hold for.

    Args:
        pairs: `list_pairs`.
        left_out: Variants of the question that are in none of them.
    """
    words = [word for _, _, _, low, _, word, _, _ in pairs if low is not None]
    text = "In percentage points. "
    if any(words):
        text += (
            "Every pair of variants is one of the contrasts that share this page’s 5 %, so "
            "intervals and verdicts hold whichever is the baseline; in colour where a difference "
            "is shown."
        )
        if not all(words):
            text += (
                " With one seed in common an interval is over images alone, about these trained "
                "networks, and has no verdict."
            )
    elif words:
        text += (
            "Intervals are over images alone, each by itself: with one seed they are about these "
            "trained networks, and nothing is shown, whichever is the baseline."
        )
    else:
        text += "Without counts of several images there are no intervals, and nothing is shown."
    if any(adjusted for *_, adjusted in pairs):
        text += f" {ADJUSTED_MEANS}"
    if left_out:
        are = "is" if left_out == 1 else "are"
        text += f" As in figures, {number_of(left_out, 'variant')} {are} left out."
    return text


def _write_pair(i: int, j: int, found: Finding) -> Pair:
    p = p_bound(found.p) if found.word else ""
    low, high = (None if math.isnan(end) else _tenths_of_end(end) for end in found[1:3])
    return (i, j, _tenths(found.diff), low, high, found.word, p, found.is_adjusted)


def _tenths_of_end(fraction: float) -> float:
    """Return tenths of points as `style.end_of_points` writes them."""
    text = end_of_points(fraction)
    return _tenths(fraction) or {"+": 0.1, MINUS: -0.1}.get(text[0], 0)


def _tenths(fraction: float) -> int:
    """Return tenths of points as `style.points` writes them."""
    text = points(fraction).replace("−", "-")
    return round(10 * float(text))
