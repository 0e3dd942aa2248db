"""One model of error for a whole grid of variants and seeds: any contrast, with what it may miss.

    score[v, s] = mean[v] + seed[s] + residual[v, s]

The residual's variance is pooled over variants: three seeds of one say next to nothing of it. Where
runs are missing, means are those of least squares. The choice of images adds a part of its own, by
resampling them for all runs at once. A contrast is a row of weights over variants that add up to
zero, such as one variant less another, or the gain of a skip in one backbone less that in another.

In: scores of each run, on all images and in each resample. Out: estimates with their reach.

Reference: Scheffé, 1959, chapter 4 (two-way layouts); Satterthwaite, 1946 (degrees of freedom).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

LEVEL = 0.95
FEW = 4
"""Degrees of freedom of seeds below which their reach and that of images are added as squares, each
by its own t: Satterthwaite's rule would take many images for certainty about few seeds."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """One score of a grid of runs; NaN where there is no run."""

    points: Floats
    """On all images, (V, S)."""
    draws: Floats
    """In each resample of images, (R, V, S)."""
    num_units: int
    """What was resampled: images, or groups or blocks of them."""


@dataclass(frozen=True)
class Judgement:
    """Estimates of M contrasts, with their uncertainty over seeds and images, each (M,)."""

    estimate: Floats
    error: Floats
    """Standard error."""
    freedom: Floats
    """Degrees of freedom of that error."""
    reach: Floats
    """Half the length of each contrast's own interval at `LEVEL`."""


class Model:
    """The model of error of one grid.

    Args:
        scores: Two seeds of two variants at least.
        groups: Number of each variant's group, (V,): a group's variants share a spread, and what
            seeds do is part of it, since it need not be the same in each. None for one spread of
            all, beside which seeds have an effect of their own.
    """

    def __init__(self, scores: Scores, groups: NDArray[np.intp] | None = None) -> None:
        self.scores = scores
        self.present = ~np.isnan(scores.points)
        runs = self.present.astype(np.float64)
        self._shares = runs / runs.sum(1, keepdims=True)
        information = np.diag(runs.sum(0)) - runs.T @ self._shares
        # Seeds are blocks where each can be reached from each by runs of a common variant.
        blocks = np.linalg.matrix_rank(information, hermitian=True)
        taken = blocks if groups is None and blocks == runs.shape[1] - 1 else 0
        self._inverse = np.linalg.pinv(information * (taken > 0), hermitian=True)
        self.groups = np.zeros(len(runs), dtype=np.intp) if groups is None else groups
        left = runs.sum(1) - 1  # degrees of freedom, before seeds take theirs
        self._left = left
        self.freedom = max(float(left.sum() - taken), 0.0)
        self.freedoms = self._by_group(left) * self.freedom / max(left.sum(), 1.0)
        self.variances = self.pool(scores.points)
        spread = np.sqrt(scores.num_units / max(scores.num_units - 1, 1))
        # A resample of N units spreads as N - 1 fresh ones would.
        means = self.means(scores.draws)
        self.image_moves = spread * (means - means.mean(0))

    def means(self, points: Floats) -> Floats:
        """Return the variants' means by least squares, (..., V), of scores (..., V, S)."""
        filled = np.where(self.present, points, 0.0)
        means: Floats = (filled * self._shares).sum(-1) - self._seeds(filled) @ self._shares.T
        return means

    def residuals(self, points: Floats) -> Floats:
        """Return what variants and seeds leave of scores, (..., V, S); 0 where there is no run."""
        filled = np.where(self.present, points, 0.0)
        left = filled - self.means(points)[..., None] - self._seeds(filled)[..., None, :]
        return np.where(self.present, left, 0.0)

    def pool(self, points: Floats) -> Floats:
        """Return the residual variance of each group, (..., G), of scores (..., V, S)."""
        squares = (self.residuals(points) ** 2).sum(-1)
        variances: Floats = self._by_group(squares) / np.maximum(self.freedoms, 1e-12)
        return variances

    def unlike(self, points: Floats) -> Floats:
        """Return how unlike the variants' residual variances are, (...), beyond chance.

        The squared coefficient of variation of what stands behind them; 0 where they have groups,
        or too few.
        """
        known = self._left > 0
        if self.groups.max() or known.sum() < 3:
            return np.zeros(points.shape[:-2])
        each = self._left[known] * self.freedom / self._left.sum()
        variances = (self.residuals(points)[..., known, :] ** 2).sum(-1) / each
        mean = np.maximum(variances.mean(-1), 1e-100)
        seen = variances.var(axis=-1, ddof=1) / mean**2
        chance = float((2 / each).mean())
        unlike: Floats = np.maximum((seen - chance) / (1 + chance), 0.0)
        return unlike

    def judge(self, contrasts: sparse.csr_array) -> Judgement:
        """Estimate contrasts, (M, V)."""
        return Contrasts(self, contrasts).judge(self.scores.points)

    def _seeds(self, filled: Floats) -> Floats:
        """Return the seeds' effects, (..., S), of scores with 0 where there is no run."""
        means = (filled * self._shares).sum(-1)[..., None]
        effects: Floats = np.where(self.present, filled - means, 0.0).sum(-2) @ self._inverse
        return effects

    def _by_group(self, values: Floats) -> Floats:
        """Add up values of variants, (..., V), over each group, (..., G)."""
        summed: Floats = values @ np.eye(self.groups.max() + 1)[self.groups]
        return summed


