"""How long runs take: seconds by variant, and what a plan of them takes in all, in words.

Free of torch; `bench.grid.timing` finds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.durations import spell_duration
from bench.plan import Plan
from bench.store.runs import Store

PAST, TIMED, SCALED = "this store's past runs", "a timed step", "multiply-adds"
"""Where a pace is from."""


@dataclass(frozen=True)
class Pace:
    """How long one run of a variant takes."""

    train_seconds: float
    evaluate_seconds: float
    source: str
    """One of `PAST`, `TIMED`, `SCALED`."""

    @property
    def seconds(self) -> float:
        """In all."""
        return self.train_seconds + self.evaluate_seconds

    @property
    def train_share(self) -> float:
        """Share of training in it."""
        return self.train_seconds / self.seconds if self.seconds else 1.0


def tell_duration(
    plan: Plan, store: Store, paces: Mapping[str, Pace], device: str, num_slots: int
) -> str | None:
    """Say how long what is missing of a plan takes, and where that is known from; None if it isn't.

    Args:
        plan: What is to be run.
        store: Has what is done.
        paces: By variant.
        device: Where runs are made.
        num_slots: How many are at a time.
    """
    todo = {one.run.id: one for one in plan.runs if store.status(one.run.id) != "done"}
    if not todo or any(one.variant not in paces for one in todo.values()):
        return None
    own = [paces[one.variant].seconds for one in todo.values()]
    together = min(num_slots, len(own))
    seconds = max(max(own), sum(own) / together)
    sources = " and ".join(dict.fromkeys(paces[one.variant].source for one in todo.values()))
    where = f"on {device}" + (f", {together} runs at a time" if together > 1 else "")
    return f"about {spell_duration(seconds)} {where}, evaluation included (by {sources})"
