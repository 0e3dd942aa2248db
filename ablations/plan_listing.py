"""A plan as a person sees it before anything is trained: runs, states, costs, minutes.

In: a plan that was looked through. Out: rows, and a line that sums them up.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.durations import spell_duration
from bench.grid.pace import Pace, tell_duration
from bench.grid.slots import Slot
from bench.plan import PlannedRun
from bench.spec import RunSpec, override, parse
from bench.store.state import state_of
from bench.text import number_of
from bench.tuning import spell_values

if TYPE_CHECKING:
    from bench.grid.building import ModelCost
    from bench.plan import Plan, Run
    from bench.store.runs import Store


TO_COME = "once tuned"
"""State of a run whose values are not chosen yet: it has no id."""


def list_all(plan: "Plan") -> "Plan":
    """Return a plan with the runs that choose in front, each run once.

    Of a variant for which nothing is chosen yet those of the other seeds follow, with its first
    values in place of what will be chosen: they cost about as much. So do those that are tried for
    one that starts from it.
    """
    if plan.tuning is None:
        return plan
    known = {one.run.id for one in plan.tries}
    waiting = [
        PlannedRun(f"{one.variant} {spell_values(values)}", _with_values(one.run, values))
        for one in plan.runs
        if one.variant in plan.tuning.waiting and one.run.spec.seed == plan.tuning.seed
        for values in plan.tuning.combinations
    ]
    rest = [
        one
        for one in plan.runs
        if one.run.id not in known
        and (one.variant not in plan.unsettled or one.run.spec.seed != plan.tuning.seed)
    ]
    return replace(plan, runs=(*plan.tries, *waiting, *rest))


def _with_values(run: "Run", values: Mapping[str, Any]) -> "Run":
    settings = override(run.spec.model_dump(), values)
    return replace(run, spec=parse(RunSpec, settings, where="tune"))


def _list_to_come(plan: "Plan") -> set[str]:
    """Return the names among those of `list_all` whose runs are not known yet."""
    if plan.tuning is None:
        return set()
    known = {*plan.tuning.chosen, *(one.name for one in plan.tuning.tried)}
    return {one.variant for one in plan.runs} - known


def plan_rows(
    plan: "Plan",
    store: "Store",
    costs: "Mapping[str, ModelCost]",
    paces: Mapping[str, Pace],
    *,
    as_json: bool,
) -> list[dict[str, Any]]:
    """Return a row for each run; durations in seconds for programs, in words for people."""
    rows, to_come = [], _list_to_come(plan)
    for planned in plan.runs:
        cost, pace = costs[planned.variant], paces.get(planned.variant)
        is_to_come = planned.variant in to_come
        seconds = None if pace is None else round(pace.seconds, 1)
        said = None if pace is None else spell_duration(pace.seconds)
        rows.append(
            {
                "variant": planned.variant,
                "seed": planned.run.spec.seed,
                "id": "" if is_to_come else planned.run.id,
                "state": TO_COME if is_to_come else state_of(store, planned.run.id),
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
    """Say in a line what a plan asks for, and how long it takes.

    Where values are chosen, `plan` is what `list_all` gives.
    """
    to_come = _list_to_come(plan)
    known = {one.run.id for one in plan.runs if one.variant not in to_come}
    num_todo = sum(store.status(run_id) != "done" for run_id in known)
    num_todo += sum(one.variant in to_come for one in plan.runs)
    text = f"{plan.name}: {number_of(len(plan.runs), 'run')}, {num_todo} to do"
    if plan.tuning is not None:
        variants = {*plan.tuning.chosen, *plan.tuning.open}
        chooses = [one for one in plan.runs if one.variant not in variants]
        number = len({one.variant if one.variant in to_come else one.run.id for one in chooses})
        each = f"{'up to ' if plan.tuning.fewer else ''}{plan.tuning.number} for each variant"
        text += f" ({number} of them choose, {each})" * bool(number)
    said = tell_duration(plan, store, paces, slots[0].device, len(slots))
    return f"{text}, {said}" if said else text
