"""Terms: the setting `train.loss` as what is computed, one loss or several with their weights."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from bench.run.losses import pixels, regions
from bench.run.losses.foreign import create_foreign, is_foreign
from bench.run.losses.kinds import LOSSES, Kind, Labels, OfSums, PerImage, PerPixel, Whole
from bench.settings.calls import read_call, require_arguments
from bench.spec import TrainSpec
from fcn.errors import InputError, foreign_code

BUILT_IN = (pixels, regions)
"""Modules whose losses come with the project."""

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True)
class Term:
    """One loss with its arguments and its weight in the sum."""

    name: str
    kind: Kind
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether it sees the whole batch at once."""
        return isinstance(self.kind, Whole)


CROSS_ENTROPY = (Term("cross_entropy", LOSSES["cross_entropy"]),)
"""The default."""


def list_losses() -> list[str]:
    """Return the names of all registered losses."""
    return list(LOSSES)


def create_terms(setting: str | Mapping[str, float]) -> tuple[Term, ...]:
    """Turn the setting `train.loss` into terms, in the order of their names.

    Raises:
        InputError: A loss is unknown, or does not take its arguments.
    """
    weights = {setting: 1.0} if isinstance(setting, str) else setting
    return tuple(_create_term(text, weights[text]) for text in sorted(weights))


def require_loss(train: TrainSpec, classes: Sequence[int], devices: int = 1) -> None:
    """See that the loss of a run, and its gradient, can be computed; runs it on a few numbers.

    Args:
        train: Settings.
        classes: Of each target.
        devices: Devices that share each batch.

    Raises:
        InputError: A loss is unknown or fails, or cannot be what another setting asks for.
    """
    terms = create_terms(train.loss)
    for term in terms:
        if train.loss_reduction == "sum" and not isinstance(term.kind, PerPixel):
            raise InputError(
                f"train.loss_reduction sum: loss {term.name!r} is no sum over pixels; set "
                "train.loss_reduction to mean, or choose cross_entropy, focal or bce"
            )
        if term.is_whole and devices > 1:
            raise InputError(
                f"train.loss {term.name!r} sees the whole batch at once, which {devices} devices "
                "share; leave --devices-per-run out, or choose a loss that is a sum or a figure of "
                "each image"
            )
        for number in classes:
            _try(term, number, has_weights=train.class_weights != "none")


def _create_term(text: str, weight: float) -> Term:
    call = read_call(text)
    if is_foreign(call.name):
        return Term(call.name, create_foreign(call.name, call.arguments), {}, weight)
    kind = LOSSES[call.name]
    what = f"train.loss {call.name}: {{}}"
    require_arguments(what, kind.function, call.arguments, given=2 + takes_weights(kind))
    return Term(call.name, kind, call.arguments, weight)


def takes_weights(kind: Kind) -> bool:
    """Say whether the losses of pixels have the class weights in them already."""
    names = list(inspect.signature(kind.function).parameters)
    return isinstance(kind, PerPixel) and names[2:3] == ["class_weights"]


def _try(term: Term, num_classes: int, *, has_weights: bool) -> None:
    """Compute a loss on two images of 32 x 32 pixels, some of them ignored, and its gradient."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, num_classes, 32, 32, generator=generator).requires_grad_()
    classes = torch.randint(0, num_classes, (2, 32, 32), generator=generator)
    labelled = torch.rand(2, 32, 32, generator=generator) > 0.3
    weights = torch.ones(num_classes) if has_weights else None
    shown = Labels(classes * labelled, labelled, weights)
    with foreign_code(f"train.loss {term.name!r} fails: "), torch.enable_grad():
        loss = _loss_of(term, logits, shown)
        if not loss.isfinite():
            raise InputError(f"train.loss {term.name!r} gives {loss.item()} on random scores")
        slope = torch.autograd.grad(loss, logits)[0] if loss.requires_grad else logits * 0
        if not slope.isfinite().all():
            raise InputError(f"train.loss {term.name!r} has a gradient that is not finite")
        if not slope.any():
            raise InputError(f"train.loss {term.name!r} has no gradient; nothing could be learned")


def _loss_of(term: Term, logits: Tensor, shown: Labels) -> Tensor:
    """Return a number that has the gradient of a loss.

    Raises:
        InputError: The function gives something of another shape than its kind has.
    """
    kind, (n, _, H, W) = term.kind, logits.shape
    given: tuple[Any, ...]
    if isinstance(kind, PerPixel):
        given = (logits, shown.classes, *([shown.class_weights] * takes_weights(kind)))
        shape: tuple[int, ...] = (n, H, W)
    elif isinstance(kind, OfSums):
        given, shape = (kind.sums(logits, shown), shown.class_weights), ()
    else:
        given, shape = (logits, shown), (n,) if isinstance(kind, PerImage) else ()
    found = kind.function(*given, **term.arguments)
    if found.shape != shape:
        raise InputError(
            f"train.loss {term.name!r} gives numbers of shape {tuple(found.shape)}; a loss that is "
            f"{type(kind).__name__} gives {shape} of {n} images of {H} x {W} pixels"
        )
    return (found * shown.labelled if isinstance(kind, PerPixel) else found).sum()
