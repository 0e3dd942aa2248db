"""A loss over slices of a batch: full-size logits of few images at a time, and their gradient.

In: logits on a coarse grid and the terms of a loss. Out: one number, whose gradient was computed
along with it: less memory, and most of the time less time, than one pass over the batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.run.chunking import chunks
from bench.run.losses.kinds import Labels, OfSums, PerImage, PerPixel, Whole
from bench.run.losses.terms import Reduction, Term, takes_weights
from fcn.alignment import without_autocast

AddUp = Callable[[Tensor], Tensor]
"""Adds up a number over the processes that share the batch."""


@dataclass(frozen=True)
class Scores:
    """Logits on a coarse grid, and what takes them to pixels."""

    coarse: Tensor
    """(N, C, h, w), any floating type."""
    upsampling: nn.Module
    """(logits, (H, W)) -> logits (n, C, H, W)."""
    labels: Labels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.labels.classes.shape[-2:]
        return height, width

    def logits(self, images: slice) -> Tensor:
        """Return full-size logits of some images, for a look at their values."""
        return full_precision(self.upsampling(self.coarse[images], self.size))

    def slices(self, terms: Sequence[Term]) -> Iterator[slice]:
        """Yield which images are looked at together: all, where a loss needs them so."""
        if any(term.is_whole for term in terms):
            return iter([slice(0, len(self.coarse))])
        return chunks(self.coarse, self.size)


def sliced_loss(
    scores: Scores, terms: Sequence[Term], reduction: Reduction, add_up: AddUp
) -> Tensor:
    """Return the weighted sum of the terms, (), float32; each process its part of it."""
    ready = [_prepare(term, scores, reduction, add_up) for term in terms]
    parameters = [p for p in scores.upsampling.parameters() if p.requires_grad]
    loss: Tensor = _SlicedLoss.apply(
        scores.coarse, scores, list(scores.slices(terms)), ready, *parameters
    )
    return loss


class _Ready:
    """A term for a batch, of which all is known that must be before its slices are looked at."""

    constant: Tensor | None = None
    """What is known of the loss already."""

    def of(self, images: slice, logits: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return what a slice adds to the loss, (), and the gradient of its logits."""
        raise NotImplementedError


class _Fused(_Ready):
    def __init__(self, kind: PerPixel, classes: Tensor, weights: Tensor) -> None:
        assert kind.fused is not None
        self._fused, self._classes, self._weights = kind.fused, classes, weights

    def of(self, images: slice, logits: Tensor) -> tuple[Tensor, Tensor]:
        return self._fused(logits, self._classes[images], self._weights[images])


