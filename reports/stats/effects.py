"""Effects: weights of variants that add up to zero, such as one variant less another."""

from collections.abc import Mapping, Sequence

Levels = Mapping[str, Mapping[str, str]]
"""By factor, the level of each variant."""
Effect = Mapping[str, float]
"""Weights of variants, which add up to zero."""
FOLD = "data.fold"
"""The factor whose levels are judged by other images each."""


def pair(before: str, after: str) -> dict[str, float]:
    """Return what one variant has more than another."""
    return {before: -1.0, after: 1.0}


def mean_effect(effects: Sequence[Effect]) -> dict[str, float]:
    """Return the mean of effects."""
    mean: dict[str, float] = {}
    for one in effects:
        for name, weight in one.items():
            mean[name] = mean.get(name, 0.0) + weight / len(effects)
    return mean


def less(effect: Effect, other: Effect) -> dict[str, float]:
    """Return an effect less another."""
    names = dict.fromkeys([*effect, *other])
    return {name: effect.get(name, 0.0) - other.get(name, 0.0) for name in names}
