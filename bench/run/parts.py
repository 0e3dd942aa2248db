"""Parts of a network by name, as sets of its parameters: backbone, head, skip:16, bias, a pattern.

In: a network and what a spec calls a part. Out: names of parameters, or an `InputError`.
"""

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from bench.spec import ModelSpec
from fcn.errors import InputError
from fcn.registry import unknown_name

BACKBONE = ("backbone.", "net.backbone.", "net.encoder.")
"""How the names of a backbone's parameters begin: ours, torchvision's, smp's."""

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""torch's, whatever a library calls those that it makes of them."""

_STREAM = re.compile(r"streams\.[^.]+\.")


def find_parts(model: nn.Module, named: str, key: str) -> set[str]:
    """Return the names of the parameters of a part.

    Args:
        model: The network.
        named: backbone, head, upsampling, bias, norm, skip:STRIDE, or a pattern over names of
            parameters, such as `backbone.net.layer1.*`.
        key: Key of the spec, for messages.

    Raises:
        InputError: There is no such part, or no parameter in it.
    """
    names = [name for name, _ in model.named_parameters()]
    if any(letter in named for letter in "*?[."):
        found = {name for name in names if fnmatchcase(name, named)}
        nearest = unknown_name("parameter", named, names)
    elif named in _PARTS:
        norms = _norm_parameters(model)
        found = {name for name in names if _PARTS[named](_STREAM.sub("", name), name in norms)}
        nearest = "this network has no parameter there"
    else:
        own = _STREAM.sub
        strides = {own("", n).split(".")[1] for n in names if own("", n).startswith("skips.")}
        parts = [*_PARTS, *(f"skip:{stride}" for stride in strides)]
        begin = f"skips.{named.removeprefix('skip:')}."
        found = {n for n in names if named.startswith("skip:") and own("", n).startswith(begin)}
        nearest = unknown_name("part", named, parts)
    if not found:
        raise InputError(
            f"{key}: {named!r} matches no parameter: {nearest} A pattern such as backbone.* is "
            "matched with names of parameters"
        )
    return found


def layer_scales(model: nn.Module, spec: ModelSpec, decay: float) -> dict[str, float]:
    """Return the factor of each backbone parameter's learning rate under layer-wise decay.

    Layers are timm's, counted from the images; the layers behind the backbone have factor 1.

    Args:
        model: The network.
        spec: What it was built from.
        decay: Factor from one layer to the one before it.

    Raises:
        InputError: The backbone does not know its layers.

    Reference: Clark et al., 2020, section 3, arXiv:2003.10555.
    """
    layers = _layers_of(spec)
    last = max(layers.values())
    scales = {}
    for name, _ in model.named_parameters():
        own = _STREAM.sub("", name)
        if not own.startswith("backbone."):
            continue
        place = _flat(own.removeprefix("backbone.net.").removeprefix("model."))
        if place not in layers:
            raise InputError(
                f"train.layer_decay: backbone {spec.backbone!r} does not say in which layer "
                f"{name} is; use train.groups with patterns"
            )
        scales[name] = decay ** (last - layers[place])
    return scales


def _layers_of(spec: ModelSpec) -> dict[str, int]:
    """Return the layer of each parameter of a timm network, its name with `_` for every dot."""
    net: Any = None
    if spec.external is None:
        with torch.device("meta"):
            net = timm.create_model(spec.backbone)
    if not hasattr(net, "group_matcher"):
        raise InputError(
            f"train.layer_decay: {spec.external or spec.backbone!r} does not know its layers; use "
            "train.groups with patterns, or a backbone such as convnext_tiny or resnet50"
        )
    found: Mapping[str, int] = group_parameters(net, net.group_matcher(coarse=False), reverse=True)
    # Ours of VGG is the stack that timm calls features.
    return {_flat(name).replace("features_", "layers_", 1) if name.startswith("features.")
            and "vgg" in spec.backbone else _flat(name): layer
            for name, layer in found.items()}  # fmt: skip


def _flat(name: str) -> str:
    """Return a name as timm's feature extractors and its networks have in common."""
    return name.replace(".", "_")


def _norm_parameters(model: nn.Module) -> set[str]:
    return {
        f"{place}.{name}" if place else name
        for place, module in model.named_modules()
        if is_norm(module)
        for name, _ in module.named_parameters(recurse=False)
    }


def is_norm(module: nn.Module) -> bool:
    """Say whether a layer normalises, by what it is called in every library.

    timm's hold their activation. A block that is called after the norm within it is none.
    """
    if isinstance(module, _NORMS):
        return True
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    within = [p for child in module.children() for p in child.parameters()]
    return "Norm" in type(module).__name__ and bool(own) and not within


def _is_backbone(name: str, _: bool) -> bool:
    return name.startswith(BACKBONE)


def _is_upsampling(name: str, _: bool) -> bool:
    return not name.startswith(BACKBONE) and "upsampling." in name


def _is_head(name: str, is_norm: bool) -> bool:
    is_skip = name.startswith("skips.")
    return not (_is_backbone(name, is_norm) or _is_upsampling(name, is_norm) or is_skip)


_PARTS: dict[str, Callable[[str, bool], bool]] = {
    "backbone": _is_backbone,
    "head": _is_head,
    "upsampling": _is_upsampling,
    "bias": lambda name, _: name.endswith("bias"),
    "norm": lambda _, is_norm: is_norm,
}
"""Name of a parameter, and whether a norm has it -> whether it is of the part."""


def count_numbers(model: nn.Module, names: set[str]) -> int:
    """Return how many numbers some parameters hold."""
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    return sum(parameters[name].numel() for name in names)
