"""From a question to a plan: variants spelled out, settings judged, runs in order with their ids.

In: an `Ablation` and the facts of its datasets. Out: a `bench.plan.Plan`, parents before children.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ablations.fitting import fits, fits_none, list_unused, read_choices, spelled
from ablations.names import list_names, require_names_that_hold, require_own_word
from ablations.spec import Ablation, Differences
from bench.data.draws import Draw
from bench.data.facts import DatasetFacts
from bench.plan import Plan, PlannedRun, Published, Run
from bench.settings.keys import flatten
from bench.sources import find_sources
from bench.spec import DataSpec, RunSpec, TrainSpec, override, parse, parse_value
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
    specs = specs_of(ablation)
    _check_names(ablation, specs)
    _check_targets(ablation, specs, facts_of)
    _check_counted(ablation, specs)
    order = _parents_first(ablation.name, specs)
    runs: dict[tuple[str, int], PlannedRun] = {}
    for seed in ablation.seeds:
        for name in order:
            runs[name, seed] = PlannedRun(
                name, _run_of(ablation.name, specs[name], name, seed, runs, facts_of, sources_of)
            )
    plan = Plan(
        name=ablation.name,
        question=ablation.question,
        expectation=ablation.expectation,
        runs=tuple(runs.values()),
        baseline=ablation.baseline,
        published=tuple(_say_other_data(ablation, specs)),
        margin=ablation.margin,
        answer=ablation.answer or "",
        claims=tuple(claim.under(ablation.score.primary) for claim in ablation.claims),
        scoring=ablation.score.with_scores([one.score for one in ablation.claims if one.score]),
        note=ablation.note,
        command=command,
    )
    _require_own_answers(ablation, plan)
    return plan


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
        if any(_matches(combination, one, ablation.name) for one in ablation.exclude):
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


def specs_of(ablation: Ablation) -> dict[str, RunSpec]:
    """Return the settings of each variant, by name.

    Raises:
        InputError: A setting is wrong, undoes what a variant states, or is for no variant.
    """
    variants = variants_of(ablation)
    require_names_that_hold(ablation, variants)
    specs, fitted = {}, set()
    for name, differences in variants.items():
        specs[name], own = _spec_of(ablation, name, differences)
        fitted |= own
    for number, adjustment in enumerate(ablation.adjust):
        if number not in fitted and not _fits_as_written(ablation, number):
            raise InputError(fits_none(specs.values(), adjustment.when, where=_when(ablation)))
    return specs


def list_unused_values(ablation: Ablation) -> list[str]:
    """Name the values in lists of `adjust.when` that no variant has: misspelt, or for other grids.

    Raises:
        InputError: As `specs_of`.
    """
    specs = specs_of(ablation).values()
    where = _when(ablation)
    return [text for one in ablation.adjust for text in list_unused(specs, one.when, where=where)]


def _spec_of(ablation: Ablation, name: str, differences: Differences) -> tuple[RunSpec, set[int]]:
    """Put a variant's settings together: common, then its own, then the adjustments that fit.

    What is forced is seen by adjustments, and comes after them.

    Returns:
        The settings, and the numbers of the adjustments that fit.
    """
    where = f"{ablation.name}, variant {name}"
    own = flatten(differences, where=where)
    values = override(override(ablation.common, own), ablation.forced)
    fitted = set()
    for number, adjustment in enumerate(ablation.adjust):
        spec = parse(RunSpec, values, where=where)
        if fits(spec, adjustment.when, where=_when(ablation)):
            fitted.add(number)
            require_own_word(ablation, name, differences, adjustment)
            values = override(override(values, adjustment.set), ablation.forced)
    spec = parse(RunSpec, values, where=where)
    if "seed" in values:
        raise InputError(
            f"{where}: seed {spec.seed} would not be used: each variant is run once with each of "
            f"the spec's `seeds`; write seeds: [{spec.seed}]"
        )
    return spec, fitted


def _fits_as_written(ablation: Ablation, number: int) -> bool:
    """Say whether an adjustment fits a variant of the file, where --set left that variant out."""
    written = ablation.written
    if written is ablation or written.adjust != ablation.adjust:
        return False
    try:
        return any(number in _spec_of(written, *one)[1] for one in variants_of(written).items())
    except InputError:  # a spec that --set alone makes whole
        return False


def _when(ablation: Ablation) -> str:
    return f"{ablation.name}: adjust.when"


def _check_counted(ablation: Ablation, specs: Mapping[str, RunSpec]) -> None:
    """Refuse a score of what no variant has counted, or to decide by one that some lack."""
    for score, kind in ablation.score.needs.items():
        without = [name for name, spec in specs.items() if not getattr(spec.evaluate, kind)]
        if len(without) == len(specs) or (without and score == ablation.score.primary):
            who = "no variant asks" if len(without) == len(specs) else "some variants do not ask"
            named = f" ({list_names(without)})" * (len(without) < len(specs))
            raise InputError(
                f"{ablation.name}: score: {score} is made of what evaluate.{kind} has counted, and "
                f"{who} for it{named}; write  common: {{evaluate.{kind}: true}}"
            )


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
    watched = [spec.evaluate.eval_split] if spec.evaluate.eval_every else []
    for split in (spec.train.split, spec.evaluate.split, *watched):
        if not facts.num_images.get(split):
            raise InputError(
                f"{ablation}, variant {variant}: "
                + unknown_name(f"split of dataset {spec.data.dataset}:", split, facts.num_images)
            )
    draw = Draw.of(spec.data)
    num_images = draw.size(facts.num_images[spec.train.split])
    _require_images(f"{ablation}, variant {variant}", spec, num_images)
    train = resolve_steps(spec.train, num_images)
    parent = runs[train.init_from, seed].run.id if train.init_from else None
    streams = tuple(runs[name, seed].run.id for name in train.init_streams)
    resolved = spec.model_copy(update={"train": train, "seed": seed})
    by_groups = draw.by_groups and not draw.is_whole
    groups = facts.groups.get(spec.train.split, "") if by_groups else ""
    return Run(resolved, facts.fingerprint, parent, streams, dict(sources_of(spec)), groups)


def _require_images(where: str, spec: RunSpec, num_images: int) -> None:
    """Refuse a share that leaves nothing, and folds none of which judges."""
    train, data, judge = spec.train, spec.data, spec.evaluate
    if num_images < 1:
        drawn = f"data.train_fraction {data.train_fraction:g} of split {train.split!r}"
        raise InputError(f"{where}: {drawn} is less than one image; ask for a larger share")
    if data.folds is not None and judge.split != train.split:
        raise InputError(
            f"{where}: data.folds parts train.split {train.split!r}, one fold of which judges, and "
            f"evaluate.split is {judge.split!r}; write evaluate.split: {train.split}"
        )


def resolve_steps(train: TrainSpec, num_images: int) -> TrainSpec:
    """Turn a duration in epochs into steps: the only place where that is done.

    Raises:
        InputError: No duration is given.
    """
    if train.steps is not None:
        return train
    if train.epochs is None:
        raise InputError("no duration: give train.steps or train.epochs")
    steps = math.ceil(train.epochs * num_images / (train.batch_size * train.grad_accum_steps))
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


def _say_other_data(ablation: Ablation, specs: Mapping[str, RunSpec]) -> Iterator[Published]:
    """Yield published numbers; where --set has the question asked of other data, that differs."""
    try:
        written = specs_of(ablation.written) if ablation.published else {}
    except InputError:  # a spec that --set alone makes whole
        written = {}
    for published in ablation.published:
        now = specs[published.variant].data.dataset
        was = written[published.variant].data.dataset if published.variant in written else now
        if was != now:
            differs = "; ".join(filter(None, [f"data: {was}, not {now}", published.differs]))
            published = published.model_copy(update={"differs": differs})
        yield published


def _check_targets(
    ablation: Ablation,
    specs: Mapping[str, RunSpec],
    facts_of: Callable[[DataSpec], DatasetFacts],
) -> None:
    """See that all variants are compared by one target, and published numbers are of ours."""
    firsts: dict[str, str] = {}
    for name, spec in specs.items():
        firsts.setdefault((spec.data.targets or (facts_of(spec.data).target_name,))[0], name)
    if len(firsts) > 1:
        listed = " and ".join(f"{target} (variant {name})" for target, name in firsts.items())
        raise InputError(
            f"{ablation.name}: data.targets: variants are compared by the first target, which "
            f"must be the same for all, not {listed}; ask about each in a question of its own"
        )
    for published in ablation.published:
        further = specs[published.variant].data.targets[1:]
        if published.target is not None and published.target not in further:
            reason = unknown_name("further target", published.target, further)
            raise InputError(f"{ablation.name}: published.target: {reason}")


def _require_own_answers(ablation: Ablation, plan: Plan) -> None:
    """Refuse variants that are one run because of what --set says.

    Those that are one run as the spec is written, over another base, or with values that were
    chosen for them, are said to be (`Plan.doubles`): a choice that a base or scores have made is no
    mistake of who asks.
    """
    written = ablation.written
    is_tuned = bool(written.tune) and not ablation.tune
    asked = [written]
    asked += [ablation.with_forced({}, written)] * (is_tuned or ablation.base != written.base)
    for names in plan.doubles if written is not ablation else ():
        if not any(_are_one(one, names) for one in asked):
            forced = [f"{key}={spelled(value)}" for key, value in flatten(ablation.forced).items()]
            raise InputError(
                f"{ablation.name}: {' '.join(['--set', *forced])} makes one run of variants "
                f"{' and '.join(names)}, which would be shown as two answers; leave it out of "
                "--set, or leave one of them out"
            )


def _are_one(ablation: Ablation, names: list[str]) -> bool:
    """Say whether variants are one run by their settings, whatever they start from."""
    try:
        specs = specs_of(ablation)
    except InputError:  # a spec that --set alone makes whole
        return False
    nobody = {"init_from": None, "init_streams": ()}
    found = set()
    for name in names:
        spec = specs.get(name)
        own = spec and spec.model_copy(update={"train": spec.train.model_copy(update=nobody)})
        found.add(own and Run(own, "").id)  # what a choice makes meaningless is no part of an id
    return len(found) == 1


def _check_exclude(ablation: Ablation, keys: list[str]) -> None:
    where = f"{ablation.name}: exclude"
    for excluded in ablation.exclude:
        for key, wanted in excluded.items():
            if key not in keys:
                raise InputError(f"{where}: {unknown_name('key', key, keys)}")
            known = [
                parse_value(key, value, where=f"{where} of grid") for value in ablation.grid[key]
            ]
            for value in read_choices(key, wanted, where=where):
                if value not in known:
                    reason = unknown_name(key, spelled(value), map(spelled, known))
                    raise InputError(f"{where}: {reason}")


def _matches(combination: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> bool:
    return all(
        parse_value(key, combination[key], where=where) in read_choices(key, value, where=where)
        for key, value in wanted.items()
    )
