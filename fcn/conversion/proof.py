"""Proof: converted weights give the features that the source's arithmetic gives, on an image.

In: a converted file, and the layers of its source as they are stored. Out: how far features are
apart at each stride. The reference computes in float64 with the file's own arrays in their own
layout, window by window, on the image as the source preprocesses it; layers are taken in the order
in which the network uses them. What lies beyond the border is left out by not padding the first
convolution: there alone the two differ, see `fcn.conversion.folding`.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

from fcn.backbones.taps import create_backbone
from fcn.conversion.convert import Converted
from fcn.conversion.folding import Preprocessing
from fcn.errors import InputError

SIZE = (96, 128)
"""Height and width of the image, in pixels."""

TOLERANCE = 1e-4
"""Most that features may differ, as a fraction of the largest; float32 through deep networks."""


def prove(
    backbone: str,
    converted: Converted,
    path: Path,
    layout: str,
    source: Preprocessing | None,
    image: Tensor | None = None,
) -> dict[int, float]:
    """Compare the features of a converted file with those of its source's arithmetic.

    Args:
        backbone: A timm name.
        converted: What `fcn.conversion.convert` made; its source's layers as they are stored.
        path: The file of it.
        layout: How the source's tensors are stored.
        source: What the source does to images; None for what timm does.
        image: (3, H, W) of 0..1, red, green, blue; None for one drawn from a seed.

    Returns:
        By stride the largest difference, as a fraction of the largest feature.

    Raises:
        InputError: They differ by more than `TOLERANCE`, the file does not load, or the network has
            layers whose arithmetic is not known here.
    """
    image = draw_image() if image is None else image
    mean, std = converted.mean, converted.std
    source = source or Preprocessing(range=1.0, mean=mean, std=std)
    ours = create_backbone(backbone, pretrained=str(path)).eval()
    used = _find_used(ours)
    _replace(ours, used[0][0], _Unpadded(used[0][1]))
    theirs = copy.deepcopy(ours).double()
    for (name, module), layer in zip(used, converted.layers, strict=False):
        arrays = [tensor.double() for tensor in layer.tensors.values()]
        _replace(theirs, name, _as_stored(module, arrays, layout, is_first=name == used[0][0]))
    usual = Preprocessing(range=1.0, mean=ours.mean, std=ours.std)
    with torch.no_grad():
        found = ours(usual.apply(image)[None])
        expected = theirs(source.apply(image.double())[None])
    apart = {
        stride: float((found[stride] - wanted).abs().max() / wanted.abs().max())
        for stride, wanted in expected.items()
    }
    if not max(apart.values()) <= TOLERANCE:
        listed = ", ".join(f"{far:.1e} at stride {stride}" for stride, far in apart.items())
        raise InputError(
            f"the converted weights do not give the features of their source on an image: they "
            f"are apart by {listed} of the largest, where {TOLERANCE:g} is allowed; the order of "
            f"layers in the file is not that of backbone {backbone!r}"
        )
    return apart


def draw_image() -> Tensor:
    """Return an image (3, H, W) of 0..1 from a seed: grain over slow waves of each colour."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 6, 8, generator=generator)
    waves = nn.functional.interpolate(coarse, SIZE, mode="bilinear")[0]
    return 0.8 * waves + 0.2 * torch.rand(3, *SIZE, generator=generator)


def _find_used(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers with weights of their own, in the order in which the network uses them."""
    names = {module: name for name, module in net.named_modules()}
    used: list[tuple[str, nn.Module]] = []
    hooks = [
        module.register_forward_hook(lambda one, *_: used.append((names[one], one)))
        for module in names
        if list(module.parameters(recurse=False))
    ]
    with torch.no_grad():
        net(torch.zeros(1, 3, *SIZE))
    for hook in hooks:
        hook.remove()
    return used


def _replace(net: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    net.get_submodule(parent)._modules[child] = layer


class _Unpadded(nn.Module):
    """A convolution without its padding."""

    def __init__(self, convolution: Any) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        conv = self.convolution
        return nn.functional.conv2d(x, conv.weight, conv.bias, conv.stride)


def _as_stored(
    module: nn.Module, arrays: Sequence[Tensor], layout: str, *, is_first: bool
) -> nn.Module:
    if isinstance(module, nn.Conv2d) and arrays[0].ndim == 4 and set(module.dilation) == {1}:
        return _StoredConvolution(module, arrays, layout, is_padded=not is_first)
    if isinstance(module, nn.BatchNorm2d) and len(arrays) == 4:
        return _StoredNorm(module, arrays)
    raise InputError(
        f"the arithmetic of {type(module).__name__} is not known here, so the conversion could not "
        "be proven; networks of convolutions and batch norms can be converted"
    )


class _StoredConvolution(nn.Module):
    """A convolution by its definition, with a kernel as it is stored."""

    def __init__(
        self, module: nn.Conv2d, arrays: Sequence[Tensor], layout: str, *, is_padded: bool
    ) -> None:
        super().__init__()
        self.kernel, *self.bias = arrays
        self.stride, self.groups, self.layout = module.stride, module.groups, layout
        self.padding: Any = module.padding if is_padded else (0, 0)
        self.is_same = isinstance(module, Conv2dSame) and is_padded

    def forward(self, x: Tensor) -> Tensor:
        kernel, groups = self.kernel, self.groups
        height, width = kernel.shape[:2] if self.layout == "keras" else kernel.shape[2:]
        if self.is_same:
            x = pad_same(x, [height, width], list(self.stride))
        else:
            down, right = self.padding
            x = nn.functional.pad(x, (right, right, down, down))
        # N, C, y, x, and h, w within the window; channels in groups.
        windows = x.unfold(2, height, self.stride[0]).unfold(3, width, self.stride[1])
        windows = windows.reshape(len(x), groups, -1, *windows.shape[2:])
        if self.layout != "keras":  # out, in, h, w
            out = torch.einsum(
                "ngcyxhw,gochw->ngoyx", windows, kernel.reshape(groups, -1, *kernel.shape[1:])
            )
        elif groups > 1 and kernel.shape[2] == groups:  # h, w, channel, filters a channel
            out = torch.einsum("ngcyxhw,hwgo->ngoyx", windows, kernel)
        else:  # h, w, in, out
            out = torch.einsum(
                "ngcyxhw,hwcgo->ngoyx", windows, kernel.reshape(*kernel.shape[:3], groups, -1)
            )
        out = out.flatten(1, 2)
        return out + self.bias[0].reshape(-1, 1, 1) if self.bias else out


class _StoredNorm(nn.Module):
    """Batch norm in evaluation by its definition, and the activation that timm puts into it."""

    def __init__(self, module: Any, arrays: Sequence[Tensor]) -> None:
        super().__init__()
        self.arrays, self.eps = [one.reshape(-1, 1, 1) for one in arrays], module.eps
        self.act = copy.deepcopy(getattr(module, "act", nn.Identity()))

    def forward(self, x: Tensor) -> Tensor:
        gamma, beta, mean, variance = self.arrays
        result: Tensor = self.act(gamma * (x - mean) / (variance + self.eps).sqrt() + beta)
        return result
