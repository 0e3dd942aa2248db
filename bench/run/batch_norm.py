"""Batch norm whose statistics are those of chosen images, in whichever process those are.

In: a forward pass made inside a `GroupedBatchNorm`. Out: the same pass, in which each group of a
batch's images is normalised by its own mean and variance: the whole batch is one group, or its
equal parts are. Torch's SyncBatchNorm knows the first case only, and only on GPUs.
Layers stay as they are: the call that they all end in, `F.batch_norm`, is answered here, so that
networks of every library are covered and names of weights do not change.

Reference: Ioffe and Szegedy, 2015, algorithm 1, arXiv:1502.03167.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
        process: Number of this process and of all that share the batch, each with its `shard_of`.
    """

    def __init__(
        self,
        batch_size: int,
        num_groups: int,
        share: range,
        add_up: Callable[[Tensor], Tensor] = lambda tensor: tensor,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self._shape = (num_groups, batch_size // num_groups)
        self._share = share
        self._add_up = add_up
        self._groups = torch.tensor([place // self._shape[1] for place in share])
        self._rank, self._processes = process
        edges = (rank * batch_size // self._processes for rank in range(self._processes))
        self._is_whole = not any(edge % self._shape[1] for edge in edges)
        """Whether each group lies in one process."""

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
        if has_kernels(x):
            own = _Layer(running_mean, running_var, weight, bias, momentum, eps)
            if self._is_whole:
                return self._norm_each(x, own)
            if self._shape[0] == 1:
                normed: Tensor = _NormaliseShared.apply(x, weight, bias, own, self)
                return normed
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

    def _norm_each(self, x: Tensor, layer: "_Layer") -> Tensor:
        """Normalise groups that lie in one process each, one by one, by torch's own kernels.

        Each moves running statistics of its own; the mean of these is what the mean of the groups'
        statistics would have moved them to.
        """
        parts = x.split(self._shape[1])  # type: ignore[no-untyped-call]
        kept = (layer.running_mean, layer.running_var)
        moved = [None if r is None else r.repeat(len(parts), 1) for r in kept]
        means, variances = moved
        normed = [
            F.batch_norm(
                part,
                None if means is None else means[g],
                None if variances is None else variances[g],
                layer.weight,
                layer.bias,
                training=True,
                momentum=layer.momentum,
                eps=layer.eps,
            )
            for g, part in enumerate(parts)
        ]
        with torch.no_grad():
            for running, now in zip(kept, moved, strict=True):
                if running is not None and now is not None:
                    running.copy_(self._add_up(now.sum(0)) / self._shape[0])
        return torch.cat(normed)

    def from_processes(self, values: Tensor) -> Tensor:
        """Return what each of P processes has, in their order: (n,) here to (P, n)."""
        rows = values.new_zeros(self._processes, len(values))
        rows[self._rank] = values
        return self._add_up(rows)


def has_kernels(x: Tensor) -> bool:
    """Say whether torch has SyncBatchNorm's kernels for a tensor.

    They move a fifteenth of the bytes that the plain way of `_Normalise` does, in two kernels of
    forty-eight.
    """
    return x.is_cuda


@dataclass(frozen=True)
class _Layer:
    """What `F.batch_norm` is given beside the images."""

    running_mean: Tensor | None
    running_var: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    momentum: float
    eps: float


class _NormaliseShared(torch.autograd.Function):
    """Batch norm of one group that lies in several processes, by SyncBatchNorm's kernels.

    Torch's own function around them looks for processes without images, and waits for the device
    at each layer to do so; here each has some.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        layer: _Layer,
        over: GroupedBatchNorm,
    ) -> Tensor:
        C = x.shape[1]
        x = _dense(x)
        mean, invstd = torch.batch_norm_stats(x, layer.eps)
        count = mean.new_full((1,), x.numel() // C)
        found = over.from_processes(torch.cat([mean, invstd, count]))
        counts = found[:, 2 * C].contiguous()
        mean, invstd = torch.batch_norm_gather_stats_with_counts(
            x,
            found[:, :C].contiguous(),
            found[:, C : 2 * C].contiguous(),
            layer.running_mean,
            layer.running_var,
            layer.momentum,
            layer.eps,
            counts,
        )
        ctx.save_for_backward(x, weight, mean, invstd, counts.int())
        ctx.over, ctx.has_bias = over, bias is not None
        normed: Tensor = torch.batch_norm_elemt(x, weight, bias, mean, invstd, layer.eps)
        return normed

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, invstd, counts = ctx.saved_tensors
        grad_output = _dense(grad_output)
        wanted = (True, weight is not None, ctx.has_bias)
        plain, along, grad_weight, grad_bias = torch.batch_norm_backward_reduce(
            grad_output, x, mean, invstd, weight, *wanted
        )
        plain, along = ctx.over.from_processes(torch.cat([plain, along])).sum(0).chunk(2)
        grad = torch.batch_norm_backward_elemt(
            grad_output, x, mean, invstd, weight, plain.contiguous(), along.contiguous(), counts
        )
        return grad, grad_weight, grad_bias if ctx.has_bias else None, None, None


def _dense(x: Tensor) -> Tensor:
    """Return a tensor in a layout that the kernels know, channels last or first."""
    known = (torch.channels_last, torch.channels_last_3d)
    is_known = any(
        x.ndim == n and x.is_contiguous(memory_format=f) for n, f in zip((4, 5), known, strict=True)
    )
    return x if is_known else x.contiguous()


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
