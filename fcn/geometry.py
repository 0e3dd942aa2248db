"""Where a cell of a feature map sits in the input, read off a run of the network.

In: any network and an input size. Out: per tensor and axis the jump (input pixels from one cell
to the next), the centre of cell 0 in input pixels, and the receptive field in input pixels.
The run is on the meta device: shapes alone, no arithmetic, no copy of the weights.
Only windows and paddings move cells; every other operation hands on what it was given, so a
network that reshapes pixels into channels (Swin) shows a jump smaller than its stride.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


@dataclass(frozen=True)
class AxisGeometry:
    """The cells of one axis, in input pixels."""

    jump: float = 1.0
    """From one cell to the next."""
    centre: float = 0.0
    """Of cell 0; pixel 0 is at 0.0."""
    receptive_field: float = 1.0
    """Pixels that can change a cell, by the rule of window sizes; gates over the whole image
    (squeeze and excitation) are not counted."""

    def through_window(
        self, size: int, stride: int = 1, padding: int = 0, dilation: int = 1
    ) -> "AxisGeometry":
        """Return the geometry after a convolution or pool."""
        reach = (size - 1) * dilation
        return AxisGeometry(
            self.jump * stride,
            self.centre + (reach / 2 - padding) * self.jump,
            self.receptive_field + reach * self.jump,
        )


Geometry = tuple[AxisGeometry, AxisGeometry]  # y, x
_IMAGE: Geometry = (AxisGeometry(), AxisGeometry())
# Stride (none: that of the window), padding and dilation, which are left out when they are these.
_POOL_DEFAULTS = [[], [0], [1]]
_MAX_POOLS = (aten.max_pool2d_with_indices, aten.max_pool2d)


def run_on_meta(net: nn.Module, images: Tensor) -> Any:
    """Return what `net` gives for images on the meta device, as tensors without values."""
    # Each module once, though it may have several names (CoaT): `functional_call` would put the
    # copies into it for each name, and on the way back leave one there.
    on_meta: dict[str, Tensor] = {}
    copies: dict[int, Tensor] = {}
    for prefix, module in net.named_modules():
        own = [*module.named_parameters(prefix, recurse=False)]
        own += module.named_buffers(prefix, recurse=False)
        for name, tensor in own:
            on_meta[name] = copies.setdefault(id(tensor), tensor.detach().to("meta"))
    was_training = [module for module in net.modules() if module.training]
    net.eval()  # batch normalisation refuses a single cell while training
    try:
        with torch.no_grad():
            return torch.func.functional_call(net, on_meta, (images,), tie_weights=False)
    finally:
        for module in was_training:
            module.training = True


def trace_geometry(
    net: nn.Module, shape: tuple[int, int, int, int]
) -> list[tuple[Tensor, Geometry]]:
    """Return each output of `net`, as a tensor without values, with its geometry.

    Args:
        net: A network of one input; its outputs may be nested in lists and dicts.
        shape: Of the images, (N, channels, H, W). Where padding depends on the size (TensorFlow's
            "same"), the centres hold for sizes that leave the same remainder.
    """
    images = torch.empty(shape, device="meta")
    with _GeometryMode(images) as mode:
        outputs = run_on_meta(net, images)
    return [(tensor, mode.of([tensor])) for tensor in tree_leaves(outputs)]


def find_shift(module: nn.Module, channels: int) -> tuple[float, float]:
    """Return (jump, centre of cell 0) of what `module` makes of features, in cells of those.

    Args:
        module: Maps features (N, channels, h, w) to one map.
        channels: Of the features.
    """
    # 64 cells: more than any window, and nothing is computed.
    ((_, (y, _)),) = trace_geometry(module, (1, channels, 64, 64))
    return y.jump, y.centre


class _GeometryMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries a geometry from the inputs of every operation to its outputs."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Tensors are kept so that no id is used twice; on the meta device they hold no memory.
        self._known: dict[int, tuple[Tensor, Geometry]] = {id(images): (images, _IMAGE)}

    def of(self, tensors: Iterable[Tensor]) -> Geometry:
        """Return the geometry of the largest receptive field, axis by axis."""
        known = [self._known[id(tensor)][1] for tensor in tensors if id(tensor) in self._known]
        y, x = (max(axes, key=_reach) for axes in zip(*(known or [_IMAGE]), strict=True))
        return y, x

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = _run(func, args, kwargs or {})
        inputs = [tensor for tensor in _tensors((args, kwargs)) if id(tensor) in self._known]
        if not inputs:  # weights and constants have no place in the image
            return result
        geometry = self.of(inputs)
        packet = func.overloadpacket
        if packet is aten.convolution and not args[6]:  # a transposed one is left as it is
            sizes = args[1].shape[2:]
            geometry = _after_window(geometry, sizes, args[3], args[4], args[5])
        elif packet in _MAX_POOLS:
            strides, paddings, dilations = list(args[2:5]) + _POOL_DEFAULTS[len(args[2:5]) :]
            geometry = _after_window(geometry, args[1], strides or args[1], paddings, dilations)
        elif packet is aten.avg_pool2d:
            strides, paddings = list(args[2:4]) + _POOL_DEFAULTS[len(args[2:4]) : 2]
            geometry = _after_window(geometry, args[1], strides or args[1], paddings, [1])
        elif packet is aten.constant_pad_nd:
            geometry = _after_padding(geometry, args[1])
        self._known.update({id(tensor): (tensor, geometry) for tensor in _tensors(result)})
        return result


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func is aten.native_batch_norm.default:
        # Torch has no more than a Python version of it for the meta device, which would take most
        # of the time of a run.
        features = args[0]
        return torch.empty_like(features), features.new_empty(0), features.new_empty(0)
    return func(*args, **kwargs)


def _after_window(
    geometry: Geometry,
    sizes: Sequence[int],
    strides: Sequence[int],
    paddings: Sequence[int],
    dilations: Sequence[int],
) -> Geometry:
    """Return the geometry after a window; a list of one number means the same for both axes."""
    if len(sizes) > 2 or len(strides) > 2:
        return geometry
    pairs = [tuple(values) * (2 // len(values)) for values in (sizes, strides, paddings, dilations)]
    y, x = (axis.through_window(*numbers) for axis, *numbers in zip(geometry, *pairs, strict=True))
    return y, x


def _after_padding(geometry: Geometry, amounts: Sequence[int]) -> Geometry:
    """Return the geometry after padding by (left, right, top, bottom, ...)."""
    left, top = amounts[0], amounts[2] if len(amounts) > 2 else 0
    y, x = (
        replace(axis, centre=axis.centre - before * axis.jump)
        for axis, before in zip(geometry, (top, left), strict=True)
    )
    return y, x


def _reach(axis: AxisGeometry) -> tuple[float, float]:
    # The jump decides among equals: a strided 1x1 window sees one pixel, as the image itself does.
    return axis.receptive_field, axis.jump


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
