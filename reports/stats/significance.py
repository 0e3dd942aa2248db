"""Is a difference more than chance? Permutation tests, Holm's correction, Student's t.

In: arrays. Out: p-values.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

ALPHA = 0.05
"""Chance of a false alarm that a report accepts, over all variants of one score."""
Floats = NDArray[np.float64]


def draw_swaps(num_images: int, num_draws: int, key: str) -> Floats:
    """Draw which images change sides in each permutation, (P, N) of 0 and 1.

    All 2^N assignments are listed where that is no more than `num_draws`: the test is then exact.
    """
    if 2**num_images <= num_draws:
        bits = np.arange(2**num_images)[:, None] >> np.arange(num_images)
        return (bits & 1).astype(np.float64)
    digest = hashlib.sha256(f"swaps\n{key}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    return rng.integers(0, 2, (num_draws, num_images)).astype(np.float64)


def swap_p_value(
    after: NDArray[np.integer],
    before: NDArray[np.integer],
    swaps: Floats,
    score: Callable[[Floats], Floats],
) -> Floats:
    """Test whether two arms are exchangeable, image by image.

    If they are, then an image's counts could as well stand under the other arm. Each permutation
    exchanges the counts of some images, in all seeds at once (the seeds saw the same images),
    and scores both arms anew on the whole split. p is the share of permutations, the observed one
    included, with a difference at least as large, whichever its sign.

    Args:
        after: Counts of each run and image, (S, N, K).
        before: The same of the other arm, its runs in the order of the same seeds.
        swaps: 1 where an image changes sides, (P, N); `draw_swaps`.
        score: Counts (..., K) to scores (..., M).

    Returns:
        p of the mean difference over seeds, (M,); NaN where the difference is.

    Reference: Phipson and Smyth, 2010 (why p is never 0), arXiv:1603.05766.
    """
    S, N, K = after.shape
    change = (before - after).transpose(1, 0, 2).reshape(N, S * K)
    used = change.any(axis=0)  # the target's counts are those of the images: they never change
    moved = np.zeros((len(swaps), S * K))
    moved[:, used] = swaps @ change[:, used].astype(np.float64)
    moved = moved.reshape(len(swaps), S, K)
    sums = [arm.sum(axis=1, dtype=np.int64).astype(np.float64) for arm in (after, before)]
    observed = (score(sums[0]) - score(sums[1])).mean(axis=0)
    permuted = (score(sums[0] + moved) - score(sums[1] - moved)).mean(axis=1)
    # An equal difference may come out unequal in the last bit; NaN counts against us.
    reached = ~(np.abs(permuted) < np.abs(observed) * (1 - 1e-9))
    is_exact = len(swaps) == 2**N
    p: Floats = reached.mean(0) if is_exact else (1 + reached.sum(0)) / (1 + len(swaps))
    p[np.isnan(observed)] = np.nan
    return p


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p-values for their number, so that one false alarm among them all is rare.

    NaN stays NaN and is not counted.

    Reference: Holm, 1979, "A simple sequentially rejective multiple test procedure".
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps * p[order]), 1.0)
    return adjusted


def student_p(mean: Floats, error: Floats, freedom: Floats) -> Floats:
    """Return the two-sided p of `mean` under Student's t, elementwise; 1 where there is no change.

    An error of zero around a mean that is not zero gives 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        p: Floats = 2 * stdtr(freedom, -np.abs(mean / error))
    p[(mean == 0) & (error >= 0)] = 1.0
    return p


def student_quantile(freedom: Floats, level: float) -> Floats:
    """Return how many standard errors reach to either side of the central `level`, elementwise."""
    found: Floats = stdtrit(np.maximum(freedom, 1), (1 + level) / 2)
    return found
