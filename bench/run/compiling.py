"""Compiling: the layers of a backbone fused while it trains, by `train.compile`.

Scores are taken by the network as it is: what is compiled rounds otherwise, and a judged network
should be the one that others load. So runs with it have ids of their own, and off is the default.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bench.spec import TrainSpec
from fcn.errors import InputError
from fcn.external import External
from fcn.model import FCN, Network


@contextmanager
def compiled(model: Network, train: TrainSpec) -> Iterator[None]:
    """Have a network's backbone compiled in a block, in training mode, if `train.compile` asks.

    What stands behind it is left as it is: few layers, whose grids are worked out on the host.

    Raises:
        InputError: It cannot be compiled here: there is no compiler, or a layer is beyond torch's.
    """
    parts = _find_parts(model) if train.compile else []
    for part in parts:
        part.forward = _in_training(part, part.forward)
    try:
        yield
    finally:
        for part in parts:
            del part.forward  # the class has it still


def _find_parts(model: Network) -> list[nn.Module]:
    """Return the backbone of a network, or of each of its streams; all of one of a library."""
    if isinstance(model, External):
        return [model.net]
    return [module.backbone for module in model.modules() if isinstance(module, FCN)]


def _in_training(part: nn.Module, plain: Callable[..., Any]) -> Callable[..., Any]:
    fused = torch.compile(plain)

    def call(*arguments: Any) -> Any:
        if not part.training:
            return plain(*arguments)
        try:
            return fused(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            why = str(error).strip().partition("\n")[0]
            raise InputError(
                f"train.compile: this network cannot be compiled here ({why}); leave train.compile "
                "out, or install a C++ compiler where there is none"
            ) from error

    return call
