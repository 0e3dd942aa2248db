"""Differences of all pairs of variants, as the page's script takes them: any may be the baseline.

In: what is found (`stats.contrasts`). Out: JSON. Numbers are tenths of points, rounded as they are
shown elsewhere, so that the page says of a pair what every other table does. A pair is there once:
read the other way its signs turn. All pairs are of the page's family, so none needs a new interval.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from markupsafe import Markup

from bench.text import clean
from reports.formats import to_script_json
from reports.stats.comparability import Comparability
from reports.stats.contrasts import Finding, Findings
from reports.style import p_bound, points

Pair = tuple[int, int, int, int | None, int | None, str, str, bool]
"""Places of both variants; difference, low and high in tenths of points; word, p, and whether it is
adjusted for missing seeds."""


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


def _write_pair(i: int, j: int, found: Finding) -> Pair:
    p = p_bound(found.p) if found.word else ""
    low, high = (None if math.isnan(end) else _tenths(end) for end in (found.low, found.high))
    return (i, j, _tenths(found.diff), low, high, found.word, p, found.is_adjusted)


def _tenths(fraction: float) -> int:
    """Return tenths of points as `style.points` writes them."""
    text = points(fraction).replace("−", "-")
    return round(10 * float(text))
