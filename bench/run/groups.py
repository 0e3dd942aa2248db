"""Groups: which parameters learn how fast, and which decay, by part of the network.

Factors of all parts that a parameter is in are multiplied, so the order in a spec says nothing.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn

from bench.run.freezing import frozen_for_good
from bench.run.parts import count_numbers, find_parts, layer_scales
from bench.spec import ModelSpec, TrainSpec


def create_groups(
    model: nn.Module, train: TrainSpec, spec: ModelSpec | None = None
) -> list[dict[str, Any]]:
    """Return the parameters that train, grouped by learning rate and decay.

    Vectors (biases, norms) do not decay, whatever their part.

    Args:
        model: The network.
        train: Takes `weight_decay`, `groups`, `layer_decay` and `freeze` from it.
        spec: What the network was built from, which layer-wise decay asks.

    Raises:
        InputError: A part has no parameter.
    """
    frozen = frozen_for_good(model, train)
    factors = learning_factors(model, train, spec)
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for is_vector in (False, True):
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad or name in frozen:
                continue
            if (parameter.ndim <= 1) == is_vector:
                groups.setdefault((*factors.get(name, (1.0, 1.0)), is_vector), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if is_vector else train.weight_decay * decay,
            "lr_scale": lr,
        }
        for (lr, decay, is_vector), parameters in groups.items()
    ]


def learning_factors(
    model: nn.Module, train: TrainSpec, spec: ModelSpec | None
) -> dict[str, tuple[float, float]]:
    """Return factors of learning rate and decay of each parameter that has other ones than 1."""
    factors: dict[str, tuple[float, float]] = {}
    for named, group in train.groups.items():
        for name in find_parts(model, named, "train.groups"):
            lr, decay = factors.get(name, (1.0, 1.0))
            factors[name] = (lr * group.lr, decay * group.decay)
    if train.layer_decay < 1:
        assert spec is not None
        for name, scale in layer_scales(model, spec, train.layer_decay).items():
            lr, decay = factors.get(name, (1.0, 1.0))
            factors[name] = (lr * scale, decay)
    return factors


def describe_groups(model: nn.Module, train: TrainSpec, spec: ModelSpec) -> Iterator[str]:
    """Yield a line for each part that `train.freeze` and `train.groups` name, and each layer.

    Raises:
        InputError: As `create_groups`.
    """
    frozen = frozen_for_good(model, train)
    for named, until in train.freeze.items():
        found = find_parts(model, named, "train.freeze")
        since = "for good" if until is None else f"until step {until}"
        if until is not None and train.steps and until >= train.steps:
            since += f", and there are {train.steps}"
        yield f"{named}: {_count(model, found)}, frozen {since}"
    vectors = {name for name, parameter in model.named_parameters() if parameter.ndim <= 1}
    for named, group in train.groups.items():
        found = find_parts(model, named, "train.groups")
        idle = ""
        if found <= frozen:
            idle = ": changes nothing, as all of it is frozen for good"
        elif group.decay != 1 and found <= vectors:
            idle = ", which changes nothing: biases and norms are not decayed"
        yield f"{named}: {_count(model, found)}, lr x {group.lr:g}, decay x {group.decay:g}{idle}"
    if train.layer_decay < 1:
        layers: dict[float, set[str]] = {}
        for name, scale in layer_scales(model, spec, train.layer_decay).items():
            layers.setdefault(scale, set()).add(name)
        for number, scale in enumerate(sorted(layers)):
            yield f"layer {number}: {_count(model, layers[scale])}, lr x {scale:.3g}"


def _count(model: nn.Module, names: set[str]) -> str:
    return f"{len(names)} tensors with {count_numbers(model, names):,} numbers"