class Contrasts:
    """Contrasts under a model: what of their uncertainty does not depend on the scores, once.

    Args:
        model: The model.
        weights: Of each variant in each contrast, (M, V); rows add up to zero.
    """

    def __init__(self, model: Model, weights: sparse.csr_array) -> None:
        self._model, self.weights = model, weights
        self._leverage = self._weigh_runs()
        absent = (abs(weights) > 0).astype(np.float64) @ (~model.present).astype(np.float64)
        self._whole = absent == 0
        self.num_seeds = self._whole.sum(1)
        """Seeds of which each contrast has all runs, (M,)."""
        self.moves = self.of(model.image_moves)
        """What resampling images does to the estimates, (R, M)."""
        self._of_images = self.moves.var(axis=0, ddof=1)
        squares = np.asarray(weights.power(2).sum(1)).ravel()
        fourths = np.asarray(weights.power(4).sum(1)).ravel()
        self._concentration = fourths / np.maximum(squares**2, 1e-300)
        """How much of each contrast rests on few variants, (M,): 1/2 for a pair."""

    @property
    def num_columns(self) -> int:
        """Number of seeds that the model knows."""
        return int(self._model.present.shape[1])

    def of(self, values: Floats) -> Floats:
        """Return the contrasts, (..., M), of values of variants, (..., V)."""
        flat = values.reshape(-1, values.shape[-1])
        found: Floats = np.asarray(self.weights @ flat.T).T
        return found.reshape(*values.shape[:-1], -1)

    def judge(self, points: Floats, *, are_alike: bool = False) -> Judgement:
        """Estimate the contrasts of scores (..., V, S); the part of images stays the model's.

        `are_alike`: whether variants are known to have one variance, as in draws of a null grid.
        """
        model = self._model
        parts = model.pool(points)[..., None, :] * self._leverage  # (..., M, G)
        pooled = parts.sum(-1)
        freedom = _satterthwaite(parts, model.freedoms)
        # Where variants are unlike, a pooled variance has the tails of fewer: a mixture of normals
        # whose variances vary by as much has the kurtosis of Student's t of 4 + 2 / that.
        unlike = np.zeros(()) if are_alike else model.unlike(points)
        mixed = unlike[..., None] * self._concentration
        freedom = 1 / (1 / freedom + mixed / (4 * mixed + 2))
        of_seeds = np.maximum(pooled, self._own_variance(points))
        units = max(model.scores.num_units - 1, 1)
        both = np.stack([of_seeds, np.broadcast_to(self._of_images, of_seeds.shape)], axis=-1)
        error = np.sqrt(both.sum(-1))
        total = _satterthwaite(both, np.stack([freedom, np.full_like(freedom, units)], axis=-1))
        apart = np.hypot(
            t_quantile(freedom) * np.sqrt(of_seeds), t_quantile(units) * np.sqrt(self._of_images)
        )
        reach = np.where(freedom < FEW, apart, t_quantile(total) * error)
        return Judgement(self.of(model.means(points)), error, total, reach)

    def _own_variance(self, points: Floats) -> Floats:
        """Return the variance of each contrast over its own seeds, (..., M); 0 with fewer than two.

        Where variants that share little differ more than all do in the mean, this is larger.
        """
        filled = np.where(self._model.present, points, 0.0)
        values = np.moveaxis(self.of(np.moveaxis(filled, -2, -1)), -1, -2)  # (..., M, S)
        count = np.maximum(self.num_seeds, 2)[:, None]
        mean = np.where(self._whole, values, 0.0).sum(-1, keepdims=True) / count
        squares = np.where(self._whole, (values - mean) ** 2, 0.0).sum(-1)
        own: Floats = squares / ((count - 1) * count)[:, 0]
        return np.where(self.num_seeds > 1, own, 0.0)

    def _weigh_runs(self) -> Floats:
        """Return the squares of the weights that each run has, by contrast and group, (M, G).

        Those of least squares: of each variant's mean, and of what is taken from it for seeds,
        where runs are missing. The two add up, and groups leave seeds no part.
        """
        model = self._model
        squares = self.weights.power(2) / model.present.sum(1)
        seeds = self.weights @ model._shares  # (M, S); zero where no run is missing
        of_seeds = (seeds @ model._inverse * seeds).sum(-1, keepdims=True)
        weights: Floats = model._by_group(squares.toarray()) + of_seeds
        return weights


def t_quantile(freedom: Floats | float) -> Floats:
    """Return how many standard errors reach to either side of the central `LEVEL`.

    Read off a table over the inverse of the degrees of freedom, from a quarter of one up, right to
    1e-7: draws of a family ask for millions.
    """
    inverses, quantiles = _tabulate()
    quantile: Floats = np.interp(1 / np.asarray(freedom, dtype=np.float64), inverses, quantiles)
    return quantile


@cache
def _tabulate() -> tuple[Floats, Floats]:
    inverses = np.linspace(0, 4, 200_001)
    freedoms = np.divide(1, inverses, out=np.full_like(inverses, np.inf), where=inverses > 0)
    return inverses, special.stdtrit(freedoms, (1 + LEVEL) / 2)


def _satterthwaite(variances: Floats, freedoms: Floats) -> Floats:
    """Return the degrees of freedom of sums of variances over the last axis."""
    total, squares = variances.sum(-1), variances**2
    parts = np.divide(squares, freedoms, out=np.zeros_like(squares), where=squares > 0).sum(-1)
    most = np.full_like(total, np.max(freedoms))
    freedom: Floats = np.divide(total**2, parts, out=most, where=parts > 0)
    return freedom
