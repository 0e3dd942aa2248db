"""Draws from a seed: a nested share of images, and folds; groups stay whole, classes in proportion.

In: pixels of each class in N images, what each belongs to, a seed. Out: positions of images.
The seed is `data.draw_seed`, not the run's: all variants and seeds of a question then train on the
same images, and what differs between them is what the question asks. Another draw is another seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench.spec import DataSpec
from fcn.errors import InputError

WINDOW = 32
"""Groups among which the next is chosen: enough to keep classes in proportion, and quick."""

SHARE, FOLDS = 0, 1
"""Streams of random numbers, which have nothing in common."""


@dataclass(frozen=True)
class Draw:
    """What is drawn of the images of a split: `data.train_fraction`, `data.folds`, and how."""

    fraction: float
    folds: int | None
    fold: int
    by_groups: bool
    seed: int
    limit: int | None
    """`data.limit_images`, which comes first."""
    target: str | None
    """By whose classes; None for the dataset's first."""

    @classmethod
    def of(cls, data: DataSpec) -> "Draw":
        """Return what a run's settings draw."""
        return cls(
            data.train_fraction,
            data.folds,
            data.fold,
            data.draw_by == "groups",
            data.draw_seed,
            data.limit_images,
            data.targets[0] if data.targets else None,
        )

    @property
    def is_whole(self) -> bool:
        """Say whether nothing is drawn: all images of the split are trained on."""
        return self.folds is None and self.fraction == 1

    def size(self, num_images: int) -> int:
        """Return how many images are to be trained on, of so many in the split; 0 for none.

        Whole groups may give a few more or less; epochs are counted by this number.
        """
        number = min(num_images, self.limit or num_images)
        if self.folds is not None:
            number -= round(number / self.folds)
        return round(number * self.fraction)


def draw_share(
    counts: NDArray[np.int64], groups: Sequence[str], fraction: float, seed: int
) -> list[int]:
    """Return the positions of a share of N images, in their order.

    Groups stand in one order, whatever the fraction, and the share is its beginning: 10 % lies
    within 20 %. The next group is, of a few drawn from the seed, the one that keeps the parts of
    all classes nearest to that of the images.

    Args:
        counts: Pixels of each class in each image, (N, C).
        groups: What each image belongs to.
        fraction: Share of the images. The nearest that whole groups give is taken, one at least.
        seed: Of the draw.
    """
    if fraction == 1:
        return list(range(len(groups)))
    order = _order(np.ascontiguousarray(counts).tobytes(), counts.shape, tuple(groups), seed)
    sizes = np.cumsum([len(members) for members in order])
    number = 1 + int(np.argmin(np.abs(sizes - fraction * len(groups))))
    return sorted(i for members in order[:number] for i in members)


def draw_fold(
    counts: NDArray[np.int64], groups: Sequence[str], folds: int, fold: int, seed: int
) -> list[int]:
    """Return the positions of the images of a fold, in their order; each image is in one.

    Groups with rare classes come first, else in an order drawn from the seed; each goes to the fold
    that lacks most of what it holds.

    Args:
        counts: Pixels of each class in each image, (N, C).
        groups: What each image belongs to.
        folds: Number of folds.
        fold: Number of the one wanted, from 0.
        seed: Of the draw.

    Raises:
        InputError: There are fewer groups than folds.
    """
    members = _members(groups)
    if len(members) < folds:
        kind = "images" if len(members) == len(groups) else "groups, which stay whole"
        raise InputError(
            f"data.folds {folds} cannot be made of {len(members)} {kind}; give "
            f"{max(2, len(members))} folds at most, or data.draw_by: images, which parts groups"
        )
    parts = _parts(counts, members)
    order = np.random.default_rng([seed, FOLDS]).permutation(len(members))
    order = order[np.argsort(-parts[order].max(1), kind="stable")]
    lacks = np.full((folds, parts.shape[1]), 1 / folds)
    held = np.zeros(folds, dtype=int)
    chosen: list[list[int]] = [[] for _ in range(folds)]
    for number, k in enumerate(order):
        empty = np.flatnonzero(held == 0)
        allowed = empty if len(order) - number <= len(empty) else np.arange(folds)
        gain = (lacks**2 - (lacks - parts[k]) ** 2).sum(1)
        best = int(allowed[np.argmax(gain[allowed])])
        chosen[best] += members[k]
        lacks[best] -= parts[k]
        held[best] += 1
    return sorted(chosen[fold])


@lru_cache(maxsize=8)
def _order(
    content: bytes, shape: tuple[int, int], groups: tuple[str, ...], seed: int
) -> list[list[int]]:
    """Return the images of each group, groups in the order in which a share takes them."""
    members = _members(groups)
    parts = _parts(np.frombuffer(content, dtype=np.int64).reshape(shape), members)
    waiting = [int(k) for k in np.random.default_rng([seed, SHARE]).permutation(len(members))]
    window, waiting = waiting[:WINDOW], waiting[WINDOW:][::-1]
    held = np.zeros(parts.shape[1])
    order = []
    while window:
        then = held + parts[window]
        best = int(np.argmin(((then - then[:, -1:]) ** 2).sum(1)))
        held = then[best]
        order.append(members[window[best]])
        window[best : best + 1] = [waiting.pop()] if waiting else []
    return order


def _members(groups: Sequence[str]) -> list[list[int]]:
    """Return the positions of the images of each group, in the order of their first."""
    found: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        found.setdefault(group, []).append(i)
    return list(found.values())


def _parts(counts: NDArray[np.int64], members: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Return what part of each class's pixels each group holds; last, what part of the images."""
    pixels = np.array([counts[own].sum(0) for own in members], dtype=np.float64)
    total = pixels.sum(0)
    sizes = np.array([[len(own)] for own in members]) / len(counts)
    return np.concatenate([pixels[:, total > 0] / total[total > 0], sizes], axis=1)
