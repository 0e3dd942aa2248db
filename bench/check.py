"""Everything of a plan that can fail, tried before anything is trained: models, then pictures.

Models are built and run on the meta device: shapes alone, no memory, no arithmetic.
Out: what each costs, or an `InputError` that says which variant asks for what cannot be.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.data.augment import scaled_size
from bench.data.batches import require_equal_sizes
from bench.data.pack import Pack
from bench.plan import Plan, PlannedRun
from bench.spec import ModelSpec
from fcn.errors import InputError
from fcn.model import create_model

DEFAULT_SIZE = (256, 256)
"""Height and width for which cost is counted where the spec has no crop."""


@dataclass(frozen=True)
class ModelCost:
    """What a model costs, independent of any machine."""

    num_parameters: int
    gmacs: float
    """Billions of multiply-adds of one forward pass at `size`."""
    size: tuple[int, int]
    """Height and width in pixels."""


def check_models(plan: Plan, num_classes: Mapping[str, int]) -> dict[str, ModelCost]:
    """Build each variant's model, and run it at its training size.

    Args:
        plan: What is to be run.
        num_classes: Number of classes by dataset fingerprint.

    Returns:
        Cost by variant.

    Raises:
        InputError: A backbone, skip, size or list of weights is impossible.
    """
    costs: dict[str, ModelCost] = {}
    known: dict[tuple[ModelSpec, int, tuple[int, int]], ModelCost] = {}
    for planned in _first_seeds(plan):
        spec, classes = planned.run.spec, num_classes[planned.run.fingerprint]
        key = (spec.model, classes, spec.train.crop or DEFAULT_SIZE)
        with _naming(plan, planned):
            _require_weight_per_class(spec.train.class_weights, classes)
            if key not in known:
                known[key] = count_cost(*key)
        costs[planned.variant] = known[key]
    return costs


def check_pictures(plan: Plan, packs: Mapping[str, Pack]) -> None:
    """Try the sizes of the pictures: batches to train on, and the smallest picture to score.

    Args:
        plan: What is to be run.
        packs: Packed data by fingerprint.

    Raises:
        InputError: Pictures of a batch differ in size, or one is too small for a backbone.
    """
    fitting: set[tuple[ModelSpec, tuple[int, int]]] = set()
    for planned in _first_seeds(plan):
        spec, pack = planned.run.spec, packs[planned.run.fingerprint]
        splits = {spec.evaluate.split}
        if spec.evaluate.watch_every:
            splits.add(spec.evaluate.watch_split)
        if spec.train.crop is None:
            splits.add(spec.train.split)
        with _naming(plan, planned):
            require_equal_sizes(pack, spec.train)
            for split in splits:
                sides = zip(*(pack.size(i) for i in pack.indices(split)), strict=True)
                height, width = map(min, sides)
                size = scaled_size((height, width), spec.data.input_scale)
                if (spec.model, size) not in fitting:
                    count_cost(spec.model, pack.num_classes, size)
                    fitting.add((spec.model, size))


def count_cost(model_spec: ModelSpec, num_classes: int, size: tuple[int, int]) -> ModelCost:
    """Build a model on the meta device, run one picture of `size`, and count.

    Raises:
        InputError: The model is impossible, or the picture too small for it.
    """
    settings = model_spec.model_dump() | {"pretrained": False}
    with torch.device("meta"):
        model = create_model(**settings, num_classes=num_classes).eval()
        images = torch.empty(1, 3, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    # The counter counts a multiply-add as two operations.
    return ModelCost(
        num_parameters=sum(p.numel() for p in model.parameters()),
        gmacs=counter.get_total_flops() / 2e9,
        size=size,
    )


def _first_seeds(plan: Plan) -> Iterator[PlannedRun]:
    """Yield one run of each variant: seeds do not change what is possible."""
    firsts: dict[str, PlannedRun] = {}
    for planned in plan.runs:
        firsts.setdefault(planned.variant, planned)
    yield from firsts.values()


@contextmanager
def _naming(plan: Plan, planned: PlannedRun) -> Iterator[None]:
    """Put the variant's name in front of an error."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{plan.name}, variant {planned.variant}: {error}") from error


def _require_weight_per_class(weights: str | tuple[float, ...], num_classes: int) -> None:
    if not isinstance(weights, str) and len(weights) != num_classes:
        raise InputError(
            f"train.class_weights has {len(weights)} numbers for {num_classes} classes; give one "
            "for each class, in the dataset's order"
        )
