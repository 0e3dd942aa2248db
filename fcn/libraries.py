"""Networks of other libraries by name: torchvision's, smp's, and any callable.

In: `torchvision/fcn_resnet50`, `smp/Unet(resnet18)` or `package.module:callable`. Out: `External`.
The library is imported, and its code run, when its name is asked for; weights are read by us.
"""

import importlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fcn.download import file_hash
from fcn.errors import InputError, foreign_code
from fcn.external import IMAGENET_MEAN, IMAGENET_STD, External
from fcn.published import PublishedFile, cached_path, fetch_any, require_any
from fcn.registry import unknown_name
from fcn.weights import LoadedWeights, local_file, require_no_deeper, shapes_may_do
from fcn.weights_file import read_description
from fcn.weights_state import UNREADABLE, read_state, require_sound, why_unreadable

_TRUNKS = "IMAGENET1K_V1"
"""The weights that torchvision's own segmentation networks started from."""

FORMS = "'torchvision/NAME', 'smp/ARCHITECTURE(ENCODER)' or 'package.module:callable'"


def create_external(
    source: str, *, num_classes: int, pretrained: bool | str = False, in_chans: int = 3
) -> External:
    """Build a network of another library; imports that library, and runs its code.

    Args:
        source: `torchvision/fcn_resnet50`, any of torchvision's segmentation models;
            `smp/Unet(resnet18)`, any architecture and encoder of segmentation_models_pytorch;
            `package.module:callable`, called with num_classes (and in_chans if it is not 3), whose
            network may have `mean` and `std`.
        num_classes: Number of classes C, background included.
        pretrained: False for random weights; for torchvision also True (weights of the backbone) or
            the name of weights of the whole network (COCO_WITH_VOC_LABELS_V1: 21 classes); or
            a local .safetensors or .pth file of the whole network.
        in_chans: Channels of the images.

    Raises:
        InputError: There is no such network, its library is not installed, it cannot be built, or
            the weights do not fit.
    """
    path = local_file(pretrained)
    library, slash, name = source.partition("/")
    if ":" in source:
        model = _from_callable(source, num_classes, in_chans)
    elif slash and library in _LIBRARIES:
        model = _LIBRARIES[library](name, num_classes, in_chans)
    else:
        raise InputError(f"model.external is {source!r}; it may be {FORMS}")
    if torch.get_default_device().type == "meta" or not pretrained:
        return model
    if path is not None:
        _load(model.net, str(path), path, source)
    else:
        file = fetch_any(source, [_find_published(source, pretrained, num_classes)])
        # True is for the backbone: the trunk of a MobileNet is cut out of the layers which the file
        # calls features.
        net, outer = (model.net.backbone, "features.") if pretrained is True else (model.net, "")
        _load(net, file.address, file.path, source, outer)
    return model


def require_external_weights(
    source: str, *, num_classes: int, pretrained: bool | str, in_chans: int = 3
) -> PublishedFile:
    """See that the weights of another library's network can be had, and that a local file fits.

    Returns:
        The file, here or to be fetched.

    Args:
        source: As `create_external` takes it; the network can be built.
        num_classes: Likewise.
        pretrained: Likewise, and not False.
        in_chans: Likewise.

    Raises:
        InputError: They do not exist, cannot be had, or are of another network.
    """
    path = local_file(pretrained)
    if path is None:
        return require_any(source, [_find_published(source, pretrained, num_classes)])
    try:
        with torch.device("meta"):
            model = create_external(source, num_classes=num_classes, in_chans=in_chans)
    except InputError:  # one that cannot be built without values
        model = create_external(source, num_classes=num_classes, in_chans=in_chans)
    _load(model.net, str(path), path, source)
    return PublishedFile(str(path), path)


def list_externals() -> list[str]:
    """Return torchvision's segmentation models as `model.external` names them."""
    return [f"torchvision/{name}" for name in _torchvision_names()]


def _torchvision_names() -> list[str]:
    from torchvision import models

    names: list[str] = models.list_models(module=models.segmentation)
    return names


def _from_torchvision(name: str, num_classes: int, in_chans: int) -> External:
    from torchvision import models

    if name not in _torchvision_names():
        raise InputError(
            unknown_name("segmentation network of torchvision", name, _torchvision_names())
        )
    if in_chans != 3:
        raise InputError(f"torchvision/{name} takes 3 channels, not {in_chans}")
    # Weights come later and from us: torchvision's own loader may unpickle.
    net = _built(
        f"torchvision/{name}",
        partial(models.get_model, name, weights=None, weights_backbone=None),
        num_classes=num_classes,
    )
    return External(net, num_classes=num_classes)


