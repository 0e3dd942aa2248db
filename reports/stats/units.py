"""What is drawn when images are resampled: groups, blocks of neighbours, or images one by one.

Frames of one clip are not independent: taken for such, intervals are too short by half and more.
In: counts of some runs on the same images. Out: `Units`, which draw weights of images.

Reference: Künsch, 1989 (blocks); Politis and White, 2004, corrected by Patton, Politis and White,
2009 (how long blocks must be).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.text import number_of
from reports.results.counts import Counts
from reports.stats.bootstrap import Floats, draw_weights, entropy_of_images

FEWEST_GROUPS = 8
"""Groups that are resampled as such; fewer say next to nothing of another one."""
FEWEST_BLOCKS = 8
MAX_LOOKED_AT = 8
"""Runs whose images are looked at."""


class Recipe(NamedTuple):
    """How weights are drawn, as numbers that anybody can draw them by."""

    entropy: list[int]
    """Words of 32 bits for `numpy.random.default_rng`, a PCG64."""
    blocks: NDArray[np.intp]
    """What is drawn together: columns of the weights, (U, length)."""
    column: NDArray[np.intp]
    """Of the weights, for each image, (N,): its own, or its group's."""


@dataclass(frozen=True)
class Units:
    """What the images of one set are resampled by."""

    names: tuple[str, ...]
    """Group of each image, in the order of images' names; one empty name where none is known."""
    length: int
    """Neighbours that are drawn together; 1 for images one by one, 0 for whole groups."""
    correlation: float
    """Of what neighbours add to a run's mIoU, in the order of names and within groups; NaN where
    nothing varies."""

    @property
    def num_groups(self) -> int:
        """Number of groups; 0 where they are not known."""
        return len(set(self.names)) if any(self.names) else 0

    @property
    def number(self) -> int:
        """Number of what is drawn, which can be taken for independent."""
        N = len(self.names)
        return self.num_groups if self.length == 0 else max(round(N / self.length), 1)

    def draw(self, num_resamples: int) -> Floats:
        """Draw how often each image occurs in each resample, (R, N); the same for as many units.

        So that a set of which each image is there several times, as a group, gives the same scores
        as each of them once.
        """
        N = len(self.names)
        if self.length == 0:
            return draw_weights(self.num_groups, num_resamples, "")[:, self._groups]
        if self.length == 1:
            return draw_weights(N, num_resamples, "")
        rng = np.random.default_rng([N, self.length])
        weights = np.empty((num_resamples, N))
        blocks = self._list_blocks()
        for row in weights:
            chosen = blocks[rng.integers(0, N, self.number)]
            row[:] = np.bincount(chosen.ravel(), minlength=N)
        return weights

    @property
    def recipe(self) -> Recipe:
        """How `draw` draws: in each resample `number` blocks, with replacement."""
        N = len(self.names)
        if self.length == 0:
            return Recipe(entropy_of_images(), np.arange(self.num_groups)[:, None], self._groups)
        if self.length == 1:
            return Recipe(entropy_of_images(), np.arange(N)[:, None], np.arange(N))
        return Recipe([N, self.length], self._list_blocks(), np.arange(N))

    @cached_property
    def _groups(self) -> NDArray[np.intp]:
        """Number of each image's group, in the order in which groups come."""
        places = {name: k for k, name in enumerate(dict.fromkeys(self.names))}
        return np.array([places[name] for name in self.names])

    def _list_blocks(self) -> NDArray[np.intp]:
        """Return the block that begins with each image, (N, length): neighbours in its group.

        A group is a ring, so that each image is drawn as often as any; a short one is gone round.
        """
        blocks = np.empty((len(self.names), self.length), dtype=np.intp)
        for group in range(self._groups.max() + 1):
            members = np.flatnonzero(self._groups == group)
            places = np.arange(len(members))[:, None] + np.arange(self.length)
            blocks[members] = members[places % len(members)]
        return blocks

    def describe(self) -> str:
        """Say what is resampled and why, in a sentence."""
        images = number_of(len(self.names), "image")
        groups = f" in {number_of(self.num_groups, 'group')}" if self.num_groups else ""
        if np.isnan(self.correlation):
            return f"{images}{groups}: too few to tell whether neighbours are alike."
        alike = f"neighbours in the order of names correlate by {self.correlation:.2f}"
        how = {
            0: "groups are resampled whole",
            1: "images are resampled one by one",
        }.get(self.length, f"blocks of {self.length} neighbours are resampled together")
        return f"{images}{groups}; {alike}, so {how}."

    def warn(self) -> str:
        """Say what nothing here can tell, where there are few groups; empty where there are not."""
        if not 0 < self.num_groups < FEWEST_GROUPS:
            return ""
        which = "one group" if self.num_groups == 1 else f"{self.num_groups} groups"
        return (
            f"All images are of {which}, such as clips of a video: intervals are about more images "
            f"of {'it' if self.num_groups == 1 else 'these'}, and say nothing of another one."
        )


