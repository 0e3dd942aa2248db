"""Freezing: parts of a network that do not train, for good or until a step.

Nothing is computed for them: no gradient of theirs, and none of what lies below them alone. Norms
all of whose parameters are frozen, and those within a frozen part, keep their statistics.
"""

from torch import nn

from bench.run.parts import find_parts, is_norm
from bench.spec import TrainSpec


def frozen_for_good(model: nn.Module, train: TrainSpec) -> set[str]:
    """Return the names of the parameters that never train.

    Raises:
        InputError: A part has no parameter.
    """
    return frozen_at(train.steps or 1, model, train)


def frozen_at(step: int, model: nn.Module, train: TrainSpec) -> set[str]:
    """Return the names of the parameters that do not train in a step, from 1."""
    parts = _parts_at(step, train)
    return {name for part in parts for name in find_parts(model, part, "train.freeze")}


def _parts_at(step: int, train: TrainSpec) -> list[str]:
    return [part for part, until in train.freeze.items() if until is None or step <= until]


class Freezer:
    """Freezes and thaws the parts of a network as the steps go by.

    Args:
        model: The network.
        train: Takes `freeze` from it.
    """

    def __init__(self, model: nn.Module, train: TrainSpec) -> None:
        self._model, self._train = model, train
        self._parts: list[str] = []
        self._now: set[str] = set()
        self._norms: list[nn.Module] = []

    def set_step(self, step: int) -> bool:
        """Have the parameters train that do in this step; return whether they are others now."""
        parts = _parts_at(step, self._train)
        if parts == self._parts:  # as in most steps: names are not looked through
            return False
        self._parts = parts
        frozen = frozen_at(step, self._model, self._train)
        if frozen == self._now:
            return False
        for name, parameter in self._model.named_parameters():
            if name in frozen or name in self._now:
                parameter.requires_grad_(name not in frozen)
        self._now = frozen
        for norm in self._norms:
            norm.train(self._model.training)
        self._norms = [module for name, module in self._model.named_modules()
                       if is_norm(module) and _is_within(name, module, frozen)]  # fmt: skip
        self.hold_statistics()
        return True

    def hold_statistics(self) -> None:
        """Put frozen norms, which `model.train()` wakes up, back to the statistics they have."""
        for norm in self._norms:
            norm.eval()


def _is_within(name: str, module: nn.Module, frozen: set[str]) -> bool:
    """Say whether a norm is frozen: it, or, if it has no parameters, what stands around it."""
    own = [f"{name}.{key}" for key, _ in module.named_parameters(recurse=False)]
    if own:
        return frozen.issuperset(own)
    around = name.rpartition(".")[0] + "."
    return any(one.startswith(around) for one in frozen)
