"""An optimiser's state as tensors by name, so that a file of tensors holds all of it.

Of parameters: `3.momentum_buffer` of the fourth. Numbers that are no tensors say what they are
behind their name, `3.step:int`; what optimisers note of a whole group is `group.0.step:int`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_TYPES = {"bool": (bool, torch.bool), "int": (int, torch.int64), "float": (float, torch.float64)}
_GROUP = "group."
_GIVEN = {"params", "lr", "weight_decay", "lr_scale", "ema_decay"}
"""What a group is given anew by us."""


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimiser by name.

    Raises:
        TypeError: It keeps something that is neither a tensor nor a number.
    """
    state = optimizer.state_dict()
    found: dict[str, Tensor] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if value is not None:  # SGD without momentum keeps None
                found.update([_to_tensor(f"{index}.{name}", value)])
    for index, group in enumerate(state["param_groups"]):
        for name in group.keys() - _GIVEN - optimizer.defaults.keys():
            if isinstance(group[name], Tensor | int | float):
                found.update([_to_tensor(f"{_GROUP}{index}.{name}", group[name])])
    return found


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser the state that `optimizer_tensors` returned."""
    groups = optimizer.state_dict()["param_groups"]
    states: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.removeprefix(_GROUP).partition(".")
        name, value = _from_tensor(name, tensor)
        if key.startswith(_GROUP):
            groups[int(index)][name] = value
        else:
            states.setdefault(int(index), {})[name] = value
    # A file's tensors come in any order.
    optimizer.load_state_dict({"state": dict(sorted(states.items())), "param_groups": groups})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # In a parameter's own layout: sums over it are then taken in the same order.
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _to_tensor(name: str, value: Any) -> tuple[str, Tensor]:
    if isinstance(value, Tensor):
        return name, value
    kind = type(value).__name__
    if kind not in _TYPES:
        raise TypeError(f"an optimiser keeps {kind} as {name}, which no checkpoint can hold")
    return f"{name}:{kind}", torch.tensor(value, dtype=_TYPES[kind][1])


def _from_tensor(name: str, tensor: Tensor) -> tuple[str, Any]:
    plain, _, kind = name.partition(":")
    return (plain, _TYPES[kind][0](tensor.item())) if kind else (plain, tensor)
