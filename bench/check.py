"""Every model of a plan, built and run on the meta device before anything is trained.

Out: what each costs, or an `InputError` that says which variant asks for what cannot be.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.plan import Plan
from bench.spec import ModelSpec, RunSpec
from fcn.errors import InputError
from fcn.model import create_model

EVAL_SIZE = (256, 256)
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
    """Build each variant's model without memory, and run it at its training size.

    Args:
        plan: What is to be run.
        num_classes: Number of classes by dataset fingerprint.

    Returns:
        Cost by variant.

    Raises:
        InputError: A backbone, skip or size is impossible; the message names the variant.
    """
    costs: dict[str, ModelCost] = {}
    known: dict[tuple[ModelSpec, int, tuple[int, int]], ModelCost] = {}
    for planned in plan.runs:
        spec, classes = planned.run.spec, num_classes[planned.run.fingerprint]
        key = (spec.model, classes, spec.train.crop or EVAL_SIZE)
        if planned.variant in costs:
            continue
        try:
            if key not in known:
                known[key] = _count_cost(*key)
        except ValueError as error:
            raise InputError(f"{plan.name}, variant {planned.variant}: {error}") from error
        costs[planned.variant] = known[key]
    _check_class_weights(plan, num_classes)
    return costs


def _count_cost(model_spec: ModelSpec, num_classes: int, size: tuple[int, int]) -> ModelCost:
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


def _check_class_weights(plan: Plan, num_classes: Mapping[str, int]) -> None:
    for planned in plan.runs:
        spec: RunSpec = planned.run.spec
        weights, classes = spec.train.class_weights, num_classes[planned.run.fingerprint]
        if not isinstance(weights, str) and len(weights) != classes:
            raise InputError(
                f"{plan.name}, variant {planned.variant}: train.class_weights has {len(weights)} "
                f"numbers for {classes} classes; give one for each class, in the dataset's order"
            )
