"""One page, one 5 %: contrasts judged together, so that a page claims nothing that is not so.

The critical value is the 95 % point of the largest |estimate| over its own reach, among all
contrasts of the family, where nothing differs; it is drawn from the model, each draw judged as the
scores are. An interval is the reach times that value, so that interval and decision are one thing.

In: a model and contrasts. Out: simultaneous intervals, and p adjusted for all contrasts.

Reference: Hothorn, Bretz and Westfall, 2008, "Simultaneous inference in general parametric models".
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from reports.stats.model import LEVEL, Contrasts, Floats, Judgement, Model, t_quantile

NUM_DRAWS = 2000
FEWEST_DRAWS = 400
MAX_JUDGED = 2e8
"""Numbers judged in all draws of a family, about ten seconds; of larger ones there are fewer."""
MANY_UNITS = 100
"""Images, or groups of them, from which their spread is known well enough."""
CHUNK = 4_000_000
"""Numbers held at once."""


@dataclass(frozen=True)
class Verdicts:
    """Contrasts judged as one family, each (M,)."""

    judged: Judgement
    critical: float | Floats
    """By how much simultaneous intervals are longer than each contrast's own; one number for all
    where it was drawn."""
    p: Floats
    """Share of draws without any difference in which some contrast is as far out."""
    num_draws: int


def judge_family(model: Model, weights: sparse.csr_array, key: str) -> Verdicts:
    """Judge contrasts together.

    Args:
        model: The model of error.
        weights: Of each variant in each contrast, (M, V); rows add up to zero.
        key: What the draws depend on, besides the sizes.
    """
    return judge_families([(model, weights)], key)[0]


def judge_families(
    families: Sequence[tuple[Model, sparse.csr_array]], key: str, stops: int = 1
) -> list[Verdicts]:
    """Judge contrasts under several models, which share one 5 %; takes what the one above does.

    `stops` is how often seeds may have ended, where what was seen decided on that: each has its
    even share of the 5 %, so that all together have no more.
    """
    contrasts = [Contrasts(model, weights) for model, weights in families]
    numbers = sum(
        weights.shape[0] * model.present.shape[1] + model.present.size
        for model, weights in families
    )
    num_draws = int(np.clip(MAX_JUDGED / max(numbers, 1), FEWEST_DRAWS, NUM_DRAWS))
    drawn = [
        draw_largest(model, own, num_draws, f"{key} {number}")
        for number, ((model, _), own) in enumerate(zip(families, contrasts, strict=True))
    ]
    if not drawn:
        return []
    largest = np.sort(np.maximum.reduce(drawn))
    # An interval of several is never shorter than one alone.
    critical = max(float(np.quantile(largest, 1 - (1 - LEVEL) / stops)), 1.0)
    found = []
    for (model, _), own in zip(families, contrasts, strict=True):
        judged = own.judge(model.scores.points)
        far = np.abs(over_reach(judged.estimate, judged.reach))
        reached = num_draws - np.searchsorted(largest, far * (1 - 1e-9), side="left")
        p = np.minimum(stops * (1 + reached) / (1 + num_draws), 1.0)
        found.append(Verdicts(judged, critical, p, num_draws))
    return found


def judge_one_of(model: Model, weights: sparse.csr_array, number: int) -> Verdicts:
    """Judge contrasts as some of `number` that share 5 % evenly (Bonferroni); nothing is drawn."""
    judged = Contrasts(model, weights).judge(model.scores.points)
    freedom = np.maximum(judged.freedom, 1.0)
    longer = special.stdtrit(freedom, 1 - (1 - LEVEL) / (2 * number)) / t_quantile(freedom)
    far = np.abs(over_reach(judged.estimate, judged.reach)) * t_quantile(freedom)
    p = np.minimum(2 * number * special.stdtr(freedom, -far), 1.0)
    return Verdicts(judged, longer, p, 0)


def draw_largest(model: Model, contrasts: Contrasts, num_draws: int, key: str) -> Floats:
    """Draw the largest |estimate| over reach among contrasts where no variant differs, (draws,)."""
    drawn = [np.abs(part).max(-1) for part in draw_ratios(model, contrasts, num_draws, key)]
    return np.concatenate(drawn)


def draw_ratios(model: Model, contrasts: Contrasts, num_draws: int, key: str) -> Iterator[Floats]:
    """Draw estimate over reach of contrasts where no variant differs: parts, (draws, M)."""
    digest = hashlib.sha256(f"family\n{key}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    V, S = model.present.shape
    units = model.scores.num_units
    for count in chunk_draws(contrasts, num_draws):
        noise = rng.normal(size=(count, V, S))
        resamples = rng.integers(0, len(contrasts.moves), count)
        shape = count, contrasts.weights.shape[0]
        yield weigh_noise(
            model,
            contrasts,
            noise,
            resamples,
            rng.chisquare(units - 1, shape) if units < MANY_UNITS else None,
        )


def chunk_draws(contrasts: Contrasts, num_draws: int) -> Iterator[int]:
    """Yield how many draws are made at once."""
    step = max(1, CHUNK // max(contrasts.weights.shape[0] * contrasts.num_columns, 1))
    yield from (min(step, num_draws - first) for first in range(0, num_draws, step))


def weigh_noise(
    model: Model,
    contrasts: Contrasts,
    noise: Floats,
    resamples: NDArray[np.intp],
    squares: Floats | None,
) -> Floats:
    """Return estimate over reach of contrasts where no variant differs, (draws, M).

    Args:
        model: The model.
        contrasts: Under it.
        noise: Standard normal, of each run, (draws, V, S).
        resamples: Which resample of images each draw is moved by, (draws,).
        squares: Where few units tell their own spread badly: chi-squares of units less one, of each
            contrast anew, (draws, M); None where there are many.
    """
    spread = np.sqrt(model.variances)[model.groups][:, None]
    judged = contrasts.judge(noise * spread, are_alike=True)
    moved = contrasts.moves[resamples]
    if squares is not None:
        moved = moved * np.sqrt((model.scores.num_units - 1) / squares)
    return over_reach(judged.estimate + moved, judged.reach)


def over_reach(estimate: Floats, reach: Floats) -> Floats:
    """Return estimate over reach; 0 where nothing differs, infinite without uncertainty."""
    without = np.where(estimate == 0, 0.0, np.copysign(np.inf, estimate))
    ratio: NDArray[np.float64] = np.divide(estimate, reach, out=without, where=reach > 0)
    return ratio
