"""A plan as a person sees it before anything is trained: runs, states, costs, minutes.

In: a plan that was looked through. Out: rows, and a line that sums them up.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.durations import spell_duration
from bench.grid.pace import Pace, tell_duration
from bench.grid.slots import Slot
from bench.store.state import state_of

if TYPE_CHECKING:
    from bench.grid.preflight import ModelCost
    from bench.plan import Plan
    from bench.store.runs import Store


def plan_rows(
    plan: "Plan",
    store: "Store",
    costs: "Mapping[str, ModelCost]",
    paces: Mapping[str, Pace],
    *,
    as_json: bool,
) -> list[dict[str, Any]]:
    """Return a row for each run; durations in seconds for programs, in words for people."""
    rows = []
    for planned in plan.runs:
        cost, pace = costs[planned.variant], paces.get(planned.variant)
        seconds = None if pace is None else round(pace.seconds, 1)
        said = None if pace is None else spell_duration(pace.seconds)
        rows.append(
            {
                "variant": planned.variant,
                "seed": planned.run.spec.seed,
                "id": planned.run.id,
                "state": state_of(store, planned.run.id),
                "steps": planned.run.spec.train.steps,
                "images": planned.run.num_images,
                "parameters": cost.num_parameters,
                "GMACs": round(cost.gmacs, 3),
                "at": "x".join(map(str, cost.size)),
                **({"seconds": seconds} if as_json else {"takes": said}),
            }
        )
    return rows


def sum_up(plan: "Plan", store: "Store", paces: Mapping[str, Pace], slots: list[Slot]) -> str:
    """Say in a line what a plan asks for, and how long it takes."""
    runs = list(plan.unique_runs())
    num_todo = sum(store.status(run.id) != "done" for run in runs)
    text = f"{plan.name}: {len(plan.runs)} runs, {num_todo} to do"
    said = tell_duration(plan, store, paces, slots[0].device, len(slots))
    return f"{text}, {said}" if said else text
