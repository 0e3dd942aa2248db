"""What a network costs by its shapes alone: parameters, layers, multiply-adds, activations, bytes.

In: a network and the shape of its images. Out: `Counts`. The run is on the meta device: exact,
the same on every machine, and free of arithmetic.
"""

import weakref
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from fcn.geometry import run_on_meta

aten = torch.ops.aten

_PRODUCTS = (aten.convolution, aten.mm, aten.addmm, aten.bmm, aten.baddbmm)


@dataclass(frozen=True)
class Counts:
    """What one forward pass takes."""

    num_parameters: int
    num_convs: int
    """Convolutions that were run."""
    num_macs: int
    """Multiply-adds of all convolutions and matrix products; the counter of torch calls each two
    operations."""
    num_activations: int
    """Numbers that convolutions and matrix products gave out."""
    tensor_bytes: int
    """Weights, images, and the most bytes of other tensors alive at one time, without gradients.
    A kernel's own workspace and the allocator's rounding are not in it."""


def count(net: nn.Module, shape: tuple[int, int, int, int]) -> Counts:
    """Count what one forward pass of `net` takes.

    Args:
        net: A network of one input, on any device; it is left as it is.
        shape: Of the images, (N, channels, H, W).
    """
    images = torch.empty(shape, device="meta")
    held = [tensor.untyped_storage() for tensor in (images, *net.parameters(), *net.buffers())]
    sizes = {storage._cdata: storage.nbytes() for storage in held}  # each once, if shared
    with FlopCounterMode(display=False) as flops, _TallyMode(sizes) as tally:
        run_on_meta(net, images)
    return Counts(
        num_parameters=sum(p.numel() for p in net.parameters()),
        num_convs=tally.num_convs,
        num_macs=flops.get_total_flops() // 2,
        num_activations=tally.num_activations,
        tensor_bytes=sum(sizes.values()) + tally.peak_bytes,
    )


def count_depth(net: nn.Module, shape: tuple[int, int, int, int]) -> int:
    """Return the number of convolutions on the longest path from the images to the output.

    This is what the paper calls "conv. layers": GoogLeNet has 58 of them, 22 one after another.
    """
    images = torch.empty(shape, device="meta")
    with _DepthMode() as depths:
        outputs = run_on_meta(net, images)
    depth: int = max(depths.of(tensor) for tensor in _tensors(outputs))
    return depth


class _TallyMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what operations give out, and follows the bytes that are alive.

    Args:
        held: Storages that are there from first to last and are counted elsewhere.
    """

    def __init__(self, held: Container[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._held = held
        self.num_convs = self.num_activations = self.peak_bytes = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in _PRODUCTS:
            self.num_convs += func.overloadpacket is aten.convolution
            self.num_activations += result.numel()
        if not all(tensor.is_meta for tensor in _tensors((args, kwargs))):
            return result  # weights on their way to the meta device
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key = storage._cdata  # several tensors may look into one storage
            if key not in self._alive and key not in self._held:
                self._alive[key] = storage.nbytes()
                weakref.finalize(storage, self._alive.pop, key, None)
        self.peak_bytes = max(self.peak_bytes, sum(self._alive.values()))
        return result


class _DepthMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries the number of convolutions on the longest path from tensor to tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Tensors are kept so that no id is used twice; on the meta device they hold no memory.
        self._known: dict[int, tuple[Tensor, int]] = {}

    def of(self, tensor: Tensor) -> int:
        """Return the depth of a tensor; 0 for images and weights."""
        return self._known.get(id(tensor), (tensor, 0))[1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        depth = max((self.of(tensor) for tensor in _tensors((args, kwargs))), default=0)
        depth += func.overloadpacket is aten.convolution
        self._known.update({id(tensor): (tensor, depth) for tensor in _tensors(result)})
        return result


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
