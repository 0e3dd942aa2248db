"""Which images and variants the linked gallery holds: by rule, from counts, never by eye.

In: counts of the images that are kept, and a pair of variants. Out: names, and the rule.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from bench.metrics import score_counts
from reports.images.choice import Pair

SHARE_RANKED = 0.75
"""Of the images held, those that come from the heads of rankings; the rest is evenly spaced."""


def rank_images(
    names: Sequence[str],
    counts: Mapping[str, NDArray[np.int64]],
    apart: NDArray[np.int64] | None,
    pair: Pair | None,
    number: int,
) -> tuple[list[str], str]:
    """Choose images among those that were kept, and say by what rule.

    Args:
        names: Of the N images, in the split's order.
        counts: By variant, what `bench.metrics.class_counts` gives of each image, (N, 3, C).
        apart: Counted pixels of which the pair predicts different classes, (N,).
        pair: Two variants; None if there are none to compare.
        number: How many are wanted.

    Returns:
        At most `number` names, those first that are held where the budget is short.
    """
    if pair is None or apart is None or len(names) <= number:
        chosen = _space_out(names, number)
        if len(chosen) == len(names):
            return chosen, "all images whose prediction was kept"
        return chosen, "evenly spaced over the images whose prediction was kept"
    before, after = (score_counts(counts[arm.variant])["miou"] for arm in (pair.before, pair.after))
    gain, known = after - before, np.flatnonzero(~np.isnan(after - before))
    orders = [
        known[np.argsort(key[known], kind="stable")]
        for key in (-gain, gain, after, -apart.astype(np.float64))
    ]
    in_turns = [int(i) for heads in zip_longest(*orders) for i in heads if i is not None]
    chosen = [names[i] for i in dict.fromkeys(in_turns)][: round(SHARE_RANKED * number)]
    rest = [name for name in names if name not in chosen]
    return [*chosen, *_space_out(rest, number - len(chosen))], (
        f"in turns those where {pair.after.variant} gains most and least mIoU over "
        f"{pair.before.variant}, where its mIoU is lowest, and where the two differ in most "
        "pixels; a quarter is evenly spaced over the rest"
    )


def _space_out(names: Sequence[str], number: int) -> list[str]:
    number = min(number, len(names))
    return [names[int((i + 0.5) * len(names) / number)] for i in range(number)]
