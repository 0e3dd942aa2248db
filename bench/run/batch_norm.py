"""Batch norm whose statistics are those of chosen images, in whichever process those are.

In: a forward pass made inside a `GroupedBatchNorm`. Out: the same pass, in which each group of a
batch's images is normalised by its own mean and variance: the whole batch is one group, or its
equal parts are. Torch's SyncBatchNorm knows the first case only, and only on GPUs.
Layers stay as they are: the call that they all end in, `F.batch_norm`, is answered here, so that
networks of every library are covered and names of weights do not change. Windows or tokens that a
network has in the place of an image are that image, whose rows are neighbours.

Reference: Ioffe and Szegedy, 2015, algorithm 1, arXiv:1502.03167.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from bench.data.batches import shard_of
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
        process: Number of this process, and of all P that share the batch: each has its `shard_of`.
        add_up: Adds up a tensor over the processes; each gets the sum.
    """

    def __init__(
        self,
        batch_size: int,
        num_groups: int,
        process: tuple[int, int] = (0, 1),
        add_up: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        super().__init__()
        self._shape = (num_groups, batch_size // num_groups)
        self._rank, self._processes = process
        shares = [shard_of(batch_size, rank, self._processes) for rank in range(self._processes)]
        self._share, self._add_up = shares[self._rank], add_up
        self._groups = torch.tensor([place // self._shape[1] for place in self._share])
        held = [[place // self._shape[1] for place in share] for share in shares]
        self.parts = {g: held[self._rank].count(g) for g in dict.fromkeys(held[self._rank])}
        """Of each group that this process has images of, in order: how many."""
        self.holders = [
            [rank for rank, own in enumerate(held) if g in own] for g in range(num_groups)
        ]
        """Of each group, the processes that have images of it."""
        self.saw_parts = False
        """Whether a layer had windows or tokens of images, not images."""

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
        n = len(self._share)
        if len(x) % n:
            raise RuntimeError(f"batch norm of {len(x)} rows, which are no parts of {n} images")
        if len(x) > n:
            self.saw_parts = True
            by_image = x.view(n, -1, *x.shape[1:]).transpose(1, 2)  # parts become positions
            settings = (running_mean, running_var, weight, bias, training, momentum, eps)
            return self._batch_norm(by_image, *settings).transpose(1, 2).flatten(0, 1)
        count = self._shape[1] * (x[0, 0].numel())
        if count == 1:
            raise ValueError("batch norm needs more than one value per channel in training")
        if has_kernels(x):
            own = _Layer((running_mean, running_var), weight, bias, momentum, eps)
            if all(len(holders) == 1 for holders in self.holders):
                return self._norm_each(x, own)
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
        """Normalise groups that lie in one process each, one by one, by torch's own kernels."""
        parts = self.split(x)
        means, variances = moved = layer.copy_running(len(parts))
        normed = [
            F.batch_norm(
                part,
                None if means is None else means[k],
                None if variances is None else variances[k],
                layer.weight,
                layer.bias,
                training=True,
                momentum=layer.momentum,
                eps=layer.eps,
            )
            for k, part in enumerate(parts)
        ]
        layer.move_running(
            None if now is None else self._add_up(now.sum(0)) / self._shape[0] for now in moved
        )
        return torch.cat(normed)

    def split(self, x: Tensor) -> Sequence[Tensor]:
        """Return the images of this process, (n, ...), by the groups that they are of: `parts`."""
        return torch.split(x, list(self.parts.values()))

    def from_processes(self, found: dict[int, Tensor]) -> Tensor:
        """Return what each process has found of each group, (P, G, n); 0 where it has no part."""
        (n,) = (values := next(iter(found.values()))).shape
        rows = values.new_zeros(self._processes, self._shape[0], n)
        for group, values in found.items():
            rows[self._rank, group] = values
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

    running: tuple[Tensor | None, Tensor | None]
    """Mean and variance, (C,) each."""
    weight: Tensor | None
    bias: Tensor | None
    momentum: float
    eps: float

    def copy_running(self, number: int) -> tuple[Tensor | None, Tensor | None]:
        """Return running statistics for that many groups, (number, C), each to be moved by its own.

        The mean of what they are moved to is where the mean of the groups' statistics moves these.
        """
        mean, var = (None if one is None else one.repeat(number, 1) for one in self.running)
        return mean, var

    def move_running(self, moved: Iterable[Tensor | None]) -> None:
        """Have running statistics be these, (C,)."""
        with torch.no_grad():
            for running, now in zip(self.running, moved, strict=True):
                if running is not None and now is not None:
                    running.copy_(now)


class _NormaliseShared(torch.autograd.Function):
    """Batch norm of groups that lie in several processes, by SyncBatchNorm's kernels.

    Torch's own function around them knows one group, and looks for processes without images: it
    waits for the device at each layer to do so; here each has some.
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
        found = over.from_processes(
            {
                group: torch.cat([*torch.batch_norm_stats(part, layer.eps), _count(part)])
                for group, part in zip(over.parts, over.split(x), strict=True)
            }
        )
        moved = means, variances = layer.copy_running(len(over.holders))
        stats, counts = [], []
        for group, holders in enumerate(over.holders):
            # Neighbours: a list of their numbers would be copied, for which a GPU is waited for.
            own = found[holders[0] : holders[-1] + 1, group]
            mean, invstd, count = own.tensor_split((C, 2 * C), dim=1)
            counts.append(count.flatten())
            taken = torch.batch_norm_gather_stats_with_counts(
                x,
                mean.contiguous(),
                invstd.contiguous(),
                None if means is None else means[group],
                None if variances is None else variances[group],
                layer.momentum,
                layer.eps,
                counts[-1],
            )
            stats.append(taken)
        layer.move_running(None if now is None else now.mean(0) for now in moved)
        normed = [
            torch.batch_norm_elemt(part, weight, bias, *stats[group], layer.eps)
            for group, part in zip(over.parts, over.split(x), strict=True)
        ]
        here = [tensor for group in over.parts for tensor in (*stats[group], counts[group].int())]
        ctx.save_for_backward(x, weight, *here)
        ctx.over, ctx.has_bias = over, bias is not None
        return torch.cat(normed)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *kept = ctx.saved_tensors
        over: GroupedBatchNorm = ctx.over
        stats = [kept[k : k + 3] for k in range(0, len(kept), 3)]
        parts = [*zip(over.split(_dense(grad_output)), over.split(x), stats, strict=True)]
        wanted = (True, weight is not None, ctx.has_bias)
        sums = [
            torch.batch_norm_backward_reduce(slope, part, mean, invstd, weight, *wanted)
            for slope, part, (mean, invstd, _) in parts
        ]
        found = {group: torch.cat(own[:2]) for group, own in zip(over.parts, sums, strict=True)}
        totals = over.from_processes(found).sum(0)
        grads = []
        for group, (slope, part, (mean, invstd, counts)) in zip(over.parts, parts, strict=True):
            plain, along = totals[group].chunk(2)
            grad = torch.batch_norm_backward_elemt(
                slope, part, mean, invstd, weight, plain.contiguous(), along.contiguous(), counts
            )
            grads.append(grad)
        grad_weight, grad_bias = (
            torch.stack([own[k] for own in sums]).sum(0) if is_wanted else None
            for k, is_wanted in zip((2, 3), wanted[1:], strict=True)
        )
        return torch.cat(grads), grad_weight, grad_bias, None, None


def _count(part: Tensor) -> Tensor:
    """Return the values of a channel, (1,), as the kernels take their number."""
    return torch.full((1,), float(part.numel() // part.shape[1]), device=part.device)


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
