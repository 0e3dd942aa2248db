"""Ranks with intervals: the places that variants may have, by what is shown of all pairs.

In: names and findings. Out: for each variant the first and the last place it may have. A variant is
behind every one that is shown to be better, and ahead of every one that is shown to be worse; since
all pairs share one 5 %, all of these intervals hold at once.

Reference: Al Mohamad, Goeman and van Zwet, 2022, "Simultaneous confidence intervals for ranks".
"""

from collections.abc import Sequence

from reports.stats.contrasts import MAX_LISTED, Findings
from reports.stats.finding import SHOWN

Ranks = dict[str, tuple[int, int]]
"""By variant, the first and the last place that it may have; 1 is the highest score."""


def find_ranks(names: Sequence[str], findings: Findings) -> Ranks:
    """Return the places of variants; of none where a pair of them has no verdict.

    A page whose pairs are too many to be judged together (`MAX_LISTED`) has no ranks.
    """
    if len(names) < 2 or findings.num_contrasts > MAX_LISTED:
        return {}
    better, worse = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for k, after in enumerate(names):
        for before in names[:k]:
            found = findings.compare(before, after)
            if found is None or not found.word:
                return {}
            if found.word == SHOWN:
                ahead, behind = (after, before) if found.diff > 0 else (before, after)
                better[behind] += 1
                worse[ahead] += 1
    return {name: (1 + better[name], len(names) - worse[name]) for name in names}
