"""Tuning planned: each variant gets its best of some values, by runs that the store has.

In: a question with `tune`, a store, what expands a question. Out: its plan, which says what was
tried and chosen, and the runs by which is still to be chosen. Nothing is kept of a choice: it
follows from the runs, so that the same store gives the same plan, whoever asks.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ablations.expand import specs_of, variants_of
from ablations.names import list_names
from ablations.tunable import list_tuned, require_judge
from bench.settings.keys import flatten
from bench.spec import RunSpec
from bench.store.records import Reason
from bench.tuning import Tried, Tuning, choose, combine, spell_values
from fcn.errors import InputError

if TYPE_CHECKING:
    from ablations.spec import Ablation
    from bench.plan import Plan, PlannedRun
    from bench.scoring import Scoring
    from bench.store.runs import Store

GIVEN_UP = (Reason.NONFINITE, Reason.MEMORY, Reason.BLOCKED)
"""Causes that would stop a run again: such a run has no score, and what remains is chosen from. All
others may pass, and nothing is chosen before that."""

Values = Mapping[str, Any]
Expand = Callable[["Ablation"], "Plan"]


def plan_tuned(ablation: "Ablation", store: "Store", expand: Expand) -> "Plan":
    """Return the plan of a question, with `tune` as far as the store's runs tell it.

    Args:
        ablation: The question.
        store: Has the runs by which values are chosen.
        expand: Makes a question without `tune` concrete.

    Raises:
        InputError: As `list_tuned`; or its runs are not judged in a way that could choose.
    """
    if not ablation.tune:
        return expand(ablation)
    values = list_tuned(ablation)
    combinations = combine(values)
    starts = {name: _starts_of(spec) for name, spec in specs_of(ablation).items()}
    chosen: dict[str, Values] = {}
    tried: list[Tried] = []
    tries: list[PlannedRun] = []
    splits: dict[str, None] = {}
    left = dict(starts)
    while ready := [name for name, own in left.items() if own <= chosen.keys()]:
        named = {
            f"{name} {spell_values(one)}": (name, one) for name in ready for one in combinations
        }
        plan = expand(_list_tries(ablation, named, chosen, _list_ancestors(ready, starts)))
        found: dict[str, list[Tried]] = {name: [] for name in ready}
        for planned in plan.runs:
            if planned.variant in named:
                tries.append(planned)
                require_judge(ablation.name, planned)
                splits[planned.run.spec.evaluate.eval_split] = None
                one = _read_try(planned, *named[planned.variant], store, ablation.score)
                found[one.variant].append(one)
        for name, own in found.items():
            place = choose(own)
            if place is not None:
                chosen[name] = own[place].values
                own[place] = replace(own[place], is_chosen=True)
            tried += own
            del left[name]
    tuning = Tuning(
        values={key: tuple(own) for key, own in values.items()},
        seed=ablation.seeds[0],
        split=" or ".join(splits),
        metric=_name_metric(ablation.score),
        tried=tuple(tried),
        waiting=tuple(left),
    )
    plan = expand(settle(ablation, {name: chosen.get(name, combinations[0]) for name in starts}))
    return replace(plan, tuning=tuning, tries=tuple(tries), remarks=(describe(tuning),))


def grow_tuned(ablation: "Ablation", plan: "Plan", expand: Expand) -> "Plan":
    """Return a question's plan with other seeds, and the values of a plan of it.

    Args:
        ablation: The question with those seeds.
        plan: Of it, with its own seeds.
        expand: As for `plan_tuned`.
    """
    if plan.tuning is None:
        return expand(ablation)
    chosen, first = plan.tuning.chosen, plan.tuning.combinations[0]
    values = {name: chosen[name].values if name in chosen else first for name in plan.variants}
    return expand(settle(ablation, values))


def keep_tried(plan: "Plan", kept: Collection[str]) -> "Plan":
    """Leave out what was tried for other variants than those that are kept."""
    if plan.tuning is None:
        return plan
    tried = tuple(one for one in plan.tuning.tried if one.variant in kept)
    waiting = tuple(name for name in plan.tuning.waiting if name in kept)
    tuning, names = replace(plan.tuning, tried=tried, waiting=waiting), {one.name for one in tried}
    said = {describe(plan.tuning): describe(tuning)}
    return replace(
        plan,
        tuning=tuning,
        tries=tuple(one for one in plan.tries if one.variant in names),
        remarks=tuple(said.get(text, text) for text in plan.remarks),
    )


def settle(ablation: "Ablation", values: Mapping[str, Values]) -> "Ablation":
    """Return a question whose variants have these values, and nothing left to tune."""
    own = variants_of(ablation)
    return _with_variants(
        ablation, {name: {**flatten(own[name]), **given} for name, given in values.items()}
    )


def describe(tuning: Tuning) -> str:
    """Say how values are chosen, and what is still to be."""
    from bench.metrics import find_metric

    keys, score = " and ".join(tuning.values), find_metric(tuning.metric).label
    are, what = ("is", "values") if len(tuning.values) == 1 else ("are", "combinations")
    text = (
        f"{keys} of each variant {are} the best of {tuning.number} {what}, by {score} of split "
        f"{tuning.split} with seed {tuning.seed}, which is not the split reported: as many runs "
        "for every variant, and of equal ones the first"
    )
    fewer = [f"{name} ({number})" for name, number in tuning.fewer.items()]
    text += f"; some values change nothing, and are one run, of {list_names(fewer)}" * bool(fewer)
    lost = [one.name for one in tuning.tried if one.state == "failed"]
    text += f"; without a score: {', '.join(lost)}" if lost else ""
    if not tuning.open:
        return text
    done = sum(one.state != "missing" for one in tuning.tried)
    return (
        f"{text}. Nothing is chosen yet for {list_names(list(tuning.open))} ({done} of the "
        f"{tuning.number * len({*tuning.chosen, *tuning.open})} runs that choose have ended)"
    )


def _with_variants(ablation: "Ablation", variants: Mapping[str, Any], **more: Any) -> "Ablation":
    """Return a question with these variants in the place of its own, judged as it is written."""
    changed = {"variants": dict(variants), "grid": {}, "exclude": [], "tune": {}}
    return ablation.model_copy(update={**changed, **more}).written_as(ablation.written)


def _list_tries(
    ablation: "Ablation",
    named: Mapping[str, tuple[str, Values]],
    chosen: Mapping[str, Values],
    ancestors: Sequence[str],
) -> "Ablation":
    """Return what is tried as a question of its own: one seed, and what it starts from."""
    from bench.scoring import USUAL

    own = variants_of(ablation)
    pairs = {**{name: (name, chosen[name]) for name in ancestors}, **named}
    variants = {name: {**flatten(own[of]), **values} for name, (of, values) in pairs.items()}
    nothing: dict[str, Any] = {
        "score": USUAL,
        "baseline": None,
        "published": [],
        "claims": [],
        "answer": None,
    }
    return _with_variants(ablation, variants, seeds=ablation.seeds[:1], **nothing)


def _starts_of(spec: RunSpec) -> frozenset[str]:
    """Return the variants that a variant starts from."""
    named = (spec.train.init_from, *spec.train.init_streams)
    return frozenset(name for name in named if name is not None)


def _list_ancestors(names: Sequence[str], starts: Mapping[str, frozenset[str]]) -> list[str]:
    """Return all that variants start from."""
    found: dict[str, None] = {}
    todo = list(names)
    while todo:
        for name in starts[todo.pop()]:
            found[name] = None
            todo.append(name)
    return list(found)


def _name_metric(scoring: "Scoring") -> str:
    """Return the primary score, if pixels by class give it, which is what logs have; else mIoU."""
    from bench.metrics import CONFUSION

    pooled = scoring.pooled()
    return pooled.primary if pooled.primary in pooled.names((CONFUSION,)) else "miou"


def _score(
    scoring: "Scoring", class_names: Sequence[str], confusion: Sequence[Sequence[int]]
) -> float:
    """Score pixels by class, (C, C), as the question has it."""
    from bench.metrics import CONFUSION, class_counts
    from bench.scoring import Scorer

    counts = class_counts(np.array(confusion))
    scorer = Scorer.of(scoring.pooled(), (CONFUSION,), class_names, counts[1])
    return float(scorer.score({CONFUSION: counts})[_name_metric(scoring)])


def _read_try(
    planned: "PlannedRun", variant: str, values: Values, store: "Store", scoring: "Scoring"
) -> Tried:
    """Say how a run ended that values are chosen by."""
    run = planned.run
    one = Tried(variant, planned.variant, dict(values), run.id, "missing")
    try:
        result = store.result(run.id)
    except InputError as error:
        return replace(one, state="failed", why=str(error))
    log = store.log(run.id)
    if result is None:
        failure = store.failure(run.id)
        if failure is None:
            return one
        steps = [row["seconds"] for row in log.rows if "seconds" in row]
        seconds = steps[-1] if steps else None
        why = f"{failure.reason}: {failure.message}"
        state: Any = "failed" if failure.reason in GIVEN_UP else "missing"
        return replace(one, state=state, why=why, device_seconds=seconds)
    step = run.spec.train.steps if result.selected_step is None else result.selected_step
    seconds = result.train_seconds + result.evaluate_seconds
    one = replace(one, device_seconds=seconds * result.environment.get("processes", 1))
    split = run.spec.evaluate.eval_split
    for row in log.rows:
        if "confusion" in row and (row["step"], row["split"]) == (step, split):
            score = _score(scoring, result.class_names, row["confusion"])
            if not math.isnan(score):
                return replace(one, state="done", score=score, step=step)
    return replace(one, state="failed", why=log.problem or f"no score of split {split} in its log")
