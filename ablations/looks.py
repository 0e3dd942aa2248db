"""Which seeds each variant is run with, where a question asks for seeds as they are needed.

In: a question's plan with its own seeds, and the looks that a store keeps of it. Out: the plan of a
look: the question's seeds first, then the smallest that it does not name.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.looks import Look, Looks
    from bench.plan import Plan
    from bench.store.runs import Store

Grow = Callable[[Sequence[int]], "Plan"]
"""Expands a question anew, with other seeds."""


def recall_looks(plan: "Plan", store: "Store", grow: Grow) -> "Plan":
    """Return the plan of the latest look at a question; the plan as it is where there is none.

    Looks that were taken at other claims are left alone, with a remark.

    Args:
        plan: With the seeds of the question.
        store: Where looks are kept.
        grow: Expands the question with more seeds.

    Raises:
        InputError: What is kept is damaged.
    """
    from bench.store.looks import digest_question, read_looks

    looks = read_looks(store.root, plan) if plan.claims else None
    if looks is None or looks.last is None:
        return plan
    if looks.asked != digest_question(plan):
        return replace(plan, remarks=(*plan.remarks, why_not(looks)))
    return cut_plan(grow(looks.seeds), looks, looks.last.seeds)


def why_not(looks: "Looks") -> str:
    """Say that looks are of other claims, and what to do."""
    last = looks.looks[-1].taken
    return (
        f"claims, margin or seeds of this question changed after {len(looks.looks)} looks were "
        f"taken at it, the last on {last}: what --until-decided found then is not of these claims, "
        "and is not shown. Put them back to see it; or ask the new ones under a new name, with "
        "seeds that nobody has looked at"
    )


def order_seeds(own: Sequence[int], number: int) -> list[int]:
    """Return as many seeds: a question's own first, then the smallest that are not among them."""
    more = (seed for seed in count() if seed not in own)
    return [*own[:number], *islice(more, max(number - len(own), 0))]


def cut_plan(plan: "Plan", looks: "Looks", seeds: Mapping[str, int]) -> "Plan":
    """Keep the first seeds of each variant.

    Args:
        plan: With all seeds of `looks`.
        looks: What is known of its claims.
        seeds: How many of them each variant has.
    """
    place = {seed: k for k, seed in enumerate(looks.seeds)}
    kept = tuple(one for one in plan.runs if place[one.run.spec.seed] < seeds[one.variant])
    words = f"{plan.command} --until-decided --max-seeds {looks.max_seeds}"
    command = words if plan.looks is None else plan.command
    return replace(plan, runs=kept, looks=looks, command=command)


def ask_next(plan: "Plan", looks: "Looks") -> dict[str, int] | None:
    """Return how many seeds each variant has at the next look; None where none is to be taken.

    Three at the first. Then one more, of the variants of undecided claims that more seeds may
    decide, and of those whose weights these start from.

    Args:
        plan: With all seeds of `looks`.
        looks: What is known of its claims.
    """
    from bench.looks import FIRST_LOOK
    from reports.stats.asked import resolve_claims

    if looks.last is None:
        return dict.fromkeys(plan.variants, FIRST_LOOK)
    number = FIRST_LOOK + len(looks.looks)
    wanted = set(looks.last.open)
    if not wanted or number > looks.max_seeds:
        return None
    names = {
        name
        for one in resolve_claims(plan)
        if plan.digest(one.claim) in wanted
        for asked in one.asked
        for name in asked.weights
    }
    grown = set(_with_parents(plan, names))
    return {name: number if name in grown else n for name, n in looks.last.seeds.items()}


def _with_parents(plan: "Plan", names: set[str]) -> Iterator[str]:
    """Yield variants and all that they start from."""
    variant_of = {one.run.id: one.variant for one in plan.runs}
    wanted = set(names)
    for one in reversed(plan.runs):  # children first
        if one.variant in wanted:
            wanted |= {variant_of[parent] for parent in one.run.parents if parent in variant_of}
    yield from wanted


def describe_look(look: "Look", number: int) -> str:
    """Say in a line what a look found."""
    words = list(look.words.values())
    counts = [
        f"{words.count(word)} {word}" for word in ("held", "not held", "undecided") if word in words
    ]
    most = max(look.seeds.values())
    spent = f"{100 * look.spent:.2g} of 5 % error spent"
    return f"look {number}, up to {most} seeds: {', '.join(counts)}; {spent}"
