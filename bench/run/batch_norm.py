"""Batch norm whose statistics are those of chosen images, in whichever process those are.

In: a forward pass made inside a `GroupedBatchNorm`. Out: the same pass, in which each group of a
batch's images is normalised by its own mean and variance: the whole batch is one group, or its
equal parts are. Torch's SyncBatchNorm knows the first case only, and only on GPUs.
Layers stay as they are: the call that they all end in, `F.batch_norm`, is answered here, so that
networks of every library are covered and names of weights do not change.

Reference: Ioffe and Szegedy, 2015, algorithm 1, arXiv:1502.03167.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from fcn.errors import InputError


def require_known_statistics(model: nn.Module) -> None:
    """Refuse layers that keep statistics of the batch and take them in another way.

    EvoNorm-B is such a layer. What each process knows of its share alone would be taken for the
    whole batch, and the run would be another one under the same id. A layer that keeps nothing
    cannot be found by this.

    Raises:
        InputError: There are such layers; their kinds are named.
    """
    kinds = sorted({type(layer).__name__ for layer in model.modules() if _takes_its_own(layer)})
    if kinds:
        raise InputError(
            f"{', '.join(kinds)} takes statistics of the batch in a way of its own, which cannot "
            "be shared over devices nor kept to parts of the batch: leave --devices-per-run and "
            "train.batch_norm_groups out, or choose a network with batch norm, or with layers that "
            "look at each image alone"
        )


def _takes_its_own(layer: nn.Module) -> bool:
    """Whether a layer keeps running statistics, and not by `F.batch_norm`."""
    kept = {name for name, _ in layer.named_buffers(recurse=False)}
    if not any(name.startswith("running_") for name in kept) or "weight" in kept:
        return False  # with its weight among the buffers, it is frozen
    return not isinstance(layer, _BatchNorm) or isinstance(layer, nn.SyncBatchNorm)


class GroupedBatchNorm(TorchFunctionMode):
    """Answers calls of `F.batch_norm` in training while it is entered.

    Args:
        batch_size: Images of the whole batch, B.
        num_groups: Equal parts G of the batch, in its order, normalised apart.
        share: Places in the batch of the images in this process.
        add_up: Adds up a tensor over the processes; each gets the sum.
    """

    def __init__(
        self,
        batch_size: int,
        num_groups: int,
        share: range,
        add_up: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        super().__init__()
        self._shape = (num_groups, batch_size // num_groups)
        self._share = share
        self._add_up = add_up
        self._groups = torch.tensor([place // self._shape[1] for place in share])

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        answer = self._batch_norm if func is F.batch_norm else func
        return answer(*args, **(kwargs or {}))

    def by_group(self, values: Tensor) -> Tensor:
        """Return a row for each image of the batch, by groups: (n, ...) here to (G, B / G, ...).

        Every row is filled in by the process that has the image, and all then average the same
        rows in the same order: the result does not depend on who has which image.
        """
        rows = values.new_zeros(self._shape[0] * self._shape[1], *values.shape[1:])
        rows[self._share.start : self._share.stop] = values
        return self._add_up(rows).view(*self._shape, *values.shape[1:])

    def to_images(self, values: Tensor) -> Tensor:
        """Return to each image of this process the value of its group, (G, C) to (n, C, 1)."""
        if self._groups.device != values.device:  # once: a copy to a GPU waits for it
            self._groups = self._groups.to(values.device)
        return values[self._groups][..., None]

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        if len(x) != len(self._share):
            raise RuntimeError(f"batch norm of {len(x)} images, where {len(self._share)} are")
        count = self._shape[1] * (x[0, 0].numel())
        if count == 1:
            raise ValueError("batch norm needs more than one value per channel in training")
        normalised, mean, var = _Normalise.apply(x, eps, self)
        with torch.no_grad():
            for running, now in ((running_mean, mean), (running_var, var * (count / (count - 1)))):
                if running is not None:
                    running.lerp_(now.mean(0).to(running.dtype), momentum)
        shape = (1, -1) + (1,) * (x.ndim - 2)
        result: Tensor = normalised
        if weight is not None:
            result = result * weight.view(shape)
        if bias is not None:
            result = result + bias.view(shape)
        return result.to(x.dtype)


class _Normalise(torch.autograd.Function):
    """x -> (x - mean) / sqrt(var + eps) by groups; also their mean and var, (G, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, over: GroupedBatchNorm) -> tuple[Tensor, ...]:
        values = _by_image(x)
        of_images = torch.stack([values.mean(2), values.var(2, correction=0)], 1)
        means, variances = over.by_group(of_images).unbind(2)
        mean = means.mean(1)
        var = variances.mean(1) + means.var(1, correction=0)
        scale = (var + eps).rsqrt()
        normalised = (values - over.to_images(mean)) * over.to_images(scale)
        ctx.save_for_backward(normalised, scale)
        ctx.over = over
        ctx.mark_non_differentiable(mean, var)
        return normalised.view(x.shape), mean, var

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        normalised, scale = ctx.saved_tensors
        values = _by_image(grad_output)
        of_images = torch.stack([values.mean(2), (values * normalised).mean(2)], 1)
        plain, along = ctx.over.by_group(of_images).mean(1).unbind(1)
        to_images = ctx.over.to_images
        rest = values - to_images(plain) - normalised * to_images(along)
        return (rest * to_images(scale)).view(grad_output.shape), None, None


def _by_image(x: Tensor) -> Tensor:
    """Return (n, C, positions) in float32 or better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))[..., None].flatten(2)
