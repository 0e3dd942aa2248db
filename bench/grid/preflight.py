"""Models and images of a plan, tried before anything is trained.

In: a plan, facts of its datasets, then their packs. Out: what each model costs, or an `InputError`
that says which variant asks for what cannot be.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bench.data.augment import scaled_size
from bench.data.augmentations import require_augment
from bench.data.batches import require_equal_sizes, require_shards
from bench.data.facts import DatasetFacts
from bench.data.masking import find_hidden
from bench.data.packs.pack import Pack
from bench.data.remarks import require_meaning, uses_of
from bench.data.roles import judged_by, require_draw, trained_on
from bench.grid.building import ModelCost, build, build_somehow, count_cost, try_training
from bench.plan import Plan, PlannedRun
from bench.run.activations import require_blocks
from bench.run.batch_norm import require_known_statistics
from bench.run.freezing import frozen_at
from bench.run.groups import create_groups, describe_groups
from bench.run.losses import aux_upsampling, find_weighting, require_loss
from bench.run.optim import require_optimizer
from bench.run.schedules import require_schedule
from bench.run.selection import read_select
from bench.spec import RunSpec, TrainSpec
from fcn.errors import InputError

DEFAULT_SIZE = (256, 256)
"""Height and width for which cost is counted where the spec has no crop."""


def check_models(plan: Plan, facts: Mapping[str, DatasetFacts]) -> dict[str, ModelCost]:
    """Build each variant's model, run it at its training size, and try a step of training.

    Args:
        plan: What is to be run.
        facts: Of the datasets, by fingerprint.

    Returns:
        Cost by variant.

    Raises:
        InputError: A backbone, skip, size, input, target, list of weights or warm-up is
            impossible, or a batch too small to train on.
    """
    costs: dict[str, ModelCost] = {}
    known: dict[str, ModelCost] = {}
    for planned in plan.first_seeds():
        spec, data = planned.run.spec, facts[planned.run.fingerprint]
        with naming(plan, planned):
            _require_weights(spec.train, data.classes(spec.data))
            _require_warm_up(spec.train)
            require_loss(spec.train, data.classes(spec.data))
            require_augment(spec.train, data.inputs(spec.data)[0])
            require_schedule(spec.train)
            read_select(spec)
            require_optimizer(spec.train)
            options = data.network_options(spec.data)
            size = spec.train.crop or DEFAULT_SIZE
            key = repr((spec.model, options, size))
            if key not in known:
                known[key] = count_cost(spec.model, options, size)
            require_blocks(build_somehow(spec.model, options), spec.train)
            if spec.train.aux is not None:
                aux_upsampling(build_somehow(spec.model, options), spec.train.aux)
            if spec.train.freeze or spec.train.groups or spec.train.layer_decay < 1:
                _require_groups(spec, options)
            if spec.train.crop is not None:
                try_training(spec.model, options, spec.train.crop, spec.train)
        costs[planned.variant] = known[key]
    return costs


def check_images(plan: Plan, packs: Mapping[str, Pack], devices_per_run: int = 1) -> None:
    """Try the images: what labels and splits can say, batches to train on, the smallest to score.

    Args:
        plan: What is to be run.
        packs: Packed data by fingerprint.
        devices_per_run: Devices that share each batch.

    Raises:
        InputError: No score could be right (a split without labels, a judge that is trained on),
            images of a batch differ in size or are too few to share, one is too small
            for a backbone or to train on, or a network's layers cannot be shared.
    """
    for use, planned in uses_of(plan).items():
        with naming(plan, planned):
            require_meaning(use, packs)
    fitting: set[str] = set()
    for planned in plan.first_seeds():
        spec = planned.run.spec
        with naming(plan, planned):
            require_draw(packs[planned.run.fingerprint], spec)
            pack = judged_by(packs[planned.run.fingerprint], spec)
            trained = trained_on(packs[planned.run.fingerprint], spec)
            for mask in {spec.data.mask, spec.judging_mask} - {"none"}:
                find_hidden(pack.targets[0], mask, spec.data.background)
        splits = {spec.evaluate.split}
        if spec.evaluate.eval_every:
            splits.add(spec.evaluate.eval_split)
        with naming(plan, planned):
            require_equal_sizes(trained, spec.train)
            require_shards(spec.train, devices_per_run)
            if devices_per_run > 1:
                classes = [len(target.class_names) for target in pack.targets]
                require_loss(spec.train, classes, devices_per_run)
                model = build_somehow(spec.model, pack.network_options())
                require_blocks(model, spec.train, devices_per_run)
            if devices_per_run > 1 or spec.train.batch_norm_groups > 1:
                require_known_statistics(build(spec.model, pack.network_options()))
            seen = [pack.indices(split) for split in sorted(splits)]
            seen += [trained.indices(spec.train.split)] if spec.train.crop is None else []
            for indices in seen:
                sides = zip(*(pack.size(i) for i in indices), strict=True)
                height, width = map(min, sides)
                size = scaled_size((height, width), spec.data.input_scale)
                options = pack.network_options()
                if (key := repr((spec.model, options, size))) not in fitting:
                    count_cost(spec.model, options, size)
                    fitting.add(key)
            if spec.train.crop is None:
                smallest = min(
                    (pack.size(i) for i in trained.indices(spec.train.split)), key=math.prod
                )
                size = scaled_size(smallest, spec.data.input_scale * spec.train.scale[0])
                require_augment(spec.train, trained.inputs[0], size)
                try_training(spec.model, pack.network_options(), size, spec.train)


@contextmanager
def naming(plan: Plan, planned: PlannedRun) -> Iterator[None]:
    """Put the variant's name in front of an error."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{plan.name}, variant {planned.variant}: {error}") from error


