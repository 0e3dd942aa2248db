"""What claims are about: each a few contrasts of the plan's variants, with a bound.

In: a plan with claims. Out: `Asked`, or an `InputError` with the nearest name; nothing is read.
Free of pandas, so that a spec is checked before anything is trained.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.claims import Claim
from bench.metrics import BY_IMAGE, CONFUSION, METRICS, is_by_image
from bench.plan import Plan
from fcn.errors import InputError
from fcn.registry import unknown_name
from reports.results.settings import find_causes, flat_settings, plain
from reports.stats.effects import FOLD, Effect, Levels, mean_effect

SHORT = {"model.backbone": "backbone", "model.skip": "skip"}
"""Names of factors in frames."""


@dataclass(frozen=True)
class Asked:
    """A contrast, and what it has to be more than for its claim to hold."""

    where: str
    """Values of the other factors, where there are several."""
    weights: Mapping[str, float]
    """Of variants; they add up to zero."""
    bound: float
    score: str
    """A score, `IoU[CLASS]`, or a cost, whose logarithm is meant."""
    is_turned: bool = False
    """Whether it is the other side of a claim that both are as good."""


@dataclass(frozen=True)
class Question:
    """A claim with all that must be true for it to hold."""

    claim: Claim
    asked: tuple[Asked, ...]


def resolve_claims(plan: Plan) -> list[Question]:
    """Find what each claim of a plan is about.

    Raises:
        InputError: A name is no variant, level, factor or class of it, or a claim can be read in
            several ways.
    """
    if not plan.claims:
        return []
    levels = list_levels(plan)
    return [Question(claim, tuple(_resolve(claim, plan, levels))) for claim in plan.claims]


def require_counted(plan: Plan) -> None:
    """See that what claims are about is counted of all variants that they are about.

    Raises:
        InputError: A variant does not ask for it.
    """
    judges = {planned.variant: planned.run.spec.evaluate for planned in plan.runs}
    for question in resolve_claims(plan):
        for asked in question.asked:
            kind = _find_kind(asked.score)
            without = [name for name in asked.weights if kind and not getattr(judges[name], kind)]
            if without:
                raise InputError(
                    f"{plan.name}: the claim {str(question.claim)!r}: {asked.score} is made of "
                    f"what evaluate.{kind} has counted, and variant {without[0]} does not ask for "
                    f"it; write  common: {{evaluate.{kind}: true}}"
                )


def _find_kind(score: str) -> str:
    """Return what has to be counted for a score beside confusions; nothing for most."""
    name = score.removeprefix(BY_IMAGE) if is_by_image(score) else score
    kind = METRICS[name].counts if name in METRICS else CONFUSION
    return "" if kind == CONFUSION else kind


def require_classes(plan: Plan, known: Sequence[str]) -> None:
    """See that the classes that claims and `score:` name are those of the data.

    Raises:
        InputError: One is not; the nearest is named.
    """
    for claim in plan.claims:
        for name in claim.classes:
            if name not in known:
                told = unknown_name("class", name, known)
                raise InputError(f"{plan.name}: the claim {str(claim)!r}: {told}")
    plan.scoring.require_classes(known, plan.name)


def list_levels(plan: Plan) -> dict[str, dict[str, str]]:
    """Return the level of each variant by factor, backbone and skip among them."""
    settings = flat_settings(plan)
    factors = [*SHORT, *find_causes(plan)]
    return {
        factor: {
            planned.variant: plain(own.get(factor))
            for planned, own in zip(plan.runs, settings, strict=True)
        }
        for factor in factors
    }


def _resolve(claim: Claim, plan: Plan, levels: Levels) -> Iterator[Asked]:
    where = f"{plan.name}: the claim {str(claim)!r}"
    bound = claim.by or 0.0
    if claim.relation == "=":
        margin = claim.by if claim.by is not None else plan.margin
        if not margin:
            raise InputError(f"{where} says within what: write  within 0.01, or margin: 0.01 above")
        bound = -margin
    if claim.cost:
        variants = _require(claim, plan.variants, where)
        weights = {variants[0]: -1.0, variants[1]: 1.0}
        yield Asked("", weights, -math.log(claim.times), claim.cost)
        return
    found = _find_contrasts(claim, plan, levels, where)
    scores = {f"IoU[{name}]": f"{name}, " for name in claim.classes} or {
        claim.score or plan.scoring.primary: ""
    }
    for score, of in scores.items():
        for context, weights in found:
            told = f"{of}{context}".removesuffix(", ")
            yield Asked(told, weights, bound, score)
            if claim.relation == "=":
                turned = {name: -weight for name, weight in weights.items()}
                yield Asked(told, turned, bound, score, is_turned=True)


def _require(claim: Claim, known: Sequence[str], where: str) -> tuple[str, str]:
    for name in (claim.left, claim.right):
        if name not in known:
            raise InputError(f"{where}: {unknown_name('variant', name, known)}")
    return claim.left, claim.right


def _find_contrasts(
    claim: Claim, plan: Plan, levels: Levels, where: str
) -> list[tuple[str, dict[str, float]]]:
    """Return the contrasts of a claim on scores, each with its context."""
    if claim.gain:
        return [_find_gain(claim, levels, where)]
    scope = claim.every or claim.over
    if not scope and claim.left in plan.variants and claim.right in plan.variants:
        return [("", {claim.left: 1.0, claim.right: -1.0})]
    factor = _find_factor(claim.left, claim.right, levels, plan.variants, where)
    found = [
        (
            context,
            {_only(arms[claim.left], where): 1.0, _only(arms[claim.right], where): -1.0},
        )
        for context, arms in _list_contexts(factor, levels)
        if claim.left in arms and claim.right in arms
    ]
    if not found:
        raise InputError(f"{where}: no two variants differ in {factor} alone so")
    if scope:
        _require_factor(scope, factor, levels, where)
    elif len(found) > 1:
        others = [name for name in levels if name != factor and _varies(name, levels)]
        raise InputError(
            f"{where} holds for {len(found)} pairs of variants; write  for every {others[0]}, or  "
            f"on average over {others[0]}"
        )
    if claim.over:
        return [("mean", mean_effect([weights for _, weights in found]))]
    is_parted = FOLD not in (factor, scope) and _varies(FOLD, levels)
    return _average_folds(found, factor, levels) if is_parted else found


def _average_folds(
    found: Sequence[tuple[str, Effect]], factor: str, levels: Levels
) -> list[tuple[str, dict[str, float]]]:
    """Average contrasts that differ in the fold alone, which other images judge each."""
    others = [name for name in levels if name not in (factor, FOLD) and _varies(name, levels)]
    contexts: dict[str, list[Effect]] = {}
    for _, weights in found:
        variant = next(iter(weights))
        context = ", ".join(levels[name][variant] for name in others)
        contexts.setdefault(context, []).append(weights)
    return [(context, mean_effect(own)) for context, own in contexts.items()]


def _find_gain(claim: Claim, levels: Levels, where: str) -> tuple[str, dict[str, float]]:
    """Return how much more a change brings in one context than in another."""
    assert claim.gain is not None
    before, after = claim.gain
    variants = list(next(iter(levels.values())))
    changed = _find_factor(before, after, levels, variants, where)
    rest = {name: own for name, own in levels.items() if name != changed}
    context = _find_factor(claim.left, claim.right, rest, (), where)
    found = []
    for told, arms in _list_contexts((changed, context), levels):
        cells = [(v, c) for c in (claim.left, claim.right) for v in (after, before)]
        if all(cell in arms for cell in cells):
            signs = (1.0, -1.0, -1.0, 1.0)
            names = (_only(arms[cell], where) for cell in cells)
            weights = dict(zip(names, signs, strict=True))
            found.append((told, weights))
    if len(found) != 1:
        raise InputError(
            f"{where}: {len(found)} sets of four variants differ in {changed} and {context} alone "
            "so; there must be one"
        )
    return found[0]


def _find_factor(left: str, right: str, levels: Levels, variants: Sequence[str], where: str) -> str:
    """Return the factor that both values are levels of."""
    found = [name for name, own in levels.items() if {left, right} <= set(own.values())]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{where}: {left} and {right} are values of {' and of '.join(found)}")
    known = {level for own in levels.values() for level in own.values()} | set(variants)
    unknown = [name for name in (left, right) if name not in known]
    if unknown:
        raise InputError(f"{where}: {unknown_name('variant or value', unknown[0], known)}")
    told = f"{left} and {right} are no values of one factor"
    if {left, right} <= set(variants):
        told += "; two variants are compared without  for every  and  on average over"
    raise InputError(f"{where}: {told}")


def _require_factor(scope: str, factor: str, levels: Levels, where: str) -> None:
    known = [name for name in levels if name != factor and _varies(name, levels)]
    if scope not in (*known, *(SHORT.get(name, name) for name in known)):
        raise InputError(f"{where}: {unknown_name('factor', scope, known)}")


def _varies(factor: str, levels: Levels) -> bool:
    return len(set(levels.get(factor, {}).values())) > 1


def _only(variants: Sequence[str], where: str) -> str:
    """Return the one variant that has a value in a context."""
    if len(variants) > 1:
        raise InputError(
            f"{where}: {' and '.join(variants)} agree in every factor, so that the claim may be of "
            "either; name variants in place of values"
        )
    return variants[0]


def _list_contexts(
    factor: str | tuple[str, str], levels: Levels
) -> Iterator[tuple[str, dict[object, list[str]]]]:
    """Yield groups of variants that agree in all other factors: their values, variants by level."""
    own = (factor,) if isinstance(factor, str) else factor
    others = [name for name in levels if name not in own and _varies(name, levels)]
    groups: dict[tuple[str, ...], dict[object, list[str]]] = {}
    for variant in next(iter(levels.values())):
        key = tuple(levels[name][variant] for name in others)
        level = tuple(levels[name][variant] for name in own)
        own_level = level[0] if isinstance(factor, str) else level
        groups.setdefault(key, {}).setdefault(own_level, []).append(variant)
    for key, arms in groups.items():
        yield ", ".join(key), arms
