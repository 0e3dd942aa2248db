"""One page, one 5 %: contrasts judged together, so that a page claims nothing that is not so.

The critical value is the 95 % point of the largest |estimate| over its own reach, among all
contrasts of the family, where nothing differs; it is drawn from the model, each draw judged as the
scores are. An interval is the reach times that value, so that interval and decision are one thing.

In: a model and contrasts. Out: simultaneous intervals, and p adjusted for all contrasts.

Reference: Hothorn, Bretz and Westfall, 2008, "Simultaneous inference in general parametric models".
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from reports.stats.model import LEVEL, Contrasts, Floats, Judgement, Model

NUM_DRAWS = 2000
FEWEST_DRAWS = 400
MAX_JUDGED = 2e8
"""Numbers judged in all draws of a family, about ten seconds; of larger ones there are fewer."""
CHUNK = 4_000_000
"""Numbers held at once."""


@dataclass(frozen=True)
class Verdicts:
    """Contrasts judged as one family, each (M,)."""

    judged: Judgement
    critical: float
    """By how much simultaneous intervals are longer than each contrast's own."""
    p: Floats
    """Share of draws without any difference in which some contrast is as far out."""
    num_draws: int

    @property
    def low(self) -> Floats:
        """Lower ends of the simultaneous intervals; a difference of fractions is -1 at least."""
        low: Floats = np.maximum(self.judged.estimate - self.critical * self.judged.reach, -1.0)
        return low

    @property
    def high(self) -> Floats:
        """Upper ends of the simultaneous intervals."""
        high: Floats = np.minimum(self.judged.estimate + self.critical * self.judged.reach, 1.0)
        return high


def judge_family(model: Model, weights: sparse.csr_array, key: str) -> Verdicts:
    """Judge contrasts together.

    Args:
        model: The model of error.
        weights: Of each variant in each contrast, (M, V); rows add up to zero.
        key: What the draws depend on, besides the sizes.
    """
    contrasts = Contrasts(model, weights)
    judged = contrasts.judge(model.scores.points)
    numbers = weights.shape[0] * model.present.shape[1] + model.present.size
    num_draws = int(np.clip(MAX_JUDGED / numbers, FEWEST_DRAWS, NUM_DRAWS))
    largest = draw_largest(model, contrasts, num_draws, key)
    # An interval of several is never shorter than one alone.
    critical = max(float(np.quantile(largest, LEVEL)), 1.0)
    far = _over_reach(judged.estimate, judged.reach)
    reached = len(largest) - np.searchsorted(np.sort(largest), far * (1 - 1e-9), side="left")
    return Verdicts(judged, critical, (1 + reached) / (1 + num_draws), num_draws)


def draw_largest(model: Model, contrasts: Contrasts, num_draws: int, key: str) -> Floats:
    """Draw the largest |estimate| over reach among contrasts where no variant differs, (draws,)."""
    digest = hashlib.sha256(f"family\n{key}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    V, S = model.present.shape
    spread = np.sqrt(model.variances)[model.groups][:, None]
    step = max(1, CHUNK // max(contrasts.weights.shape[0] * S, 1))
    found = []
    for first in range(0, num_draws, step):
        count = min(step, num_draws - first)
        judged = contrasts.judge(rng.normal(size=(count, V, S)) * spread)
        moved = contrasts.moves[rng.integers(0, len(contrasts.moves), count)]
        found.append(_over_reach(judged.estimate + moved, judged.reach).max(-1))
    return np.concatenate(found)


def _over_reach(estimate: Floats, reach: Floats) -> Floats:
    """Return |estimate| over reach; 0 where nothing differs, infinite without uncertainty."""
    size: NDArray[np.float64] = np.abs(estimate)
    return np.divide(size, reach, out=np.where(size > 0, np.inf, 0.0), where=reach > 0)
