"""Weights: a network built by timm with published or local weights, every one of them loaded.

In: how to build the network, its name, and which weights. Out: the network, which remembers what
was loaded. timm loads features without strictness and only logs what it did not find, so a renamed
key would leave layers at random unnoticed; here that is an error. No file is ever unpickled.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # for its name alone: torch raises it when it refuses a file
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from timm.models import get_arch_name, get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import nn

from fcn.download import file_hash
from fcn.errors import InputError
from fcn.published import candidates, fetch_any, require_any
from fcn.registry import unknown_name

_FILE_SUFFIXES = (".pth", ".safetensors")

MOST = 0.75
"""Share of a backbone's tensors that another network must have for weights to be carried over.
Networks of one backbone share nearly all. By chance VGG16 and VGG19 share 19 of 26."""

UNREADABLE = (OSError, EOFError, RuntimeError, KeyError, UnpicklingError, SafetensorError)
"""What torch, safetensors and timm raise over a file that is not what it should be."""


@dataclass(frozen=True)
class LoadedWeights:
    """Where a network's starting weights are from."""

    source: str
    """Address of the file, or its path if it was given by path."""
    sha256: str
    """Of the file, in hex."""
    num_tensors: int
    """Tensors of the network that the file gave: all it has."""


class _Load(NamedTuple):
    """What `Module.load_state_dict` was called for, and what it said."""

    module: nn.Module
    missing: list[str]
    """Names of tensors that only the module has."""
    unused: list[str]
    """Names of tensors that only the file has."""


def create_with_weights(
    create: Callable[..., nn.Module], name: str, pretrained: bool | str
) -> nn.Module:
    """Build a network and load its weights; reads the disk, and the network where it must.

    What was loaded is kept for `find_loaded`. Under `torch.device("meta")` nothing is fetched: the
    choice of weights is checked, and the names and shapes of a local file.

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
    path = local_file(pretrained)
    if path is None:
        name = _with_tag(name, pretrained)
        if torch.get_default_device().type == "meta":
            return create(name)
    config: Any = get_pretrained_cfg(name)
    source = str(path)
    if path is None:
        published = fetch_any(f"backbone {name!r}", candidates(config))
        source, path = published.address, published.path
    # Only these two formats of others are read by the network itself; timm's own are state dicts.
    foreign = config is not None and (config.custom_load == "hf" or path.suffix == ".npz")
    overlay = {"file": str(path), "custom_load": config.custom_load if foreign else False}
    with _recorded_loads() as loads, shapes_may_do():
        try:
            net: Any = create(name, pretrained=True, pretrained_cfg_overlay=overlay)
        except UNREADABLE as error:
            raise InputError(
                f"weights file {str(path)!r} cannot be loaded into backbone {name!r}: "
                f"{why_unreadable(error)}"
            ) from error
    _require_all_loaded(net, loads, name, path)
    net.loaded_weights = LoadedWeights(source, file_hash(path), len(net.state_dict()))
    return net  # type: ignore[no-any-return]


def why_unreadable(error: BaseException) -> str:
    """Say why a weights file cannot be used, from an error of `UNREADABLE`: how it begins."""
    if isinstance(error, UnpicklingError) or isinstance(error.__cause__, UnpicklingError):
        return (
            "it holds something else than tensors by name, and nothing is unpickled; save the "
            "weights alone, as torch.save(net.state_dict(), PATH)"
        )
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return " ".join(line.strip() for line in lines[:2])  # torch's first names the class alone


def require_published(name: str, pretrained: bool | str) -> None:
    """See that a backbone's published weights are here or can be fetched; downloads nothing.

    Args:
        name: A timm name, known to exist.
        pretrained: True for the default weights, or the tag of others.

    Raises:
        InputError: They do not exist, or cannot be had.
    """
    name = _with_tag(name, pretrained)
    require_any(f"backbone {name!r}", candidates(get_pretrained_cfg(name)))


def find_loaded(model: nn.Module) -> LoadedWeights | None:
    """Return where the weights inside a model are from; None if all of them are random."""
    found = (getattr(module, "loaded_weights", None) for module in model.modules())
    return next((loaded for loaded in found if isinstance(loaded, LoadedWeights)), None)


def lies_between(names: Sequence[str], other: str) -> bool:
    """Say whether a tensor that is none of a network's would lie before some of them.

    It does in a part that the network has and that is not its last, such as one more block of a
    stage. What lies behind may be left out: a classifier, stages that nothing is read from.

    Args:
        names: Of the network's tensors, in their order.
        other: Name of the tensor.
    """
    parts = other.split(".")
    parents = (".".join(parts[:i]) + "." for i in reversed(range(1, len(parts))))
    part = next((p for p in parents if any(name.startswith(p) for name in names)), "")
    return other not in names and not names[-1].startswith(part)


def require_no_deeper(net: nn.Module, unused: Iterable[str], whose: str, path: Path) -> None:
    """Refuse weights of a deeper network of the family: blocks between its own would be left out.

    Args:
        net: The network.
        unused: Names of the file's tensors that the network has not.
        whose: What the network is called.
        path: The file.

    Raises:
        InputError: They are.
    """
    names = list(net.state_dict())
    between = [name for name in unused if lies_between(names, name)]
    if len(names) <= MOST * (len(names) + len(between)):
        raise InputError(
            f"weights file {str(path)!r} has {len(between)} tensors between those of {whose} that "
            f"it has no place for, {between[0]!r} first; it is of another network"
        )


def list_weights(backbone: str) -> list[str]:
    """Return the tags of a backbone's published weights, the default one first.

    Raises:
        InputError: timm does not know the name.
    """
    architecture = get_arch_name(backbone)
    try:
        names = get_arch_pretrained_cfgs(architecture)
    except (KeyError, RuntimeError):
        names = {}
    published = [name for name in names if getattr(get_pretrained_cfg(name), "has_weights", False)]
    return [name.partition(".")[2] for name in published]


def local_file(pretrained: bool | str) -> Path | None:
    """Return the file that `pretrained` names; None if it names no file.

    Raises:
        InputError: It looks like a file and is not there.
    """
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


@contextmanager
def shapes_may_do() -> Iterator[None]:
    """Load without a warning into a network on the meta device, where names and shapes count."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
        yield


