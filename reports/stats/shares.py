"""Shares of variance: how much of the scatter of a grid's scores is due to each of its factors.

In: arms and the levels of their variants. Out: parts of the sum of squares around the grid's mean.
Of complete and balanced grids alone: elsewhere the parts are not each factor's own.

Reference: Scheffé, 1959, chapter 4.
"""

from collections.abc import Mapping

import numpy as np

from reports.stats.effects import Levels
from reports.stats.pairs import Arm
from reports.stats.primary import PRIMARY

INTERACTION, SEEDS = "interaction", "seeds"


def share_variance(
    arms: Mapping[str, Arm], levels: Levels, score: str = PRIMARY
) -> dict[str, float]:
    """Return each factor's share, then that of how factors act on each other, then that of seeds.

    Empty unless two factors or more vary, every combination of their levels is one variant, all
    have the same seeds, two or more, and scores are not all the same.
    """
    own = {factor: [of[name] for name in arms] for factor, of in levels.items()}
    own = {factor: values for factor, values in own.items() if len(set(values)) > 1}
    seeds = {arm.seeds for arm in arms.values()}
    sizes = [len(set(values)) for values in own.values()]
    cells = set(zip(*own.values(), strict=True))
    complete = len(cells) == len(arms) == np.prod(sizes)
    if len(own) < 2 or not complete or len(seeds) != 1 or len(next(iter(seeds))) < 2:
        return {}
    if len({arm.images for arm in arms.values()}) != 1:
        return {}
    scores = np.stack([arm.points[:, arm.scores.index(score)] for arm in arms.values()])
    S = scores.shape[1]
    means, mean = scores.mean(1), scores.mean()
    total = float(((scores - mean) ** 2).sum())
    if not total > 0:
        return {}
    parts = {}
    for factor, values in own.items():
        places = np.unique(values, return_inverse=True)[1]
        count = np.bincount(places)
        by_level = np.bincount(places, means) / count
        parts[factor] = S * float((count * (by_level - mean) ** 2).sum())
    between = S * float(((means - mean) ** 2).sum())
    parts[INTERACTION] = between - sum(parts.values())
    parts[SEEDS] = total - between
    return {name: max(part, 0.0) / total for name, part in parts.items()}
