"""Networks: what a timm name can do, found out on the meta device, and the network itself.

In: a timm name. Out: its strides, and a module that maps images to a list of feature maps.
VGG's features are its pools, which the paper's skips start from; timm gives the layers before
them. Transformers that timm builds for one image size are built for any, where they can be.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import timm
from timm.models import get_arch_name, get_arch_pretrained_cfgs
from torch import Tensor, device, nn

from fcn.errors import InputError
from fcn.geometry import trace_geometry
from fcn.registry import unknown_name
from fcn.weights import create_with_weights

# What timm's families call "take images of any size", tried in turn.
_ANY_SIZE: tuple[Mapping[str, Any], ...] = (
    {},
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"strict_img_size": False},
)


@dataclass(frozen=True)
class Abilities:
    """What a backbone can do."""

    indices: Mapping[int, int]
    """Stride -> timm's index of its last feature."""
    options: Mapping[str, Any]
    """timm's options that make the network take images of any size."""
    granularity: int
    """Images are padded to multiples of this. 1 for most; the deepest stride for networks which
    fail on other sizes (HRNet) or whose cells move with the size (TensorFlow's padding)."""

    @property
    def strides(self) -> tuple[int, ...]:
        """All strides, from fine to coarse."""
        return tuple(self.indices)


class PoolTaps(nn.Module):
    """The outputs of the pools of a plain stack of layers.

    Args:
        layers: The stack; layers after the last wanted pool are left out.
        wanted: Which pools, counted from 0.
    """

    def __init__(self, layers: nn.Sequential, wanted: Sequence[int]) -> None:
        super().__init__()
        pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        self._ends = [pools[pool] for pool in sorted(wanted)]
        self.layers = layers[: self._ends[-1] + 1]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one feature map per wanted pool, from fine to coarse."""
        features, taps = images, []
        for i, layer in enumerate(self.layers):
            features = layer(features)
            if i in self._ends:
                taps.append(features)
        return taps


@functools.lru_cache(maxsize=64)
def find_abilities(name: str) -> Abilities:
    """Find out what a backbone can do, on the meta device.

    Raises:
        InputError: timm does not know the name, or the network takes images of one size only.
    """
    _require_known(name)
    if _is_vgg(name):  # stride 2 ** (n + 1) comes from pool n
        return Abilities({2 ** (pool + 1): pool for pool in range(5)}, {}, granularity=1)
    refusals = []
    for options in _ANY_SIZE:
        try:
            with device("meta"):
                net: Any = timm.create_model(name, features_only=True, **options)
            granularity = _find_granularity(net)
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            refusals.append(error)
            continue
        reductions = net.feature_info.reduction()
        indices = dict(zip(reductions, net.feature_info.out_indices, strict=True))
        return Abilities(indices, options, granularity)
    raise InputError(
        f"backbone {name!r} gives no features for images of any size ({refusals[0]}); choose "
        "another, such as 'resnet50' or 'convnext_tiny'"
    )


def create_net(
    name: str, strides: Sequence[int], *, pretrained: bool | str, in_chans: int
) -> nn.Module:
    """Build the part of a network that gives the features of those strides, a list of tensors.

    Raises:
        InputError: See `find_abilities` and `create_with_weights`.
    """
    abilities = find_abilities(name)
    wanted = sorted(abilities.indices[stride] for stride in strides)

    def create(name: str, **options: Any) -> nn.Module:
        if not _is_vgg(name):
            options |= abilities.options
            net: Any = timm.create_model(
                name, features_only=True, out_indices=wanted, in_chans=in_chans, **options
            )
            return net  # type: ignore[no-any-return]
        if not options.get("pretrained"):
            # fc6 and fc7 are dropped below: one channel instead of 4096 saves 3 s of initialising.
            options["mlp_ratio"] = 1 / 4096
        net = timm.create_model(name, num_classes=0, in_chans=in_chans, **options)
        taps = PoolTaps(net.features, wanted)
        taps.pretrained_cfg = net.pretrained_cfg  # as timm's wrappers have it
        return taps

    return create_with_weights(create, name, pretrained)


def _is_vgg(name: str) -> bool:
    # The whole path: a user's own networks may live in a module called vgg, too.
    return bool(timm.model_entrypoint(get_arch_name(name)).__module__ == "timm.models.vgg")


def _require_known(name: str) -> None:
    architecture = get_arch_name(name)
    if not timm.is_model(architecture):
        raise InputError(
            unknown_name("backbone", name, timm.list_models())
            + " Any name of timm.list_models() is allowed."
        )
    if name != architecture and name not in get_arch_pretrained_cfgs(architecture):
        known = get_arch_pretrained_cfgs(architecture)
        raise InputError(unknown_name(f"tag of backbone {architecture!r}:", name, known))


def _find_granularity(net: Any) -> int:
    """Return what image sizes must be multiples of for cells to stay where they are."""
    coarsest = max(net.feature_info.reduction())
    # Sizes one more and one less than a multiple round differently on every stage.
    even = trace_geometry(net, (1, 3, 8 * coarsest, 11 * coarsest))
    try:
        odd = trace_geometry(net, (1, 3, 8 * coarsest + 1, 11 * coarsest - 1))
    except (RuntimeError, AssertionError):
        return int(coarsest)
    same = [geometry for _, geometry in even] == [geometry for _, geometry in odd]
    return 1 if same else int(coarsest)
