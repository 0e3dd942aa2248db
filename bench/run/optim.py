"""Optimisers by name: torch's SGD and AdamW, and any of timm's whose state can be kept whole.

In: groups of parameters, each with its weight decay. Out: an optimiser. Learning rates are set
before each step, see `bench.run.schedules`.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any

import timm.optim
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from bench.run.ema import keep_ema
from bench.run.groups import create_groups
from bench.run.optimizer_state import optimizer_tensors
from bench.run.rates import fuse
from bench.settings.calls import Call, read_call, require_arguments
from bench.spec import ModelSpec, TrainSpec
from fcn.errors import InputError, foreign_code
from fcn.registry import Registry, unknown_part

Groups = list[dict[str, Any]]
"""Groups of parameters: `params`, `weight_decay`."""

OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry("optimizer")
"""name -> function of (groups, lr) and arguments by name. Other names are looked for in timm."""

_TIMM: Any = timm.optim  # whose factory is typed for itself alone

LIBRARIES = {"fused": "apex", "bnb": "bitsandbytes"}
"""Packages that timm takes optimisers from, by how their names begin."""

REFUSED = {
    "Adahessian": "it needs second derivatives, which a step does not take",
    "Kron": "it draws at random from a state of its own, so no run could be resumed to the same "
    "bits",
}
"""Why optimisers of timm are not used, by class."""

OWN_KEYS = {"lr": "train.lr", "weight_decay": "train.weight_decay", "momentum": "train.momentum"}
"""Arguments that are keys of a spec."""

ELSEWHERE = {
    ("sgd", "nesterov"): "is an optimiser of its own, `nesterov`",
    ("adamw", "betas"): "are train.momentum, the first, and beta2",
}
"""Arguments that torch has and ours have not, and what stands for them."""


def create_optimizer(
    model: nn.Module, train: TrainSpec, spec: ModelSpec | None = None
) -> Optimizer:
    """Create the optimiser of `train`; vectors (biases, norms) are not decayed.

    With `train.ema_decay` it keeps a moving average of the parameters too.

    Args:
        model: The network.
        train: Settings.
        spec: What the network was built from; only `train.layer_decay` asks.

    Raises:
        InputError: The optimiser is unknown, cannot be used, or does not take its arguments.
    """
    optimizer = _create(create_groups(model, train, spec), train)
    keep_ema(optimizer, train)
    if train.precision != "fp16" and all(p.is_cuda for p in model.parameters()):
        fuse(optimizer)  # steps of fp16 may be left out, which the average has to know
    return optimizer


def require_optimizer(train: TrainSpec) -> None:
    """See that an optimiser can be had, by a step with a few numbers, whose state is taken.

    Raises:
        InputError: As `create_optimizer`; or it makes no step, or keeps what no checkpoint holds.
    """
    matrix = torch.zeros(2, 2, requires_grad=True)
    matrix.grad = torch.ones(2, 2)
    optimizer = _create([{"params": [matrix], "weight_decay": 0.0}], train)
    with foreign_code(f"train.optimizer {train.optimizer} makes no step: "):
        optimizer.step()
    with foreign_code(f"train.optimizer {train.optimizer} could not go on from a checkpoint: "):
        optimizer_tensors(optimizer)


def list_optimizers() -> list[dict[str, str]]:
    """Return all optimisers by name, each with why it cannot be used, if it cannot."""
    names = sorted({*OPTIMIZERS, *_TIMM.list_optimizers()})
    return [{"name": n, "note": "" if n in OPTIMIZERS else _why_refused(n) or ""} for n in names]


@OPTIMIZERS.register("sgd")
def create_sgd(groups: Groups, lr: float, momentum: float) -> Optimizer:
    """Gradient descent with momentum, `train.momentum`; timm's `nesterov` looks ahead."""
    return SGD(groups, lr=lr, momentum=momentum)


@OPTIMIZERS.register("adamw")
def create_adamw(
    groups: Groups, lr: float, momentum: float, *, beta2: float = 0.999, eps: float = 1e-8
) -> Optimizer:
    """Adam with decoupled decay; the first beta is `train.momentum`."""
    return AdamW(groups, lr=lr, betas=(momentum, beta2), eps=eps)


def _create(groups: Groups, train: TrainSpec) -> Optimizer:
    call = read_call(train.optimizer)
    if call.name not in OPTIMIZERS:
        return _create_timm(groups, train.lr, call)
    function = OPTIMIZERS[call.name]
    extra = (train.momentum,) if call.name in ("sgd", "adamw") else ()
    what = f"train.optimizer {call.name}: {{}}"
    _require_not_ours(call, OWN_KEYS)
    for key in call.arguments:
        if (call.name, key) in ELSEWHERE:
            raise InputError(
                f"train.optimizer {call.name}: {key} {ELSEWHERE[call.name, key]}; write that"
            )
    require_arguments(what, function, call.arguments, given=2 + len(extra))
    with foreign_code(f"train.optimizer {call.name} cannot be created: "):
        return function(groups, train.lr, *extra, **_with_tuples(call.arguments))


def _create_timm(groups: Groups, lr: float, call: Call) -> Optimizer:
    """Create an optimiser of timm's; with timm's defaults, but for learning rate and decay."""
    known = _TIMM.list_optimizers()
    if call.name not in known:
        raise InputError(unknown_part("optimizer", call.name, {*OPTIMIZERS, *known}))
    if why := _why_refused(call.name):
        raise InputError(f"train.optimizer {call.name!r} cannot be used: {why}; choose another")
    _require_not_ours(call, ("lr", "weight_decay"))
    what = f"train.optimizer {call.name}: {{}}"
    with foreign_code(f"train.optimizer {call.name} cannot be created: "):
        made = _TIMM.get_optimizer_class(call.name, bind_defaults=False)
        require_arguments(what, made, call.arguments, given=1)
        return _TIMM.create_optimizer_v2(  # type: ignore[no-any-return]
            groups, opt=call.name, lr=lr, **_with_tuples(call.arguments)
        )


def _require_not_ours(call: Call, keys: Iterable[str]) -> None:
    """Refuse an argument that is a key of its own."""
    for key in sorted(call.arguments.keys() & set(keys)):
        raise InputError(f"train.optimizer {call.name}: {key} is {OWN_KEYS[key]} of the spec")


def _why_refused(name: str) -> str | None:
    """Return why an optimiser of timm's cannot be used; None if it can."""
    for start, package in LIBRARIES.items():
        if name.startswith(start) and find_spec(package) is None:
            return f"it needs the package {package}, which is not installed"
    made = _TIMM.get_optimizer_info(name).opt_class
    return REFUSED.get(made if isinstance(made, str) else made.__name__)


def _with_tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
