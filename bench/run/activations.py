"""Activations made anew on the way back in place of being kept: less memory, a second way forward.

Blocks of a network (residual blocks, transformer layers) keep their inputs alone. The second pass
gives the same bits: dropout draws as it did, and batch norms do not move their statistics again.

Reference: Chen et al., 2016, arXiv:1604.06174; the way back is torch's.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from bench.run.batch_norm import require_known_statistics
from bench.spec import TrainSpec
from fcn.errors import InputError

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def checkpoint_blocks(model: nn.Module, train: TrainSpec) -> None:
    """Have the blocks of a network keep their inputs alone, if `train` asks for it.

    Raises:
        InputError: As `require_blocks`.
    """
    if train.checkpoint_activations:
        require_blocks(model, train)
        for block in list(find_blocks(model)):
            block.forward = _Checkpointed(block)


def require_blocks(model: nn.Module, train: TrainSpec, devices: int = 1) -> None:
    """See that activations can be made anew.

    Args:
        model: The network.
        train: Settings.
        devices: Devices that share each batch.

    Raises:
        InputError: The network has no blocks, or statistics of the batch that a second pass cannot
            take again.
    """
    if not train.checkpoint_activations:
        return
    if devices > 1 or train.batch_norm_groups > 1:
        raise InputError(
            "train.checkpoint_activations: a second pass cannot take batch norm's statistics of "
            "parts of a batch or of several devices again; leave it, --devices-per-run or "
            "train.batch_norm_groups out"
        )
    require_known_statistics(model)
    if not list(find_blocks(model)):
        raise InputError(
            "train.checkpoint_activations: this network has no blocks in a row, whose inputs could "
            "be kept alone, as resnet50 or convnext_tiny have; leave it out"
        )


def find_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost modules that stand in a row with others and hold several layers."""
    in_row = isinstance(module, nn.Sequential | nn.ModuleList)
    for child in module.children():
        is_block = in_row and not isinstance(child, _CONTAINERS) and _count_layers(child) > 1
        if is_block:
            yield child
        else:
            yield from find_blocks(child)


def _count_layers(module: nn.Module) -> int:
    return sum(bool(list(one.parameters(recurse=False))) for one in module.modules())


class _Checkpointed:
    """A block's forward, whose activations are made anew on the way back."""

    def __init__(self, block: nn.Module) -> None:
        self._forward = block.forward
        self._norms = [one for one in block.modules() if isinstance(one, _BatchNorm)]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self._forward(*args, **kwargs)
        return checkpoint(
            self._forward, *args, use_reentrant=False, context_fn=self._contexts, **kwargs
        )

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), self._second_pass()

    @contextmanager
    def _second_pass(self) -> Iterator[None]:
        """Have batch norms move copies of their statistics, which the first pass has moved."""
        kept = [dict(norm._buffers) for norm in self._norms]
        for norm in self._norms:
            norm._buffers.update({k: t.clone() for k, t in norm._buffers.items() if t is not None})
        try:
            yield
        finally:
            for norm, buffers in zip(self._norms, kept, strict=True):
                norm._buffers.update(buffers)