@contextmanager
def _recorded_loads() -> Iterator[list[_Load]]:
    """Yield a list that fills with every load in the block.

    Replaces `Module.load_state_dict` meanwhile: timm keeps the answer to itself.
    """
    loads: list[_Load] = []
    original = nn.Module.load_state_dict

    def load_and_record(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        result = original(module, *args, **kwargs)
        loads.append(_Load(module, list(result.missing_keys), list(result.unexpected_keys)))
        return result

    nn.Module.load_state_dict = load_and_record  # type: ignore[method-assign, assignment]
    try:
        yield loads
    finally:
        nn.Module.load_state_dict = original  # type: ignore[method-assign]


def _require_all_loaded(net: nn.Module, loads: Sequence[_Load], name: str, path: Path) -> None:
    """Compare tensors, not keys: timm's feature wrappers rename the layers they keep."""
    if not loads and path.suffix == ".npz":
        return  # a reader of another format, which names each tensor it sets and fails on others
    loaded = {
        id(tensor)
        for load in loads
        for key, tensor in load.module.state_dict(keep_vars=True).items()
        if key not in load.missing
    }
    state = net.state_dict(keep_vars=True)
    random = [key for key, tensor in state.items() if id(tensor) not in loaded]
    if random:
        raise InputError(
            f"weights {str(path)!r} leave {len(random)} of {len(state)} tensors "
            f"of backbone {name!r} unset, {random[0]!r} first; they are of another network"
        )
    for load in loads:
        require_no_deeper(load.module, load.unused, f"backbone {name!r}", path)
