"""What a design could show: how large a difference must be, by the number of seeds.

In: what was found of a grid, or of another one on the same images. Out: sentences.
"""

import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

from reports.stats.contrasts import Findings
from reports.stats.model import LEVEL, t_quantile
from reports.stats.pairs import Arm
from reports.stats.sets import VariantSet
from reports.style import label

DESIGNS = (1, 3, 5, 10)
"""Numbers of seeds of which is said what they could show."""
POWER = 0.8


def find_smallest(
    variance: float, of_images: float, freedom: float, critical: float, num_seeds: int
) -> float:
    """Return the difference of two variants that would be shown four times in five.

    Args:
        variance: Of the residual, from seed to seed.
        of_images: Variance of the difference that is due to the choice of images.
        freedom: Degrees of freedom of the residual.
        critical: By how much intervals are longer than each contrast's own.
        num_seeds: Seeds of each variant.
    """
    error = math.sqrt(2 * variance / num_seeds + of_images)
    return error * float(critical * t_quantile(freedom) + stats.t.ppf(POWER, freedom))


def describe_design(arms: Mapping[str, Arm], found: Findings, of: str = "") -> str:
    """Say how large a difference would have to be; empty where there is nothing to compare.

    Args:
        arms: Of the grid that it is said of.
        found: Of a grid whose seeds spread as its own do: itself, or another.
        of: Name of the other grid; empty for itself.
    """
    alike = [one for one in found.sets if len(_judged_alike(one, arms)) > 1]
    if len(arms) < 2:
        return ""
    if not alike:
        unlike = f" {of} has no two seeds of two variants on these images." if of else ""
        why = _say_why_unknown(arms)
        return f"How large a difference must be to be shown is unknown: {why}.{unlike}"
    one = max(alike, key=lambda own: len(own.names))
    sizes = [100 * size for size in _list_smallest(one, _judged_alike(one, arms), found.score)]
    shown = ", ".join(f"{size:.1f} with {n}" for size, n in zip(sizes, DESIGNS, strict=True))
    source = f"seeds spread here as in {of}" if of else "seeds spread as they did"
    return (
        f"About how large a difference of {label(found.score)} must be to be shown four times in "
        f"five, if {source}, in points: {shown} seeds; of one seed nothing is said to be shown."
    )


def _say_why_unknown(arms: Mapping[str, Arm]) -> str:
    if max(len(arm.seeds) for arm in arms.values()) < 2:
        return "one seed tells nothing of how far seeds spread"
    if max(arm.num_units for arm in arms.values()) < 2:
        return "one image tells nothing of others"
    return "no two variants have two seeds in common, on the same images and classes"


def _judged_alike(one: VariantSet, arms: Mapping[str, Arm]) -> Mapping[str, Arm]:
    """Return the arms that were judged on the images of a set."""
    images = {arm.images for arm in one.arms}
    return {name: arm for name, arm in arms.items() if arm.images in images}


def _list_smallest(one: VariantSet, arms: Mapping[str, Arm], score: str) -> list[float]:
    """Return the smallest difference for each of `DESIGNS`, one of all pairs of a grid."""
    model, V = one.model, len(arms)
    variance = float(np.median(model.variances))
    pairs = V * (V - 1) // 2
    found = []
    for seeds in DESIGNS:
        # With one seed the residual is the other runs'.
        freedom = float((V - 1) * (seeds - 1)) if seeds > 1 else model.freedom
        longer = float(stats.t.isf((1 - LEVEL) / (2 * pairs), freedom) / t_quantile(freedom))
        found.append(find_smallest(variance, _of_images(arms, score), freedom, longer, seeds))
    return found


def _of_images(arms: Mapping[str, Arm], score: str) -> float:
    """Return the variance of a pair's difference that is due to images, of a middling pair."""
    moves = [arm.draws[:, :, arm.scores.index(score)].mean(1) for arm in arms.values()]
    first, *others = (move for move in moves if len(move) == len(moves[0]))
    units = max(next(iter(arms.values())).num_units, 2)
    variances = [float((other - first).var(ddof=1)) for other in others]
    return float(np.median(variances)) * units / (units - 1)