def _from_smp(text: str, num_classes: int, in_chans: int) -> External:
    form = re.fullmatch(r"(\w+)\(([\w.-]+)\)", text)
    if form is None:
        raise InputError(
            f"model.external 'smp/{text}': write smp/ARCHITECTURE(ENCODER), such as "
            "smp/Unet(resnet18)"
        )
    try:
        smp: Any = importlib.import_module("segmentation_models_pytorch")
    except ImportError as error:
        raise InputError(
            f"model.external 'smp/{text}' needs the package segmentation-models-pytorch, which "
            f"cannot be imported ({error}); install it with pip, beside fcn-bench"
        ) from error
    architecture, encoder = form.groups()
    known = {name: part for name, part in vars(smp).items() if _is_network(part)}
    if architecture not in known:
        raise InputError(unknown_name("architecture of smp", architecture, known))
    encoders = smp.encoders.get_encoder_names()
    if encoder not in encoders and not encoder.startswith("tu-"):
        raise InputError(
            unknown_name("encoder of smp", encoder, encoders)
            + " A network of timm is one too, as tu-NAME."
        )
    net = _built(
        f"smp/{text}",
        partial(known[architecture], encoder_name=encoder, encoder_weights=None),
        in_channels=in_chans,
        classes=num_classes,
    )
    return External(net, num_classes=num_classes, granularity=32, **_per_channel(in_chans))


def _from_callable(source: str, num_classes: int, in_chans: int) -> External:
    module, _, name = source.partition(":")
    with foreign_code(f"model.external {source!r} cannot be imported: "):
        create: Callable[..., nn.Module] = getattr(importlib.import_module(module), name)
    options = {} if in_chans == 3 else {"in_chans": in_chans}
    net = _built(source, create, num_classes=num_classes, **options)
    usual = _per_channel(in_chans)
    return External(
        net,
        num_classes=num_classes,
        mean=getattr(net, "mean", usual["mean"]),
        std=getattr(net, "std", usual["std"]),
    )


def _is_network(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, nn.Module)


def _built(source: str, create: Callable[..., Any], **options: int) -> nn.Module:
    """Call what builds a network of others; under `torch.device("meta")` it has no values.

    Raises:
        InputError: It fails, in any way it likes, or gives no network.
    """
    asked = ", ".join(f"{name}={number}" for name, number in options.items())
    with foreign_code(f"model.external {source!r} cannot be built with {asked}: "):
        try:
            net = create(**options)
        except RuntimeError:
            if torch.get_default_device().type != "meta":
                raise
            with torch.device("cpu"):  # some read numbers off tensors while they are built
                net = create(**options).to("meta")
    if not isinstance(net, nn.Module):
        raise InputError(f"model.external {source!r} gave {type(net).__name__}, not a torch module")
    return net


_LIBRARIES: dict[str, Callable[[str, int, int], External]] = {
    "torchvision": _from_torchvision,
    "smp": _from_smp,
}


def _per_channel(in_chans: int) -> dict[str, tuple[float, ...]]:
    """Return the usual mean and deviation, repeated for more channels than three."""
    return {
        "mean": tuple(IMAGENET_MEAN[channel % 3] for channel in range(in_chans)),
        "std": tuple(IMAGENET_STD[channel % 3] for channel in range(in_chans)),
    }


def _find_published(source: str, pretrained: bool | str, num_classes: int) -> PublishedFile:
    """Return torchvision's file of weights: of the backbone, or of a network by their name.

    Raises:
        InputError: There is none, or it is of other classes.
    """
    library, _, name = source.partition("/")
    if library != "torchvision":
        raise InputError(
            f"model.pretrained is {pretrained!r}, but model.external {source!r} has no published "
            "weights known here; set it to false or to a .safetensors or .pth file"
        )
    from torchvision import models

    # fcn_resnet50 stands on resnet50, lraspp_mobilenet_v3_large on mobilenet_v3_large.
    whose = name.partition("_")[2] if pretrained is True else name
    known = models.get_model_weights(whose).__members__
    wanted = _TRUNKS if pretrained is True else str(pretrained)
    if wanted not in known:
        raise InputError(unknown_name(f"weights of torchvision/{name}", wanted, known))
    weights = known[wanted]
    if pretrained is not True and (found := len(weights.meta["categories"])) != num_classes:
        raise InputError(
            f"weights {wanted!r} of torchvision/{name} are of {found} classes, which does not fit "
            f"{num_classes}; set model.pretrained to true for those of the backbone alone"
        )
    url = weights.url
    return PublishedFile(url, cached_path(url.rpartition("/")[2]))


def _load(net: Any, source: str, path: Path, whose: str, outer: str = "") -> None:
    """Load a file into a network, every tensor of it; what lies behind is left out."""
    try:
        state = read_state(path, lambda: net.state_dict())
        state = {key.removeprefix(outer): tensor for key, tensor in state.items()}
        with shapes_may_do():
            result = net.load_state_dict(state, strict=False)
    except UNREADABLE as error:
        raise InputError(
            f"weights file {str(path)!r} does not fit {whose}: {why_unreadable(error)}"
        ) from error
    if result.missing_keys:
        raise InputError(
            f"weights file {str(path)!r} leaves {len(result.missing_keys)} tensors of {whose} "
            f"unset, {result.missing_keys[0]!r} first; it is of another network"
        )
    require_no_deeper(net, result.unexpected_keys, whose, path)
    require_sound(net, state, path)
    about = read_description(path)
    net.loaded_weights = LoadedWeights(
        source, file_hash(path), len(net.state_dict()), origin=about.origin, licence=about.licence
    )
