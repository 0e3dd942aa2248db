"""Which images are shown, and of which two variants: by rule, from counts, never by eye.

In: a plan, a store and the summary. Out: a pair of variants, names of images, a place to look at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics import score_many
from bench.plan import Plan, PlannedRun
from bench.store.runs import Store
from reports.figures.bound import find_strides
from reports.stats.primary import primary_of

CROP = 0.3
"""Side of a close-up, as a share of the image's."""
EDGE = 0.02
"""How far from an edge of the target a close-up looks, as a share of the image's height."""


@dataclass(frozen=True)
class Pair:
    """Two variants to look at closely, each by its first finished run."""

    before: PlannedRun
    after: PlannedRun
    why: str
    """What makes them the pair, in words."""


@dataclass(frozen=True)
class Chosen:
    """One image and why it is shown."""

    name: str
    why: str


def choose_pair(plan: Plan, store: Store, summary: pd.DataFrame) -> Pair | None:
    """Choose the coarsest and the finest skip of the best backbone that has both.

    Else the baseline (the worst without one) and the best variant; None below two finished ones.
    """
    first: dict[str, PlannedRun] = {}
    for planned in plan.runs:
        if planned.variant not in first and store.status(planned.run.id) == "done":
            first[planned.variant] = planned
    score = f"{primary_of(summary)}_mean"
    ranked = summary[summary["variant"].isin(first) & summary[score].notna()]
    ranked = ranked.sort_values(score, ascending=False, kind="stable")
    if len(ranked) < 2:
        return None
    strides = find_strides(plan)
    for backbone in dict.fromkeys(ranked["backbone"]):
        here = list(ranked.loc[ranked["backbone"] == backbone, "variant"])
        arms = sorted((name for name in here if name in strides), key=lambda n: -strides[n])
        if len(arms) > 1 and strides[arms[0]] > strides[arms[-1]]:
            why = "coarsest and finest skip of the best backbone that has both"
            return Pair(first[arms[0]], first[arms[-1]], why)
    names = list(ranked["variant"])
    if plan.baseline in names[1:]:
        return Pair(first[str(plan.baseline)], first[names[0]], "the baseline and the best variant")
    return Pair(first[names[-1]], first[names[0]], "the worst and the best variant")


def choose_images(
    pair: Pair | None, store: Store, kept: Sequence[str], count: int
) -> tuple[list[Chosen], str]:
    """Choose among the images whose prediction was kept, and say by what rule.

    With a pair: those where `after` gains most, median and least mIoU over `before`.
    Without: evenly spaced ones.
    """
    gains = _gains(pair, store, kept) if pair else {}
    if len(gains) < 3:
        step = min(count, len(kept))
        names = [kept[int((i + 0.5) * len(kept) / step)] for i in range(step)]
        return [Chosen(name, "") for name in names], (
            "evenly spaced over the images whose prediction was kept"
        )
    assert pair is not None
    order = sorted(gains, key=lambda name: (-gains[name], name))
    places = {"largest gain": 0, "median gain": len(order) // 2, "smallest gain": -1}
    shown = [
        Chosen(order[i], f"{why}, {100 * gains[order[i]]:+.1f} points".replace("-", "−"))
        for why, i in places.items()
    ]
    return shown, (
        f"of the {len(gains)} images whose prediction was kept, those where "
        f"{pair.after.variant} gains most, median and least mIoU over {pair.before.variant} "
        f"({pair.why}), counted within the image"
    )


def find_difference(
    before: NDArray[np.uint8], after: NDArray[np.uint8], target: NDArray[np.uint8], ignore: int
) -> tuple[slice, slice]:
    """Find the crop in which two predictions differ in most pixels near an edge of the target.

    Args:
        before: Predicted classes, (H, W).
        after: Predicted classes, (H, W).
        target: True classes, (H, W).
        ignore: Target value that is not counted.
    """
    H, W = target.shape
    h, w = (max(1, round(CROP * n)) for n in (H, W))
    differ = (before != after) & (target != ignore)
    edge = differ & near_edges(target, max(1, round(EDGE * H)))
    sums = np.zeros((H + 1, W + 1), np.int64)  # of the rectangle above and left of each corner
    sums[1:, 1:] = (edge if edge.any() else differ).cumsum(0).cumsum(1)
    inside = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    return slice(int(y), int(y) + h), slice(int(x), int(x) + w)


def near_edges(target: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """Mark pixels (H, W) that are `distance` or less from another class, by rows and columns."""
    edges = np.zeros(target.shape, bool)
    edges[:, 1:] |= target[:, 1:] != target[:, :-1]
    edges[1:] |= target[1:] != target[:-1]
    for axis in (0, 1):
        sums = np.cumsum(np.pad(edges, _one_side(axis, distance + 1, distance)), axis=axis)
        start, span = np.arange(edges.shape[axis]), 2 * distance + 1
        edges = np.take(sums, start + span, axis) > np.take(sums, start, axis)
    return edges


def _one_side(axis: int, before: int, after: int) -> list[tuple[int, int]]:
    return [(before, after) if axis == a else (0, 0) for a in (0, 1)]


def _gains(pair: Pair, store: Store, kept: Sequence[str]) -> dict[str, float]:
    """Return the gain in mIoU of each kept image that both arms counted."""
    arms: list[Mapping[str, float]] = []
    for arm in (pair.before, pair.after):
        try:
            names, confusions = store.confusions(arm.run.id, arm.run.spec.evaluate.split)
        except (OSError, KeyError, ValueError):  # pruned, or not what we wrote
            return {}
        arms.append(dict(zip(names, map(float, score_many(confusions)["miou"]), strict=True)))
    before, after = arms
    gains = {n: after[n] - before[n] for n in kept if n in before and n in after}
    return {name: gain for name, gain in gains.items() if not np.isnan(gain)}
