"""Everything of a plan that can fail, tried before anything is trained: models, starts, images.

Models are built and run on the meta device: shapes alone, no memory, no arithmetic. Of starting
weights names and shapes are compared; servers are asked, and nothing is downloaded.
Out: what each model costs, or an `InputError` that says which variant asks for what cannot be.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench.data.augment import scaled_size
from bench.data.augmentations import require_augment
from bench.data.batches import require_equal_sizes, require_shards
from bench.data.facts import DatasetFacts
from bench.data.masking import find_hidden
from bench.data.packs.pack import Pack
from bench.data.remarks import require_meaning, uses_of
from bench.data.roles import judged_by, require_draw, trained_on
from bench.plan import Plan, PlannedRun, Run
from bench.run.activations import require_blocks
from bench.run.batch_norm import require_known_statistics
from bench.run.freezing import frozen_at
from bench.run.groups import create_groups, describe_groups
from bench.run.losses import aux_upsampling, find_weighting, require_loss
from bench.run.optim import require_optimizer
from bench.run.schedules import require_schedule
from bench.run.selection import read_select
from bench.run.weights import load_parent, require_shared
from bench.spec import ModelSpec, RunSpec, TrainSpec
from bench.store.runs import Store
from fcn.errors import InputError, foreign_code
from fcn.model import Network, create_model, require_weights
from fcn.published import PublishedFile
from fcn.settings import without_weights
from fcn.weights_file import Description, find_weights_file, read_description

DEFAULT_SIZE = (256, 256)
"""Height and width for which cost is counted where the spec has no crop."""

OF_ONE = "Expected more than 1"
"""How torch begins to say that a norm has one value to take statistics of."""

KEPT = 256
"""Networks on the meta device that are kept, for the several sizes at which each is run."""


@dataclass(frozen=True)
class ModelCost:
    """What a model costs, independent of any machine."""

    num_parameters: int
    gmacs: float
    """Billions of multiply-adds of one forward pass at `size`."""
    size: tuple[int, int]
    """Height and width in pixels."""


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
    for planned in first_seeds(plan):
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
    for planned in first_seeds(plan):
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


def count_cost(
    model_spec: ModelSpec, options: Mapping[str, Any], size: tuple[int, int]
) -> ModelCost:
    """Build a model on the meta device, run one image of `size`, and count.

    Args:
        model_spec: The network.
        options: What the data add: `num_classes`, and inputs and targets beyond the usual.
        size: Height and width in pixels.

    Raises:
        InputError: The model is impossible, or the image too small for it.
    """
    settings = _settings_of(model_spec, options)
    if model_spec.external is None:
        return _count_on("meta", settings, size)
    failing = (
        f"model.external {model_spec.external!r} fails on an image of {size[0]}x{size[1]} pixels: "
    )
    # A network of another library may go by the values of its tensors.
    with suppress(InputError), foreign_code(failing):
        return _count_on("meta", settings, size)
    with foreign_code(failing):
        return _count_on("cpu", settings, size)


def try_training(
    model_spec: ModelSpec, options: Mapping[str, Any], size: tuple[int, int], train: TrainSpec
) -> None:
    """Run images forward in training, as many as batch norm takes its statistics of.

    Args:
        model_spec: The network, which can be built and run.
        options: As for `count_cost`.
        size: Height and width in pixels.
        train: Takes `batch_size`, `batch_norm_groups` and `steps` from it.

    Raises:
        InputError: A step of training fails, as batch norm over one value does.
    """
    if train.steps:
        number = train.batch_size // train.batch_norm_groups
        _try_training(_settings_of(model_spec, options), number, size)


@lru_cache(maxsize=KEPT)
def _try_training(settings: str, number: int, size: tuple[int, int]) -> None:
    before = f"a step of training on {number} image(s) of {size[0]}x{size[1]} pixels fails: "
    after = (
        "; raise train.batch_size, lower train.batch_norm_groups, or have larger images by "
        "train.crop or data.input_scale"
    )
    try:
        with foreign_code(before, after):
            _train_on("meta", settings, number, size)
    except InputError as error:
        if str(error.__cause__).startswith(OF_ONE):
            raise
        # It may go by the values of its tensors. Two images are as good as more.
        with foreign_code(before, after):
            _train_on("cpu", settings, min(number, 2), size)


def _train_on(device: str, settings: str, number: int, size: tuple[int, int]) -> None:
    """Run N images of H x W forward in training mode."""
    model = _build(settings, device).train()
    with torch.no_grad():
        model(_black_images(device, settings, number, size))


def _count_on(device: str, settings: str, size: tuple[int, int]) -> ModelCost:
    model = _build(settings, device).eval()
    images = _black_images(device, settings, 1, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    # The counter counts a multiply-add as two operations.
    return ModelCost(
        num_parameters=sum(p.numel() for p in model.parameters()),
        gmacs=counter.get_total_flops() / 2e9,
        size=size,
    )


def _black_images(device: str, settings: str, number: int, size: tuple[int, int]) -> Tensor:
    channels = sum(json.loads(settings).get("inputs", {"rgb": 3}).values())
    return torch.zeros(number, channels, *size, device=device)


def build(model_spec: ModelSpec, options: Mapping[str, Any], device: str = "meta") -> Network:
    """Build a network; on the meta device without memory, and once: it is run at several sizes.

    Args:
        model_spec: The network; its starting weights are left out.
        options: As for `count_cost`.
        device: Name of the device.
    """
    return _build(_settings_of(model_spec, options), device)


def _settings_of(model_spec: ModelSpec, options: Mapping[str, Any]) -> str:
    """Return what a network is built from, as JSON."""
    return json.dumps({**without_weights(model_spec.model_dump()), **options})


def _build(settings: str, device: str) -> Network:
    return _build_on_meta(settings) if device == "meta" else _create(settings, device)


@lru_cache(maxsize=KEPT)
def _build_on_meta(settings: str) -> Network:
    return _create(settings, "meta")


def _create(settings: str, device: str) -> Network:
    with torch.device(device):
        return create_model(**json.loads(settings))


def first_seeds(plan: Plan) -> Iterator[PlannedRun]:
    """Yield one run of each variant: seeds do not change what is possible."""
    firsts: dict[str, PlannedRun] = {}
    for planned in plan.runs:
        firsts.setdefault(planned.variant, planned)
    yield from firsts.values()


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


def build_somehow(model_spec: ModelSpec, options: Mapping[str, Any]) -> Network:
    """Build a network for the names and shapes of its parameters, most likely without memory."""
    try:
        return build(model_spec, options)
    except InputError:  # a network of another library that cannot be built without values
        return build(model_spec, options, "cpu")


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


def check_starts(plan: Plan, facts: Mapping[str, DatasetFacts], store: Store) -> list[str]:
    """Try the weights that each run which is not done would start from.

    Args:
        plan: What is to be run; its models can be built.
        facts: Of the datasets, by fingerprint.
        store: Has what is done.

    Returns:
        What is to be said of them: which files they are, and which are still to be fetched.

    Raises:
        InputError: Weights do not exist, cannot be had, were damaged, or are of another network.
    """
    runs = {planned.run.id: planned for planned in plan.runs}
    missing = tuple(one for one in plan.runs if store.status(one.run.id) != "done")
    had: set[str] = set()
    remarks: dict[str, None] = {}
    for planned in first_seeds(replace(plan, runs=missing)):
        spec = planned.run.spec
        options = facts[planned.run.fingerprint].network_options(spec.data)
        with naming(plan, planned):
            if spec.model.pretrained and (key := repr((spec.model, options))) not in had:
                file = require_weights(**spec.model.model_dump(), **options)
                had.add(key)
                if file is not None:
                    remarks[_say_weights(spec.model, file)] = None
            for run_id in planned.run.parents:
                _require_shared(planned.run, runs[run_id], facts)
    parents = {run_id: child for child in missing for run_id in child.run.parents}
    for run_id, child in parents.items():
        if store.status(run_id) == "done":
            with naming(plan, child):
                load_parent(store, run_id)
    return list(remarks)


def _say_weights(model: ModelSpec, file: PublishedFile) -> str:
    """Say which file a network starts from, whether it is here, and if it wants other images."""
    whose = f"starting weights of {model.external or model.backbone} ({model.pretrained})"
    where = (
        f"{whose} are here: {file.path}" if file.path.is_file() else
        f"{whose} can be fetched: the first run downloads {file.address} to {file.path}; for "
        "a machine without a connection put that file there beforehand"
    )  # fmt: skip
    described = read_description(file.path)
    licence = described.licence and f"licence {described.licence}"
    about = (described.origin, licence, _say_other_images(model, described))
    return "; ".join([where, *(text for text in about if text)])


def _say_other_images(model: ModelSpec, described: Description) -> str:
    """Say that weights are for images of another preprocessing, where they are; else nothing."""
    is_file = find_weights_file(model.pretrained) is not None
    meant = described.preprocessing if is_file else "timm"  # as all that timm knows of
    if model.external is not None or meant in (None, model.preprocessing):
        return ""
    return (
        f"they are for images as model.preprocessing {meant} shows them, and it is "
        f"{model.preprocessing}: set it to {meant}, unless this is what is asked"
    )


def _require_shared(run: Run, parent: PlannedRun, facts: Mapping[str, DatasetFacts]) -> None:
    """See that a run's network gets most of its backbone from its parent's."""
    key, whose = "train.init_from", f"variant {parent.variant}"
    own = _weights_of(run, facts)
    if run.streams:
        name = dict(zip(run.streams, run.spec.data.inputs, strict=True))[parent.run.id]
        key, below = "train.init_streams", f"streams.{name}."
        own = {k.removeprefix(below): v for k, v in own.items() if k.startswith(below)}
    require_shared(own, _weights_of(parent.run, facts), key, whose)


def _weights_of(run: Run, facts: Mapping[str, DatasetFacts]) -> dict[str, Tensor]:
    """Return the tensors of a run's network, most likely without memory: names and shapes."""
    options = facts[run.fingerprint].network_options(run.spec.data)
    return build_somehow(run.spec.model, options).state_dict()
