"""Splits drawn from a seed: groups stay together, and each split has its share of every class."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data.intake.groups import natural

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def draw_splits(
    counts: Mapping[str, NDArray[np.int64]],
    groups: Mapping[str, str],
    seed: int,
    *,
    in_blocks: bool = False,
) -> dict[str, list[str]]:
    """Draw splits from a seed.

    Groups are taken in an order drawn from the seed, those with rare classes first; each goes to
    the split that lacks most of what it holds.

    Args:
        counts: By name, pixels of each class, (C,).
        groups: By name, what must stay together; none for every image by itself.
        seed: Of the draw.
        in_blocks: Make each split of neighbours in the order of names, without any draw.
    """
    names = sorted(counts)
    if in_blocks:
        return _cut(sorted(names, key=natural))
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(groups.get(name, name), []).append(name)
    keys = list(members)
    wanted = {split: share for split, share in SHARES.items() if len(keys) > 2 or split != "val"}
    whole = sum(wanted.values())
    share = np.array([value / whole for value in wanted.values()])
    pixels = np.array([sum((counts[n] for n in members[key]), np.zeros(1)) for key in keys], float)
    total = pixels.sum(0)
    parts = pixels / np.maximum(total, 1)  # each group's share of every class
    sizes = np.array([len(members[key]) for key in keys]) / len(names)
    parts = np.concatenate([parts[:, total > 0], sizes[:, None]], axis=1)
    order = np.random.default_rng(seed).permutation(len(keys))
    order = order[np.argsort(-parts[order].max(1), kind="stable")]
    lacks = share[:, None] * np.ones(parts.shape[1])
    held = np.zeros(len(wanted), dtype=int)
    chosen: list[list[str]] = [[] for _ in wanted]
    for number, k in enumerate(order):
        empty = np.flatnonzero(held == 0)
        allowed = empty if len(order) - number <= len(empty) else np.arange(len(wanted))
        # What the splits together still lack of their shares, squared, is to shrink most.
        gain = ((lacks**2 - (lacks - parts[k]) ** 2) / share[:, None]).sum(1)
        best = int(allowed[np.argmax(gain[allowed])])
        chosen[best] += members[keys[k]]
        lacks[best] -= parts[k]
        held[best] += 1
    return {split: sorted(own) for split, own in zip(wanted, chosen, strict=True) if own}


def _cut(names: Sequence[str]) -> dict[str, list[str]]:
    """Cut a row of names at the shares, at least one for each."""
    first = max(1, round(len(names) * SHARES["train"]))
    second = max(first + 1, round(len(names) * (SHARES["train"] + SHARES["val"])))
    parts = {"train": names[:first], "val": names[first:second], "test": names[second:]}
    return {split: list(own) for split, own in parts.items() if own}
