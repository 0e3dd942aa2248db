"""The order in which a grid's runs are started: long ones first, so that slots end together.

In: a plan, and what an image costs each variant. Out: the same plan, its runs in another order.
"""

from collections.abc import Mapping
from dataclasses import replace

from bench.plan import Plan


def longest_first(plan: Plan, costs: Mapping[str, float]) -> Plan:
    """Order a plan's runs by how long is left from their start, seed by seed.

    All variants with one seed come before any with the next: an early end then leaves the question
    answered, with fewer seeds. How long is left counts the runs that start from a run's weights.

    Args:
        plan: Parents before children; so it is returned.
        costs: Of one image, by variant, in any unit.
    """
    seeds = list(dict.fromkeys(planned.run.spec.seed for planned in plan.runs))
    left: dict[str, float] = {}
    waiting: dict[str, float] = {}
    for planned in reversed(plan.runs):  # children first
        run = planned.run
        own = costs[planned.variant] * run.num_images
        left[run.id] = own + waiting.get(run.id, 0.0)
        for parent in run.parents:
            waiting[parent] = max(waiting.get(parent, 0.0), left[run.id])
    ordered = sorted(
        plan.runs,
        key=lambda planned: (seeds.index(planned.run.spec.seed), -left[planned.run.id]),
    )
    return replace(plan, runs=tuple(ordered))
