"""Networks: what a timm name can do, found out on the meta device, and the network itself.

In: a timm name. Out: its strides, and a module that maps images to a list of feature maps.
VGG's features are its pools, which the paper's skips start from; timm gives the layers before
them. Transformers that timm builds for one image size are built for any, where they can be, and
see the image in windows where they cannot.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import timm
from timm.models import FeatureListNet, get_arch_name, get_arch_pretrained_cfgs
from torch import Tensor, device, nn

from fcn.backbones.classifiers import convolutionalize, fully_connected
from fcn.backbones.windows import REFUSALS, Windows, find_own_size
from fcn.errors import InputError
from fcn.geometry import trace_geometry
from fcn.inputs import widen
from fcn.registry import unknown_name, unknown_part
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
    fail on other sizes (HRNet) or whose cells move with the size (TensorFlow's padding); the own
    size of networks which are built for one."""
    window: int | None = None
    """Side of the windows, in pixels, in which the network sees an image; None for the whole."""

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


def find_abilities(name: str, output_stride: int | None = None) -> Abilities:
    """Find out what a backbone can do, on the meta device.

    Args:
        name: A timm name.
        output_stride: Stride of the deepest features, for families that can dilate instead of
            striding; None for their own.

    Raises:
        InputError: timm does not know the name, the network takes images of one size only, or it
            does not have that output stride.
    """
    return _find_own(name) if output_stride is None else _find_dilated(name, output_stride)


@functools.lru_cache(maxsize=64)
def _find_own(name: str) -> Abilities:
    require_known(name)
    if _is_vgg(name):  # stride 2 ** (n + 1) comes from pool n
        return Abilities({2 ** (pool + 1): pool for pool in range(5)}, {}, granularity=1)
    refusals = []
    for options in _ANY_SIZE:
        try:
            with device("meta"):
                net: Any = timm.create_model(name, features_only=True, **options)
            granularity = _find_granularity(net)
        except REFUSALS as error:
            refusals.append(error)
            continue
        reductions = net.feature_info.reduction()
        indices = dict(zip(reductions, net.feature_info.out_indices, strict=True))
        return Abilities(indices, options, granularity)
    try:
        with device("meta"):
            own = find_own_size(timm.create_model(name, features_only=True))
    except REFUSALS as error:
        why = f"{refusals[0]}; {error}" if str(error) != str(refusals[0]) else str(error)
        raise InputError(
            f"backbone {name!r} gives no features for images of any size "
            f"({' '.join(why.split())}); choose another, such as 'resnet50' or 'convnext_tiny'"
        ) from error
    window = None if own.takes_multiples else own.side
    return Abilities(own.indices, {}, granularity=own.side, window=window)


def create_net(
    name: str,
    strides: Sequence[int],
    *,
    pretrained: bool | str,
    in_chans: int,
    more_chans: int = 0,
    output_stride: int | None = None,
) -> nn.Module:
    """Build the part of a network that gives the features of those strides, a list of tensors.

    `more_chans` further channels of the images start as `fcn.inputs.widen` says.

    Raises:
        InputError: See `find_abilities`, `create_with_weights` and `widen`.
    """
    abilities = find_abilities(name, output_stride)
    wanted = sorted(abilities.indices[stride] for stride in strides)

    def create(name: str, in_chans: int = in_chans, **options: Any) -> nn.Module:
        if not _is_vgg(name):
            options |= abilities.options
            net: Any = timm.create_model(
                name, features_only=True, out_indices=wanted, in_chans=in_chans, **options
            )
            return Windows(net, abilities.window) if abilities.window else net
        if not options.get("pretrained"):
            # fc6 and fc7 are dropped below: one channel instead of 4096 saves 3 s of initialising.
            options["mlp_ratio"] = 1 / 4096
        net = timm.create_model(name, num_classes=0, in_chans=in_chans, **options)
        taps = PoolTaps(net.features, wanted)
        taps.pretrained_cfg = net.pretrained_cfg  # as timm's wrappers have it
        return taps

    net = create_with_weights(create, name, pretrained)
    _widen(net, create, name, in_chans, more_chans)
    return net


def create_net_and_classifier(
    name: str,
    strides: Sequence[int],
    *,
    pretrained: bool | str,
    in_chans: int,
    more_chans: int = 0,
) -> tuple[nn.Module, tuple[nn.Conv2d, ...]]:
    """Build a network as `create_net` does, and its classifier as convolutions.

    Raises:
        InputError: See `create_net` and `convolutionalize`.
    """
    wanted = sorted(find_abilities(name).indices[stride] for stride in strides)

    def create(name: str, in_chans: int = in_chans, **options: Any) -> nn.Module:
        net: nn.Module = timm.create_model(name, in_chans=in_chans, **options)
        return net

    whole: Any = create_with_weights(create, name, pretrained, spare=fully_connected)
    _widen(whole, create, name, in_chans, more_chans)
    classifier = convolutionalize(whole)
    net: Any
    if _is_vgg(name):
        net = PoolTaps(whole.features, wanted)
    else:  # the layers have the names that `create_net` gives them
        net = FeatureListNet(whole, out_indices=tuple(wanted), flatten_sequential=True)
    net.pretrained_cfg = whole.pretrained_cfg
    net.loaded_weights = getattr(whole, "loaded_weights", None)
    return net, classifier


def _widen(
    net: nn.Module, create: Callable[..., nn.Module], name: str, in_chans: int, more_chans: int
) -> None:
    if not more_chans:
        return
    try:
        with device("meta"):
            wide = create(name, in_chans=in_chans + more_chans)
    except REFUSALS as error:
        raise InputError(
            f"backbone {name!r} cannot be built for {in_chans + more_chans} channels ({error}); "
            "use model.input_fusion late"
        ) from error
    widen(net, wide, in_chans)


@functools.lru_cache(maxsize=64)
def _find_dilated(name: str, output_stride: int) -> Abilities:
    usual = _find_own(name)
    deepest = usual.strides[-1]
    if output_stride == deepest:
        return usual
    try:
        options = {**usual.options, "output_stride": output_stride}
        with device("meta"):
            net: Any = timm.create_model(name, features_only=True, **options)
        reductions = net.feature_info.reduction()
        if _is_vgg(name) or max(reductions) != output_stride:  # some take the option and ignore it
            raise ValueError(f"its deepest stride stays {max(reductions)}")
        granularity = _find_granularity(net)
    except (RuntimeError, AssertionError, TypeError, ValueError, NotImplementedError, KeyError):
        raise InputError(
            f"backbone {name!r} cannot have output stride {output_stride}; it has features of "
            f"stride {', '.join(map(str, usual.strides))}: leave model.output_stride out, or use a "
            "family that dilates to 16 or 8, such as resnet50, convnext_tiny or efficientnet_b0"
        ) from None
    # Of features with the same stride, the last and deepest counts.
    indices = dict(zip(reductions, net.feature_info.out_indices, strict=True))
    return Abilities(indices, options, granularity)


def _is_vgg(name: str) -> bool:
    # The whole path: a user's own networks may live in a module called vgg, too.
    return bool(timm.model_entrypoint(get_arch_name(name)).__module__ == "timm.models.vgg")


def require_known(name: str) -> None:
    """Refuse a name, or a tag of one, that timm does not know.

    Raises:
        InputError: With the nearest known one.
    """
    architecture = get_arch_name(name)
    if not timm.is_model(architecture):
        raise InputError(
            unknown_part("backbone", name, timm.list_models())
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
