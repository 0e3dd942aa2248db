"""From a question to a plan: variants spelled out, settings judged, runs in order with their ids.

In: an `Ablation` and the facts of its datasets. Out: a `bench.plan.Plan`, parents before children.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from ablations.spec import Ablation, Differences
from bench.data.facts import DatasetFacts
from bench.plan import Plan, PlannedRun, Run
from bench.sources import find_sources
from bench.spec import DataSpec, RunSpec, TrainSpec, override, parse
from fcn.errors import InputError
from fcn.registry import unknown_name


def expand(
    ablation: Ablation,
    facts_of: Callable[[DataSpec], DatasetFacts],
    *,
    sources_of: Callable[[RunSpec], Mapping[str, str]] = find_sources,
    command: str = "",
) -> Plan:
    """Make an ablation concrete.

    Args:
        ablation: The question, with its base's settings in `common`.
        facts_of: Fingerprint and sizes of a dataset.
        sources_of: Digests of weights files and plugins that a run's spec names.
        command: The command that makes the report, for its provenance.

    Raises:
        InputError: A setting is wrong, or a name refers to no variant.
    """
    specs = {name: _spec_of(ablation, name, diff) for name, diff in variants_of(ablation).items()}
    _check_names(ablation, specs)
    _check_targets(ablation, specs, facts_of)
    order = _parents_first(ablation.name, specs)
    runs: dict[tuple[str, int], PlannedRun] = {}
    for seed in ablation.seeds:
        for name in order:
            runs[name, seed] = PlannedRun(
                name, _run_of(ablation.name, specs[name], name, seed, runs, facts_of, sources_of)
            )
    return Plan(
        name=ablation.name,
        question=ablation.question,
        expectation=ablation.expectation,
        runs=tuple(runs.values()),
        baseline=ablation.baseline,
        published=tuple(published.to_published() for published in ablation.published),
        note=ablation.note,
        command=command,
    )


def variants_of(ablation: Ablation) -> dict[str, Differences]:
    """Return what differs in each variant, by name, in the order of the spec.

    Raises:
        InputError: Two combinations of the grid have one name, or `exclude` names no combination.
    """
    if ablation.variants:
        return {name: differences or {} for name, differences in ablation.variants.items()}
    keys = list(ablation.grid)
    _check_exclude(ablation, keys)
    variants: dict[str, Differences] = {}
    for values in itertools.product(*ablation.grid.values()):
        combination = dict(zip(keys, values, strict=True))
        if any(_matches(combination, excluded) for excluded in ablation.exclude):
            continue
        name = "-".join(str(value) for value in values)
        if name in variants:
            raise InputError(
                f"{ablation.name}: the grid gives {name!r} twice; remove a repeated value"
            )
        variants[name] = combination
    if not variants:
        raise InputError(f"{ablation.name}: `exclude` leaves no combination of the grid")
    return variants


def _spec_of(ablation: Ablation, name: str, differences: Differences) -> RunSpec:
    """Put a variant's settings together: common, then its own, then the adjustments that fit."""
    where = f"{ablation.name}, variant {name}"
    values = override(ablation.common, differences)
    for adjustment in ablation.adjust:
        resolved = parse(RunSpec, values, where=where).model_dump(mode="json")
        for key in adjustment.when:
            _get(resolved, key, where)
        if all(_get(resolved, key, where) == value for key, value in adjustment.when.items()):
            values = override(values, adjustment.set)
    return parse(RunSpec, values, where=where)


def _run_of(
    ablation: str,
    spec: RunSpec,
    variant: str,
    seed: int,
    runs: Mapping[tuple[str, int], PlannedRun],
    facts_of: Callable[[DataSpec], DatasetFacts],
    sources_of: Callable[[RunSpec], Mapping[str, str]],
) -> Run:
    facts = facts_of(spec.data)
    watched = [spec.evaluate.watch_split] if spec.evaluate.watch_every else []
    for split in (spec.train.split, spec.evaluate.split, *watched):
        if not facts.num_images.get(split):
            raise InputError(
                f"{ablation}, variant {variant}: "
                + unknown_name(f"split of dataset {spec.data.dataset}:", split, facts.num_images)
            )
    train = resolve_steps(spec.train, facts.num_images[spec.train.split])
    parent = runs[train.init_from, seed].run.id if train.init_from else None
    streams = tuple(runs[name, seed].run.id for name in train.init_streams)
    resolved = spec.model_copy(update={"train": train, "seed": seed})
    return Run(resolved, facts.fingerprint, parent, streams, dict(sources_of(spec)))


