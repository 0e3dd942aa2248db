"""Compiling: the layers of a network fused while it trains, by `train.compile`.

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

METHODS = ("score_with", "score")
"""Methods in which a network does its work; the first that it has is compiled."""


@contextmanager
def compiled(model: nn.Module, train: TrainSpec) -> Iterator[None]:
    """Have a network compiled in a block, in training mode alone, if `train.compile` asks for it.

    Raises:
        InputError: It cannot be compiled here: there is no compiler, or a layer is beyond torch's.
    """
    if not train.compile:
        yield
        return
    name = next(name for name in METHODS if hasattr(model, name))
    setattr(model, name, _in_training(model, getattr(model, name)))
    try:
        yield
    finally:
        delattr(model, name)  # the class has it still


def _in_training(model: nn.Module, plain: Callable[..., Any]) -> Callable[..., Any]:
    fused = torch.compile(plain)

    def call(*arguments: Any) -> Any:
        if not model.training:
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
