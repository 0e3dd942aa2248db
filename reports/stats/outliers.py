"""Runs that went another way than their variant's: collapsed, or far below it.

In: arms of variants. Out: which seeds of each, and why; and arms without them. The analysis that is
shown keeps them, since they are results; where it does not hold without them nothing is shown.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from reports.stats.pairs import Arm
from reports.style import percent

SHARE = 0.5
"""Share of its variant's median mIoU below which a run is an outlier."""

COLLAPSED = "collapsed to one class"

Outliers = Mapping[str, Mapping[int, str]]
"""By variant and seed, why a run is one, as the end of a sentence about it."""


def find_outliers(arms: Mapping[str, Arm]) -> dict[str, dict[int, str]]:
    """Find outliers; a variant all of whose runs would be has none: that is what it does."""
    found = {name: _find(arm) for name, arm in arms.items()}
    return {name: own for name, own in found.items() if 0 < len(own) < len(arms[name].seeds)}


def _find(arm: Arm) -> dict[int, str]:
    scores = arm.points[:, arm.scores.index("miou")]
    median = float(np.median(scores))
    found = {}
    for seed, score in zip(arm.seeds, scores, strict=True):
        if seed in arm.collapsed:
            found[seed] = COLLAPSED
        elif score < SHARE * median:
            found[seed] = (
                f"mIoU {percent(score)} %, under half of its variant's {percent(median)} %"
            )
    return found


def leave_out(arms: Mapping[str, Arm], outliers: Outliers) -> dict[str, Arm]:
    """Return the arms without the outliers' scores and draws."""
    left = {}
    for name, arm in arms.items():
        kept = [k for k, seed in enumerate(arm.seeds) if seed not in outliers.get(name, {})]
        seeds = tuple(arm.seeds[k] for k in kept)
        left[name] = replace(arm, seeds=seeds, points=arm.points[kept], draws=arm.draws[:, kept])
    return left


def describe_runs(outliers: Outliers) -> str:
    """Name the runs, each with its reason."""
    runs = [f"{n}, seed {s} ({why})" for n, own in outliers.items() for s, why in own.items()]
    return "; ".join(runs)


def describe_outliers(outliers: Outliers) -> str:
    """Say which runs are outliers, in a sentence; empty where none is."""
    if not outliers:
        return ""
    is_one = sum(map(len, outliers.values())) == 1
    return (
        f"{'An outlier' if is_one else 'Outliers'}: {describe_runs(outliers)}. All numbers keep "
        f"{'it' if is_one else 'them'}; intervals of differences reach over those without "
        f"{'it' if is_one else 'them'} too, so what is shown is shown either way."
    )
