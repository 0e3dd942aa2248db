"""How long runs take: seconds by variant, and what a plan of them takes in all, in words.

Free of torch; `bench.grid.timing` finds them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.durations import spell_duration
from bench.plan import Plan, PlannedRun
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

    Runs that differ in how they are judged alone are trained once.

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
    own = _list_seconds(todo.values(), plan, store, paces)
    together = min(num_slots, len(own))
    seconds = max(max(own), sum(own) / together)
    sources = " and ".join(dict.fromkeys(paces[one.variant].source for one in todo.values()))
    where = f"on {device}" + (f", {together} runs at a time" if together > 1 else "")
    return f"about {spell_duration(seconds)} {where}, evaluation included (by {sources})"


def _list_seconds(
    todo: Iterable[PlannedRun], plan: Plan, store: Store, paces: Mapping[str, Pace]
) -> list[float]:
    """Return how long each run takes, one whose training another gives no more than its scores."""
    known = {run_id for run_id in store.run_ids() if store.status(run_id) == "done"}
    trained = {run.training for run in plan.unique_runs() if run.id in known}
    others = known - {run.id for run in plan.unique_runs()}
    found = []
    for planned in todo:
        run, pace = planned.run, paces[planned.variant]
        twins: Iterable[str] = run.twins([run.spec.evaluate.split]) if others else ()
        is_trained = run.training in trained or not others.isdisjoint(twins)
        found.append(pace.evaluate_seconds if is_trained else pace.seconds)
        trained.add(run.training)
    return found
