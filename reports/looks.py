"""A look taken at a question's claims, and verdicts as its looks gave them.

In: a plan that has looks, and the runs of each. Out: the next `Look`, to be kept; or verdicts, each
with the runs and critical values of the look that decided it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd

from bench.looks import Look, Looks
from bench.plan import Plan
from bench.store.runs import Store
from reports.results.frame import read_records, runs_frame
from reports.stats.asked import Question, list_levels, resolve_claims
from reports.stats.claims import UNDECIDED, Critical, Verdict, judge_claims
from reports.stats.costs import Cost, measure_costs
from reports.stats.effects import Levels
from reports.stats.intervals import find_intervals
from reports.stats.pairs import Arm
from reports.stats.sequential import NUM_DRAWS, Sequential


def take_look(plan: Plan, store: Store, seeds: Mapping[str, int]) -> Look:
    """Judge the claims of a plan by the runs of its next look.

    Args:
        plan: The runs of that look, with those that were taken before.
        store: Where they are; what is not done there failed for good.
        seeds: How many seeds of each variant were asked for.

    Raises:
        InputError: A record is damaged.
    """
    looks = plan.looks
    assert looks is not None
    records = read_records(plan, store)
    runs, levels = runs_frame(plan, store, records), list_levels(plan)
    classes = list(dict.fromkeys(name for claim in plan.claims for name in claim.classes))
    arms = find_intervals(records, store, levels=levels, classes=classes, scoring=plan.scoring).arms
    asked = [one.planned for one in records if one.result is None]
    missing = {
        name: tuple(one.run.spec.seed for one in asked if one.variant == name)
        for name in dict.fromkeys(one.variant for one in asked)
    }
    questions = resolve_claims(plan)
    sequence = Sequential(questions, levels, looks.max_seeds, NUM_DRAWS)
    for look in looks.looks:
        sequence.look(
            arms_of(arms, looks, look), costs_of(runs, looks, look),
            max(look.seeds.values()), _critical_of(look),
        )  # fmt: skip
    taken = sequence.look(arms, measure_costs(runs), max(seeds.values()))
    digests = [plan.digest(claim) for claim in plan.claims]
    before = looks.last.words if looks.last else {}
    words = {
        digest: old if (old := before.get(digest, UNDECIDED)) != UNDECIDED else one.word
        for digest, one in zip(digests, taken.verdicts, strict=True)
    }
    told = dict(zip(digests, taken.verdicts, strict=True))
    return Look(
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        seeds=dict(seeds),
        missing=missing,
        information=taken.information,
        spent=taken.spent,
        lower=_finite(taken.critical.lower),
        upper=_finite(taken.critical.upper),
        words=words,
        advice={d: one.advice for d, one in told.items() if words[d] == UNDECIDED},
        open=tuple(d for d, one in told.items() if words[d] == UNDECIDED and one.is_open),
    )


def recall_verdicts(
    plan: Plan,
    looks: Looks,
    arms: Mapping[str, Arm],
    runs: pd.DataFrame,
    levels: Levels,
) -> list[Verdict]:
    """Return the verdicts that looks gave, each with the numbers of the look that decided it.

    Args:
        plan: The question, with the runs of the latest look.
        looks: What was found; before the first look nothing is decided.
        arms: Of all runs.
        runs: Their frame.
        levels: Of each variant by factor.
    """
    questions = resolve_claims(plan)
    if looks.last is None:
        found = judge_claims(questions, arms, measure_costs(runs), levels)
        return [replace(one, word=UNDECIDED, advice="the first look") for one in found]
    judged = [_judge_at(looks, look, questions, arms, runs, levels) for look in looks.looks]
    verdicts = []
    for c, question in enumerate(questions):
        digest = plan.digest(question.claim)
        number = next(
            (k for k, look in enumerate(looks.looks) if look.words[digest] != UNDECIDED),
            len(looks.looks) - 1,
        )
        word, then = looks.looks[number].words[digest], judged[number][c]
        advice = looks.looks[number].advice.get(digest, "")
        if then.word != word:
            word, advice = UNDECIDED, f"its runs as they were at look {number + 1}"
        decided = None if word == UNDECIDED else number + 1
        verdicts.append(replace(then, word=word, advice=advice, look=decided))
    return verdicts


def arms_of(arms: Mapping[str, Arm], looks: Looks, look: Look) -> dict[str, Arm]:
    """Return the arms with the runs of a look alone."""
    found = {}
    for name, arm in arms.items():
        entered = set(looks.seeds_of(name, look))
        kept = [k for k, seed in enumerate(arm.seeds) if seed in entered]
        if kept:
            seeds = tuple(arm.seeds[k] for k in kept)
            points, draws = arm.points[kept], arm.draws[:, kept]
            found[name] = replace(arm, seeds=seeds, points=points, draws=draws)
    return found


def costs_of(runs: pd.DataFrame, looks: Looks, look: Look) -> dict[str, Cost]:
    """Measure costs by the runs of a look alone."""
    pairs = zip(runs["variant"], runs["seed"], strict=True)
    entered = {name: set(looks.seeds_of(name, look)) for name in look.seeds}
    return measure_costs(runs[[seed in entered.get(name, ()) for name, seed in pairs]])


def _judge_at(
    looks: Looks,
    look: Look,
    questions: Sequence[Question],
    arms: Mapping[str, Arm],
    runs: pd.DataFrame,
    levels: Levels,
) -> list[Verdict]:
    there, costs = arms_of(arms, looks, look), costs_of(runs, looks, look)
    return judge_claims(questions, there, costs, levels, _critical_of(look))


def _critical_of(look: Look) -> Critical:
    ends = (math.inf if one is None else one for one in (look.lower, look.upper))
    return Critical(*ends)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
