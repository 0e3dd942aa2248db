"""Intervals by resampling images and seeds: arrays of counts in, arrays of estimates out.

A resample is a weight for each image; its counts are `weights @ counts`, so thousands of
resamples are one matrix product, exact in float64 (whole numbers below 2**53) and so the same bits
on every machine. All variants share the weights: whatever images do to all of them cancels.

Reference: Efron and Tibshirani, 1993, chapter 13; Owen, 2007, "The pigeonhole bootstrap" (two
crossed levels); Hesterberg, 2015, section 3.3 (why few draws of a level make intervals too narrow).
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reports.stats.model import LEVEL, t_quantile

NUM_RESAMPLES = 2000
Floats = NDArray[np.float64]

_NORMAL_QUANTILE = 1.959964
"""Of the level above; the reach of a percentile interval when there is no end of data."""


class Estimate(NamedTuple):
    """Means over seeds with their uncertainty, one for each of M quantities; NaN for unknown."""

    mean: Floats
    low: Floats
    high: Floats
    error: Floats
    """Standard error, over images and, with two seeds or more, over seeds."""
    freedom: Floats
    """Degrees of freedom of that error: near 1 for two seeds that differ, large for many
    images and seeds that agree."""


def draw_weights(num_units: int, num_resamples: int, key: str) -> Floats:
    """Draw how often each of N images, or groups of them, occurs in each resample, (R, N).

    The draws are a function of `key` and the two numbers alone.
    """
    rng = _generator("images", key)
    weights = np.empty((num_resamples, num_units))
    for row in weights:
        row[:] = np.bincount(rng.integers(0, num_units, num_units), minlength=num_units)
    return weights


def draw_seed_weights(seeds: Sequence[int], num_resamples: int, key: str) -> Floats:
    """Draw how often each seed occurs in each resample, (R, S), as a function of the arguments."""
    rng = _generator("seeds", f"{key} {list(seeds)}")
    return rng.multinomial(len(seeds), [1 / len(seeds)] * len(seeds), num_resamples).astype(float)


def resample(weights: Floats, counts: NDArray[np.integer]) -> Floats:
    """Add up counts over the images of each resample.

    Args:
        weights: Occurrences of each image, (R, N).
        counts: Counts of each run and image, (S, N, K).

    Returns:
        Sums, (R, S, K).
    """
    S, N, K = counts.shape
    flat = counts.transpose(1, 0, 2).reshape(N, S * K)
    used = flat.any(axis=0)  # classes that never occur cost nothing
    sums = np.zeros((len(weights), S * K))
    sums[:, used] = weights @ flat[:, used].astype(np.float64)
    return sums.reshape(len(weights), S, K)


def estimate(points: Floats, draws: Floats, seed_weights: Floats, num_units: int) -> Estimate:
    """Put an interval around means over seeds.

    The percentile interval of two crossed levels (the same images for all seeds), each level
    stretched by sqrt(n / (n - 1)) since resampling n values underrates their spread, and the whole
    by Student's t over the normal quantile, with Satterthwaite's degrees of freedom. Without that
    two or three seeds would give intervals that are far too short.

    Args:
        points: Quantities of each seed on all images, (S, M); M may be several axes.
        draws: The same in each resample of images, (R, S, M); NaN where undefined.
        seed_weights: Occurrences of each seed in each resample, (R, S).
        num_units: What was resampled, N; below 2 there is no interval.
    """
    S, N, shape = len(points), num_units, points.shape[1:]
    points, draws = points.reshape(S, -1), draws.reshape(len(draws), S, -1)
    mean = points.mean(0)
    error, freedom = standard_error(points, draws, num_units)
    if N < 2:
        low = high = np.full_like(mean, np.nan)
        return Estimate(*(one.reshape(shape) for one in (mean, low, high, error, freedom)))
    moves = np.sqrt(N / (N - 1)) * (draws.mean(1) - mean)
    if S > 1:
        extra = (seed_weights - 1) * (np.sqrt(S / (S - 1)) / S)
        moves = moves + np.einsum("rs,rsm->rm", extra, draws)
    low, high = (mean + find_stretch(freedom) * q for q in _tails(moves))
    return Estimate(*(one.reshape(shape) for one in (mean, low, high, error, freedom)))


def find_stretch(freedom: Floats) -> Floats:
    """Return by how much an interval of draws is stretched, given its degrees of freedom."""
    return t_quantile(np.maximum(freedom, 1)) / _NORMAL_QUANTILE


def standard_error(points: Floats, draws: Floats, num_units: int) -> tuple[Floats, Floats]:
    """Return the standard error of means over seeds and its degrees of freedom, both (M,)."""
    S, N = len(points), num_units
    if N < 2:
        return np.full(points.shape[1], np.nan), np.full(points.shape[1], np.nan)
    of_images = _variance(draws.mean(1)) * N / (N - 1)
    of_seeds = points.var(axis=0, ddof=1) / S if S > 1 else np.zeros(points.shape[1])
    total = of_images + of_seeds
    parts = of_images**2 / (N - 1) + of_seeds**2 / max(S - 1, 1)
    freedom = np.divide(total**2, parts, out=np.full_like(total, N - 1.0), where=parts > 0)
    return np.sqrt(total), np.where(np.isnan(total), np.nan, freedom)


def _variance(values: Floats) -> Floats:
    """Return the variance of each column over the resamples in which it exists."""
    exists = ~np.isnan(values)
    count = exists.sum(0)
    mean = np.where(exists, values, 0).sum(0) / np.maximum(count, 1)
    squares = (np.where(exists, values - mean, 0) ** 2).sum(0)
    return np.where(_enough(values), squares / np.maximum(count - 1, 1), np.nan)


def _tails(values: Floats) -> Floats:
    """Return both ends of the central part of each column, (2, M)."""
    levels = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    tails = np.full((2, values.shape[1]), np.nan)
    whole = ~np.isnan(values).any(axis=0)
    tails[:, whole] = np.quantile(values[:, whole], levels, axis=0)
    for m in np.flatnonzero(~whole & _enough(values)):
        column = values[:, m]
        tails[:, m] = np.quantile(column[~np.isnan(column)], levels)
    return tails


def _enough(values: Floats) -> NDArray[np.bool_]:
    """Say which columns exist in half of the resamples or more: a class may be in few images."""
    enough: NDArray[np.bool_] = (~np.isnan(values)).sum(0) * 2 >= len(values)
    return enough


def entropy_of_images(key: str = "") -> list[int]:
    """Return what the generator of `draw_weights` begins with: words of 32 bits, lowest first."""
    entropy = _entropy("images", key)
    return [entropy >> shift & 0xFFFFFFFF for shift in range(0, 128, 32)]


def _generator(*content: str) -> np.random.Generator:
    return np.random.default_rng(_entropy(*content))


def _entropy(*content: str) -> int:
    digest = hashlib.sha256("\n".join(content).encode()).digest()
    return int.from_bytes(digest[:16], "big")