class _ByAutograd(_Ready):
    """The gradient by torch, of (images, logits) -> what the slice adds."""

    def __init__(self, function: Callable[[slice, Tensor], Tensor]) -> None:
        self._function = function

    def of(self, images: slice, logits: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad(), without_autocast(logits.device.type):
            leaf = logits.detach().requires_grad_()
            value = self._function(images, leaf)
            (gradient,) = torch.autograd.grad(value, leaf)
        return value.detach(), gradient


class _BySums(_Ready):
    """The loss of the sums of the batch is known; a slice has its part in their gradient alone."""

    def __init__(self, function: Callable[[slice, Tensor], Tensor], constant: Tensor) -> None:
        self._slice, self.constant = _ByAutograd(function), constant

    def of(self, images: slice, logits: Tensor) -> tuple[None, Tensor]:
        return None, self._slice.of(images, logits)[1]


def _prepare(term: Term, scores: Scores, reduction: Reduction, add_up: AddUp) -> _Ready:
    kind, labels = term.kind, scores.labels
    if isinstance(kind, PerPixel):
        return _prepare_pixels(term, kind, labels, reduction, add_up)
    if isinstance(kind, PerImage):
        has_label = labels.labelled.flatten(1).any(1)
        factor = term.weight / add_up(has_label.sum().float()).clamp(min=1)

        def of_images(images: slice, logits: Tensor) -> Tensor:
            found = kind.function(logits, labels.part(images), **term.arguments)
            return (found * has_label[images]).sum() * factor

        return _ByAutograd(of_images)
    if isinstance(kind, OfSums):
        return _prepare_sums(term, kind, scores, add_up)
    assert isinstance(kind, Whole)

    def of_all(images: slice, logits: Tensor) -> Tensor:
        if not labels.labelled.any():
            return (logits * 0).sum()
        return kind.function(logits, labels.part(images), **term.arguments) * term.weight

    return _ByAutograd(of_all)


def _prepare_pixels(
    term: Term, kind: PerPixel, labels: Labels, reduction: Reduction, add_up: AddUp
) -> _Ready:
    # Summed here: torch's own mean adds with atomics on CUDA, and is NaN where all is void.
    weights = labels.pixel_weights()
    total = add_up(weights.sum())
    is_fused = kind.fused is not None and not term.arguments
    if takes_weights(kind) and not is_fused:
        weights = labels.labelled.float()
    if reduction == "mean":
        weights /= total.clamp(min=torch.finfo(weights.dtype).tiny)
    if term.weight != 1:
        weights *= term.weight
    if is_fused:
        return _Fused(kind, labels.classes, weights)
    extra = (labels.class_weights,) if takes_weights(kind) else ()

    def of_pixels(images: slice, logits: Tensor) -> Tensor:
        found = kind.function(logits, labels.classes[images], *extra, **term.arguments)
        return (found * weights[images]).sum()

    return _ByAutograd(of_pixels)


def _prepare_sums(term: Term, kind: OfSums, scores: Scores, add_up: AddUp) -> _Ready:
    labels = scores.labels
    sums: Tensor | None = None
    with torch.no_grad():
        for images in chunks(scores.coarse, scores.size):
            logits = scores.logits(images)
            with without_autocast(logits.device.type):
                found = kind.sums(logits, labels.part(images))
            sums = found if sums is None else sums + found
            del logits  # before the next slice's are made
        assert sums is not None
        sums = add_up(sums)
        own = labels.labelled.sum().float()
        share = own / add_up(own.clone()).clamp(min=1)  # the parts of all processes are the loss
    with torch.enable_grad(), without_autocast(sums.device.type):
        leaf = sums.requires_grad_()
        loss = kind.function(leaf, labels.class_weights, **term.arguments) * term.weight
        (slope,) = torch.autograd.grad(loss, leaf)

    def of_sums(images: slice, logits: Tensor) -> Tensor:
        return (kind.sums(logits, labels.part(images)) * slope).sum()

    return _BySums(of_sums, loss.detach() * share)


def full_precision(logits: Tensor) -> Tensor:
    """Return logits in float32, or in float64 where they are."""
    return logits if logits.dtype == torch.float64 else logits.float()


class _SlicedLoss(torch.autograd.Function):
    """Sum of terms over slices, whose gradient is computed along with it."""

    @staticmethod
    def forward(
        ctx: Any,
        coarse: Tensor,
        scores: Scores,
        slices: Sequence[slice],
        terms: Sequence[_Ready],
        *parameters: Tensor,
    ) -> Tensor:
        total = coarse.new_zeros((), dtype=torch.float32)
        for term in terms:
            if term.constant is not None:
                total += term.constant
        # The scale of an fp16 loss comes later: until then its gradients are too small for fp16.
        is_half = coarse.dtype == torch.float16
        kept = coarse.float() if is_half else coarse
        ctx.dtype = coarse.dtype
        gradients = [torch.zeros_like(x) for x in (kept, *parameters)]
        for images in slices:
            context = without_autocast(coarse.device.type) if is_half else nullcontext()
            with torch.enable_grad(), context:
                leaf = kept[images].detach().requires_grad_()
                logits = scores.upsampling(leaf, scores.size)
            grad_logits = _add_terms(terms, images, full_precision(logits.detach()), total)
            with without_autocast(coarse.device.type):  # else it would be in bf16 here
                found = torch.autograd.grad(
                    logits, (leaf, *parameters), grad_logits.to(logits.dtype)
                )
            gradients[0][images] = found[0]
            for gradient, more in zip(gradients[1:], found[1:], strict=True):
                gradient += more
            del logits, grad_logits, found  # before the next slice's are made
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        coarse, *parameters = (grad_output * gradient for gradient in ctx.saved_tensors)
        return coarse.to(ctx.dtype), None, None, None, *parameters


def _add_terms(terms: Sequence[_Ready], images: slice, logits: Tensor, total: Tensor) -> Tensor:
    """Add what a slice gives to the loss, in place; return the gradient of its logits."""
    gradient: Tensor | None = None
    for term in terms:
        value, own = term.of(images, logits)
        if value is not None:
            total += value
        gradient = own if gradient is None else gradient.add_(own)
    assert gradient is not None
    return gradient
