"""Plans cut into their data sets, whose variants are called alike on all: what can be matched.

In: plans, each with its store; a plan's variants may lie on several data sets. Out: `Part`s.
Nothing is read of any run.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.plan import Plan, PlannedRun
from bench.store.runs import Store
from bench.text import clean
from fcn.errors import InputError
from reports.results.settings import find_causes, flat_settings, plain
from reports.style import enumerate_names


@dataclass(frozen=True)
class Part:
    """One data set: a question's runs on it, whose variants are called alike on all."""

    name: str
    plan: Plan
    store: Store


def list_parts(sources: Sequence[tuple[Plan, Store]]) -> list[Part]:
    """Cut plans into their data sets, and name these.

    Raises:
        InputError: There is one data set alone, or no two variants are on all of them.
    """
    found = [(name, plan, store) for whole, store in sources for name, plan in split_plan(whole)]
    if len(found) < 2:
        told = enumerate_names(plan.name for plan, _ in sources)
        raise InputError(
            f"{told}: all runs are on one data set, {found[0][0]}, and --across ranks variants on "
            "several; name a question for each, or one whose grid has data.dataset"
        )
    names = _tell_apart(found)
    parts = [Part(name, plan, store) for name, (_, plan, store) in zip(names, found, strict=True)]
    if len(list_shared(parts)) < 2:
        told = "; ".join(
            f"{part.name} has {enumerate_names(map(clean, part.plan.variants))}" for part in parts
        )
        raise InputError(
            f"no two variants are of all {len(parts)} data sets, by their names: {told}. Variants "
            "are matched by name"
        )
    return parts


def split_plan(plan: Plan) -> list[tuple[str, Plan]]:
    """Cut a plan into one for each of its data sets, whose variants are called alike.

    The name of the data set is taken out of a variant's, as a grid puts it there; where that leaves
    no names in common, variants are named by the settings in which they differ otherwise.
    """
    groups: dict[tuple[str, ...], list[PlannedRun]] = {}
    for planned in plan.runs:
        groups.setdefault(_key(planned), []).append(planned)
    if len(groups) == 1:
        return [(next(iter(groups))[0], plan)]
    names = {one.variant: _strip(one.variant, key[0]) for key, own in groups.items() for one in own}
    if not _match(groups.values(), names):
        names = _name_by_settings(plan)
    return [(key[0], _cut(plan, own, names)) for key, own in groups.items()]


def has_several(plan: Plan) -> bool:
    """Say whether a plan asks the same of several data sets, by their names."""
    if len({one.run.spec.data.dataset for one in plan.runs}) < 2:
        return False
    first, *others = (set(part.variants) for _, part in split_plan(plan))
    return len(first.intersection(*others)) > 1


def say_several(plan: Plan) -> list[str]:
    """Say how the data sets of a plan are told together, where it has several; else nothing."""
    if not has_several(plan):
        return []
    names = list(dict.fromkeys(one.run.spec.data.dataset for one in plan.runs))
    return [
        f"The same is asked of {len(names)} data sets, {enumerate_names(map(clean, names))}: "
        "fcn-bench report with --across tells what differs on each, and ranks variants over all."
    ]


def list_shared(parts: Sequence[Part]) -> list[str]:
    """Return the variants that all data sets have."""
    first, *others = (part.plan.variants for part in parts)
    return [name for name in first if all(name in own for own in others)]


def _key(planned: PlannedRun) -> tuple[str, ...]:
    spec = planned.run.spec
    return spec.data.dataset, spec.evaluate.split, planned.run.fingerprint


def _match(groups: Iterable[Sequence[PlannedRun]], names: Mapping[str, str]) -> bool:
    """Say whether these names tell variants of a data set apart, and two are of all data sets."""
    found = [dict.fromkeys(one.variant for one in own) for own in groups]
    called = [{names[variant] for variant in own} for own in found]
    shared = set.intersection(*called)
    return len(shared) > 1 and all(len(a) == len(b) for a, b in zip(found, called, strict=True))


def _strip(variant: str, data_set: str) -> str:
    """Take a data set's name out of a variant's: "camvid-fcn8s" and "fcn8s-camvid" are fcn8s."""
    found = re.search(rf"(^|[-_ .,/]){re.escape(data_set)}([-_ .,/]|$)", variant)
    if not found:
        return variant
    left, right = variant[: found.start()], variant[found.end() :]
    return f"{left}{found[1]}{right}" if left and right else left + right


def _name_by_settings(plan: Plan) -> dict[str, str]:
    """Name variants by the settings in which they differ, those of data left out."""
    settings = flat_settings(plan)
    factors = ["model.backbone", "model.skip", *find_causes(plan)]
    factors = [
        key
        for key in factors
        if not key.startswith("data.")
        and key != "evaluate.split"
        and len({plain(own.get(key)) for own in settings}) > 1
    ]
    return {
        planned.variant: "-".join(plain(own.get(key)) for key in factors) or "all"
        for planned, own in zip(plan.runs, settings, strict=True)
    }


def _cut(plan: Plan, runs: Sequence[PlannedRun], names: Mapping[str, str]) -> Plan:
    """Return the part of a plan that is on one data set, with the variants' common names."""
    return dataclasses.replace(
        plan,
        runs=tuple(PlannedRun(names[one.variant], one.run) for one in runs),
        baseline=None if plan.baseline is None else names[plan.baseline],
        claims=(),
        published=(),
    )


def _tell_apart(found: Sequence[tuple[str, Plan, Store]]) -> list[str]:
    """Name data sets: by their own name, and what tells it from others of that name."""
    words = [
        (name, _key(plan.runs[0])[1], f"({plan.name})", f"[{plan.runs[0].run.fingerprint[:8]}]")
        for name, plan, _ in found
    ]
    names = []
    for own in words:
        alike = [one for one in words if one[0] == own[0]]
        apart = [own[k] for k in (1, 2, 3) if len({one[k] for one in alike}) > 1]
        names.append(" ".join([own[0], *apart[:2]]))
    return [f"{name} {k}" if names.count(name) > 1 else name for k, name in enumerate(names, 1)]