def _require_groups(spec: RunSpec, options: Mapping[str, Any]) -> None:
    """Refuse parts without parameters, and training that trains nothing."""
    model = build_somehow(spec.model, options)
    list(describe_groups(model, spec.train, spec.model))
    if spec.train.steps and not create_groups(model, spec.train, spec.model):
        raise InputError(
            f"train.freeze {', '.join(spec.train.freeze)} leaves no parameter to train; leave one "
            "of these out, or give it the step until which it is frozen"
        )
    trained = {name for name, one in model.named_parameters() if one.requires_grad}
    if spec.train.steps and trained <= frozen_at(1, model, spec.train):
        raise InputError(
            f"train.freeze {', '.join(spec.train.freeze)} leaves no parameter to train at step 1; "
            "leave one of these out"
        )


def _require_warm_up(train: TrainSpec) -> None:
    """Refuse a warm-up that training never gets out of."""
    if train.steps and train.warmup_steps >= train.steps:
        raise InputError(
            f"train.warmup_steps {train.warmup_steps} is not below train.steps {train.steps}: the "
            f"learning rate would only rise, and never be in use as train.lr says; set "
            f"train.warmup_steps to {train.steps // 10}, say, or train longer"
        )


def _require_weights(train: TrainSpec, classes: Sequence[int]) -> None:
    """Refuse lists of weights that do not fit the targets."""
    weights, factors = train.class_weights, train.target_weights
    if isinstance(weights, str):
        find_weighting(weights)
    elif not any(weights):
        raise InputError("train.class_weights are all 0: nothing could be learned; raise one")
    if not isinstance(weights, str) and len(weights) != sum(classes):
        raise InputError(
            f"train.class_weights has {len(weights)} numbers for {sum(classes)} classes; give one "
            "for each class, in the dataset's order"
        )
    if factors and len(factors) != len(classes):
        raise InputError(
            f"train.target_weights has {len(factors)} numbers for {len(classes)} targets; give "
            "one for each of data.targets, or none"
        )