def choose_units(counts: Sequence[Counts]) -> Units:
    """Choose by what images are resampled.

    Args:
        counts: Of one run or more, all on the same images.
    """
    first = counts[0]
    names = next((one.groups for one in counts if one.groups), ("",) * len(first.values))
    known = len(set(names)) if any(names) else 0
    influence = np.stack([measure_influence(one) for one in counts])
    parts = [np.flatnonzero(np.array(names) == name) for name in dict.fromkeys(names)]
    # What runs share cancels in differences; what is left of each may be alike for longer.
    apart = [influence, influence - influence.mean(0)] if len(counts) > 1 else [influence]
    correlations = [correlate(values, parts) for values in apart]
    found = float(correlations[0][1]) if len(correlations[0]) > 1 else float("nan")
    if known >= FEWEST_GROUPS:
        return Units(names, 0, found)
    N = len(names)
    length = max(find_length(one, N) for one in correlations)
    return Units(names, max(min(length, N // FEWEST_BLOCKS), 1), found)


def measure_influence(counts: Counts) -> Floats:
    """Return how far each image moves a run's mIoU, (N,), to first order."""
    C = counts.num_classes
    hit, target, pred = (counts.values[:, k * C : (k + 1) * C].astype(np.float64) for k in range(3))
    union = target + pred - hit
    whole = union.sum(0)
    ious = np.divide(hit.sum(0), whole, out=np.zeros(C), where=whole > 0)
    moves = np.divide(hit - ious * union, whole, out=np.zeros_like(hit), where=whole > 0)
    influence: Floats = moves.mean(1)
    return influence


def correlate(values: Floats, parts: Sequence[NDArray[np.intp]]) -> Floats:
    """Return the autocorrelations of values, (runs, N), by lag from 0, within parts.

    Up to a lag at which half of the pairs are left; nothing where nothing varies.
    """
    left = values - values.mean(1, keepdims=True)
    whole = float((left**2).sum())
    N = left.shape[1]
    if whole <= 0:
        return np.zeros(0)
    found = []
    for lag in range(N):
        pairs = [left[:, part[: -lag or None]] * left[:, part[lag:]] for part in parts]
        count = sum(one.shape[1] for one in pairs)
        if 2 * count < N:
            break
        found.append(sum(float(one.sum()) for one in pairs) / whole * N / count)
    return np.array(found)


def find_length(correlations: Floats, num_images: int) -> int:
    """Return how many neighbours a block must have, by the rule of Politis and White.

    Args:
        correlations: By lag, from 0.
        num_images: N.
    """
    N = num_images
    if len(correlations) < 3:
        return 1
    negligible = 2 * np.sqrt(np.log10(N) / N)
    run = max(5, int(np.sqrt(np.log10(N))) + 1)
    small = np.abs(correlations[1:]) < negligible
    # The lag after which as many in a row are negligible; what lies beyond the last counts as such.
    padded = np.concatenate([small, np.ones(run, dtype=bool)])
    last = next(m for m in range(len(small) + 1) if padded[m : m + run].all())
    if last == 0:
        return 1
    lags = np.arange(1, min(2 * last, len(correlations) - 1) + 1)
    taper = np.clip(2 * (1 - lags / (2 * last)), 0, 1)
    weighed = taper * correlations[lags]
    slope, level = 2 * (lags * weighed).sum(), 1 + 2 * weighed.sum()
    if level <= 0 or slope <= 0:
        return 1
    length = (1.5 * slope**2 / level**2) ** (1 / 3) * N ** (1 / 3)
    return int(min(np.ceil(length), np.ceil(3 * np.sqrt(N))))


class Resamples:
    """Draws of images, made once for each set of them.

    Args:
        num_draws: How many.
    """

    def __init__(self, num_draws: int) -> None:
        self.num_draws = num_draws
        self.units: dict[str, Units] = {}
        """By set of images."""
        self._drawn: dict[str, Floats] = {}

    def look_at(self, counts: Sequence[Counts]) -> None:
        """Choose units by what some runs have; a set that is not looked at is chosen by its first.

        Args:
            counts: Of some runs, of any images.
        """
        sets: dict[str, list[Counts]] = {}
        for one in counts:
            sets.setdefault(one.images, []).append(one)
        for images, found in sets.items():
            self.units.setdefault(images, choose_units(found))

    def over(self, counts: Counts) -> tuple[Floats, int]:
        """Return the draws over the images of a run, (draws, N), and the number of units."""
        images = counts.images
        if images not in self._drawn:
            self.look_at([counts])
            self._drawn[images] = self.units[images].draw(self.num_draws)
        return self._drawn[images], self.units[images].number