def resolve_steps(train: TrainSpec, num_images: int) -> TrainSpec:
    """Turn a duration in epochs into steps: the only place where that is done.

    Raises:
        InputError: No duration is given.
    """
    if train.steps is not None:
        return train
    if train.epochs is None:
        raise InputError("no duration: give train.steps or train.epochs")
    steps = math.ceil(train.epochs * num_images / (train.batch_size * train.accumulate))
    return train.model_copy(update={"steps": steps, "epochs": None})


def _parents_first(ablation: str, specs: Mapping[str, RunSpec]) -> list[str]:
    """Order variants so that those named as a start come before those that start from them."""
    order: list[str] = []
    known: set[str | None] = {None}
    left = dict(specs)
    while left:
        ready = [name for name, s in left.items() if known.issuperset(_starts_of(s.train))]
        if not ready:
            raise InputError(f"{ablation}: train.init_from forms a cycle among {', '.join(left)}")
        order += ready
        known |= set(ready)
        for name in ready:
            del left[name]
    return order


def _starts_of(train: TrainSpec) -> tuple[str | None, ...]:
    return (train.init_from, *train.init_streams)


def _check_names(ablation: Ablation, specs: Mapping[str, RunSpec]) -> None:
    """See that every name of a variant is one."""
    named = [("baseline", ablation.baseline)]
    named += [("published.variant", published.variant) for published in ablation.published]
    named += [("train.init_from", spec.train.init_from) for spec in specs.values()]
    streams = [name for spec in specs.values() for name in spec.train.init_streams]
    named += [("train.init_streams", name) for name in streams]
    for key, name in named:
        if name is not None and name not in specs:
            raise InputError(f"{ablation.name}: {key}: {unknown_name('variant', name, specs)}")


def _check_targets(
    ablation: Ablation,
    specs: Mapping[str, RunSpec],
    facts_of: Callable[[DataSpec], DatasetFacts],
) -> None:
    """See that all variants are compared by one label map, and published numbers are of ours."""
    firsts: dict[str, str] = {}
    for name, spec in specs.items():
        firsts.setdefault((spec.data.targets or (facts_of(spec.data).target_name,))[0], name)
    if len(firsts) > 1:
        listed = " and ".join(f"{target} (variant {name})" for target, name in firsts.items())
        raise InputError(
            f"{ablation.name}: data.targets: variants are compared by the first label map, which "
            f"must be the same for all, not {listed}; ask about each in a question of its own"
        )
    for published in ablation.published:
        further = specs[published.variant].data.targets[1:]
        if published.target is not None and published.target not in further:
            reason = unknown_name("further label map", published.target, further)
            raise InputError(f"{ablation.name}: published.target: {reason}")


def _check_exclude(ablation: Ablation, keys: list[str]) -> None:
    for excluded in ablation.exclude:
        for key, value in excluded.items():
            if key not in keys:
                raise InputError(f"{ablation.name}: exclude: {unknown_name('key', key, keys)}")
            if value not in ablation.grid[key]:
                known = [str(v) for v in ablation.grid[key]]
                raise InputError(
                    f"{ablation.name}: exclude: {unknown_name(key, str(value), known)}"
                )


def _matches(combination: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(combination[key] == value for key, value in wanted.items())


def _get(values: Mapping[str, Any], key: str, where: str) -> Any:
    """Read a dotted key; one that does not exist is an error with the nearest name."""
    current: Any = values
    for part in key.split("."):
        if not isinstance(current, Mapping) or part not in current:
            known = current if isinstance(current, Mapping) else ()
            raise InputError(f"{where}: adjust.when: {unknown_name('key', part, known)}")
        current = current[part]
    return current
