"""Which parameters fall where: the parts that a spec freezes or has learn at another rate."""

from collections.abc import Iterator, Mapping

from bench.data.facts import DatasetFacts
from bench.grid.preflight import build_somehow, first_seeds
from bench.plan import Plan
from bench.run.groups import describe_groups


def group_remarks(plan: Plan, facts: Mapping[str, DatasetFacts]) -> Iterator[str]:
    """Yield, for each part that is frozen or has a rate of its own, a line with what is in it.

    Args:
        plan: What is to be run; its models can be built.
        facts: Of the datasets, by fingerprint.
    """
    found: dict[str, list[str]] = {}
    for planned in first_seeds(plan):
        spec = planned.run.spec
        if not (spec.train.freeze or spec.train.groups or spec.train.layer_decay < 1):
            continue
        options = facts[planned.run.fingerprint].network_options(spec.data)
        model = build_somehow(spec.model, options)
        for line in describe_groups(model, spec.train, spec.model):
            found.setdefault(line, []).append(planned.variant)
    for line, variants in found.items():
        yield f"{line} (variants {', '.join(variants)})"
