"""Weights: a network built by timm with published or local weights, every one of them loaded.

In: how to build the network, its name, and which weights. Out: the network.
timm loads features without strictness and only logs what it did not find, so a renamed key would
leave layers at random unnoticed; here that is an error. No file is ever unpickled.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError  # for its name alone: torch raises it when it refuses a file
from typing import Any

import torch
from safetensors import SafetensorError
from timm.models import get_arch_name, get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import nn

from fcn.errors import InputError
from fcn.registry import unknown_name

_FILE_SUFFIXES = (".pth", ".safetensors")
_LOCAL = (
    "fetch it on a machine with a connection and set model.pretrained to the path of the file "
    "(.safetensors or .pth)"
)


def create_with_weights(
    create: Callable[..., nn.Module], name: str, pretrained: bool | str
) -> nn.Module:
    """Build a network and load its weights; reads the disk, and the network where it must.

    Under `torch.device("meta")` the choice of weights is checked but nothing is loaded.

    Args:
        create: Builds the network, called as timm.create_model(name, ...).
        name: A timm name, known to exist.
        pretrained: False for random weights, True for the default ones, the tag of others, or the
            path of a local file.

    Raises:
        InputError: The weights do not exist, cannot be fetched or read, or leave a part unloaded.
    """
    if not pretrained:
        return create(name)
    path = _local_file(pretrained)
    overlay = {} if path is None else {"file": str(path)}
    if path is None:
        name = _with_tag(name, pretrained)
    if torch.get_default_device().type == "meta":
        return create(name)
    with _recorded_loads() as loads:
        try:
            net = create(name, pretrained=True, pretrained_cfg_overlay=overlay)
        except (OSError, EOFError, RuntimeError, KeyError, UnpicklingError, SafetensorError) as err:
            raise InputError(_refusal(name, path, err)) from err
    _require_all_loaded(net, loads, name, path)
    return net


def _local_file(pretrained: bool | str) -> Path | None:
    if isinstance(pretrained, bool):
        return None
    path = Path(pretrained).expanduser()
    if path.is_file():
        return path
    if path.suffix in _FILE_SUFFIXES:
        raise InputError(f"there is no weights file {str(path)!r}; model.pretrained names it")
    return None


def _with_tag(name: str, pretrained: bool | str) -> str:
    """Return the timm name of the weights, known to be published."""
    if isinstance(pretrained, str):
        architecture = get_arch_name(name)
        known = {key.partition(".")[2] for key in get_arch_pretrained_cfgs(architecture)}
        if pretrained not in known:
            raise InputError(
                unknown_name(f"weights of {architecture}", pretrained, known)
                + " model.pretrained may also be true or the path of a .safetensors or .pth file."
            )
        name = f"{architecture}.{pretrained}"
    if not getattr(get_pretrained_cfg(name), "has_weights", False):
        raise InputError(
            f"backbone {name!r} has no published weights; set model.pretrained to false or to the "
            "path of a .safetensors or .pth file"
        )
    return name


def _refusal(name: str, path: Path | None, error: BaseException) -> str:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if path is not None:
        return f"weights file {str(path)!r} cannot be loaded into backbone {name!r}: {first_line}"
    config: Any = get_pretrained_cfg(name)
    source = config.url
    if config.hf_hub_id:
        file = config.hf_hub_filename or "model.safetensors"
        source = f"https://huggingface.co/{config.hf_hub_id}/resolve/main/{file}"
    return f"the weights of backbone {name!r} at {source} cannot be had ({first_line}); {_LOCAL}"


@contextmanager
def _recorded_loads() -> Iterator[list[tuple[nn.Module, list[str]]]]:
    """Yield a list that fills with (module, missing keys) of every load in the block.

    Replaces `Module.load_state_dict` meanwhile: timm keeps the answer to itself.
    """
    loads: list[tuple[nn.Module, list[str]]] = []
    original = nn.Module.load_state_dict

    def load_and_record(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        result = original(module, *args, **kwargs)
        loads.append((module, list(result.missing_keys)))
        return result

    nn.Module.load_state_dict = load_and_record  # type: ignore[method-assign, assignment]
    try:
        yield loads
    finally:
        nn.Module.load_state_dict = original  # type: ignore[method-assign]


def _require_all_loaded(
    net: nn.Module, loads: list[tuple[nn.Module, list[str]]], name: str, path: Path | None
) -> None:
    """Compare tensors, not keys: timm's feature wrappers rename the layers they keep."""
    if not loads and path is None and getattr(get_pretrained_cfg(name), "custom_load", False):
        return  # a reader of another format, which names each tensor it sets and fails on others
    loaded = {
        id(tensor)
        for module, missing in loads
        for key, tensor in module.state_dict(keep_vars=True).items()
        if key not in missing
    }
    state = net.state_dict(keep_vars=True)
    random = [key for key, tensor in state.items() if id(tensor) not in loaded]
    if random:
        raise InputError(
            f"weights {str(path) if path else name!r} leave {len(random)} of {len(state)} tensors "
            f"of backbone {name!r} unset, {random[0]!r} first; they are of another network"
        )
