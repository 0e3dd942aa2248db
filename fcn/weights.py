"""Weights: a network built by timm with published or local weights, every one of them loaded.

In: how to build the network, its name, and which weights. Out: the network, which remembers what
was loaded. timm loads features without strictness and only logs what it did not find, so a renamed
key would leave layers at random unnoticed; here that is an error. No file is ever unpickled.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import _builder as timm_builder
from timm.models import get_arch_name, get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import nn

from fcn.download import file_hash
from fcn.errors import InputError
from fcn.published import (
    PublishedFile,
    candidates,
    fetch_any,
    fetch_hub_config,
    hub_files,
    require_any,
)
from fcn.registry import unknown_name
from fcn.tensors import NUMPY
from fcn.weights_file import FORMS, read_description, require_named
from fcn.weights_folder import HUB
from fcn.weights_state import (
    UNREADABLE,
    find_unsound,
    read_state,
    refuse_unsound,
    why_unreadable,
)

MOST = 0.75
"""Share of a backbone's tensors that another network must have for weights to be carried over.
Networks of one backbone share nearly all. By chance VGG16 and VGG19 share 19 of 26."""


@dataclass(frozen=True)
class LoadedWeights:
    """Where a network's starting weights are from."""

    source: str
    """Address of the file, or its path if it was given by path."""
    sha256: str
    """Of the file, in hex."""
    num_tensors: int
    """Tensors of the network that the file gave: all it has but `missing`."""
    missing: tuple[str, ...] = ()
    """Tensors of a classifier that the file lacks: they start at random."""
    origin: str | None = None
    """Where the weights are from and what they learned, as is written beside the file."""
    licence: str | None = None
    """Likewise."""


class _Load(NamedTuple):
    """What `Module.load_state_dict` was called for, and what it said."""

    module: nn.Module
    missing: list[str]
    """Names of tensors that only the module has."""
    unused: list[str]
    """Names of tensors that only the file has."""
    unsound: list[str]
    """Names of parameters for which the file has something else than finite numbers."""


def create_with_weights(
    create: Callable[..., nn.Module],
    name: str,
    pretrained: bool | str,
    spare: Callable[[nn.Module], Iterable[nn.Module]] = lambda _: (),
) -> nn.Module:
    """Build a network and load its weights; reads the disk, and the network where it must.

    What was loaded is kept for `find_loaded`. Under `torch.device("meta")` nothing is fetched: the
    choice of weights is checked, and the names and shapes of a local file.

    Args:
        create: Builds the network, called as timm.create_model(name, ...).
        name: A timm name, known to exist.
        pretrained: False for random weights, True for the default ones, the tag of others,
            `hf-hub:OWNER/NAME`, or the path of a local file or folder.
        spare: Gives layers of the network that a local file may lack: they start at random.

    Raises:
        InputError: The weights do not exist, cannot be fetched or read, leave a part unloaded, or
            are of another network.
    """
    if not pretrained:
        return create(name)
    path = local_file(pretrained)
    source, is_local = str(path), path is not None
    if path is None:
        if not is_of_hub(pretrained):
            name = _with_tag(name, pretrained)
        if torch.get_default_device().type == "meta":
            return create(name)
        published = fetch_any(f"backbone {name!r}", _published(name, pretrained))
        source, path = published.address, published.path
        if is_of_hub(pretrained):
            fetch_hub_config(str(pretrained))
    config: Any = get_pretrained_cfg(name)
    with _recorded_loads() as loads, _read_by_us(name), shapes_may_do():
        try:
            net: Any = create(name, pretrained=True, pretrained_cfg_overlay=_overlay(name, path))
        except UNREADABLE as error:
            raise InputError(
                f"weights file {str(path)!r} cannot be loaded into backbone {name!r}: "
                f"{why_unreadable(error)}"
            ) from error
    may_lack = [t for layer in spare(net) for t in layer.parameters()] if is_local else []
    missing = _require_all_loaded(net, loads, name, path, {id(tensor) for tensor in may_lack})
    described = read_description(path) if is_local or is_of_hub(pretrained) else None
    if described is not None:
        _require_no_others(loads, name, path)
        for key in ("mean", "std"):
            _require_same(key, getattr(described, key), net.pretrained_cfg[key], name, path)
    refuse_unsound([key for load in loads for key in load.unsound], path)
    net.loaded_weights = LoadedWeights(
        source,
        file_hash(path),
        len(net.state_dict()) - len(missing),
        tuple(missing),
        described.origin if described else None,
        described.licence if described else getattr(config, "license", None),
    )
    return net  # type: ignore[no-any-return]


def _overlay(name: str, path: Path) -> dict[str, Any]:
    """Return what timm is to be told of a file: where it is, and whether a network reads it."""
    config: Any = get_pretrained_cfg(name)
    custom = config.custom_load if config is not None else False
    overlay = {"file": str(path), "custom_load": custom if custom == "hf" else False}
    if path.suffix.lower() == NUMPY:
        with torch.device("meta"):
            whole = timm.create_model(name)
        own = set(whole.state_dict())
        if hasattr(whole, "load_pretrained") and not own & set(read_state(path, lambda: own)):
            # In its authors' own format, which a few networks read themselves.
            return {**overlay, "custom_load": custom or True}
    return overlay


@contextmanager
def _read_by_us(name: str) -> Iterator[None]:
    """Have timm read a network's file as `read_state` does, whatever its format.

    Replaces the function that timm's builder reads files with meanwhile. Tensors handed over in its
    settings would be copied twice, and kept for as long as the network.
    """
    builder: Any = timm_builder  # which uses the function, and does not export it
    original = builder.load_state_dict

    def names() -> Iterable[str]:
        with torch.device("meta"):
            whole: nn.Module = timm.create_model(name)
        return whole.state_dict()

    builder.load_state_dict = lambda path, *_, **__: read_state(Path(path), names)
    try:
        yield
    finally:
        builder.load_state_dict = original


def _published(name: str, pretrained: bool | str) -> list[PublishedFile]:
    """Return the files that may hold published weights, the safest first."""
    if is_of_hub(pretrained):
        return hub_files(str(pretrained))
    return candidates(get_pretrained_cfg(name))


def is_of_hub(pretrained: bool | str) -> bool:
    """Say whether a value of `model.pretrained` names a repository of huggingface.co."""
    return isinstance(pretrained, str) and pretrained.startswith(HUB)


def require_published(name: str, pretrained: bool | str) -> PublishedFile:
    """See that a backbone's published weights are here or can be fetched; downloads nothing.

    Returns:
        The file, here or to be fetched.

    Args:
        name: A timm name, known to exist.
        pretrained: True for the default weights, the tag of others, or `hf-hub:OWNER/NAME`.

    Raises:
        InputError: They do not exist, or cannot be had.
    """
    if not is_of_hub(pretrained):
        name = _with_tag(name, pretrained)
    return require_any(f"backbone {name!r}", _published(name, pretrained))


def name_published(name: str, pretrained: bool | str) -> PublishedFile:
    """Return the file of a backbone's published weights, here or to be fetched; asks nobody.

    Args:
        name: As `require_published`.
        pretrained: Likewise.

    Raises:
        InputError: None are published.
    """
    if not is_of_hub(pretrained):
        name = _with_tag(name, pretrained)
    files = _published(name, pretrained)
    return next((file for file in files if file.path.is_file()), files[0])


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
    """Return the file that `pretrained` names; None if it names none of this machine.

    Raises:
        InputError: It looks like a file and is not there, or is a folder of several.
    """
    return None if is_of_hub(pretrained) else require_named(pretrained)


def name_with_tag(name: str, pretrained: bool | str) -> str:
    """Return a timm name with the tag of its weights, where `pretrained` is one of its tags.

    Built by it, also without weights, a network sees images as those weights do: the mean and
    deviation that are taken off them differ from tag to tag.
    """
    return f"{get_arch_name(name)}.{pretrained}" if pretrained in _tags_of(name) else name


def _tags_of(name: str) -> set[str]:
    """Return the tags of all weights of a timm name's architecture."""
    return {key.partition(".")[2] for key in get_arch_pretrained_cfgs(get_arch_name(name))}


def _with_tag(name: str, pretrained: bool | str) -> str:
    """Return the timm name of the weights, known to be published."""
    if isinstance(pretrained, str):
        known = _tags_of(name)
        if pretrained not in known:
            raise InputError(
                unknown_name(f"weights of {get_arch_name(name)}", pretrained, known)
                + f" model.pretrained may be {FORMS}."
            )
        name = name_with_tag(name, pretrained)
    if not getattr(get_pretrained_cfg(name), "has_weights", False):
        raise InputError(
            f"backbone {name!r} has no published weights; set model.pretrained to false, or to the "
            "path of a file of weights"
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

    Replaces `Module.load_state_dict` meanwhile: timm keeps the answer to itself, and is strict
    about layers that are dropped. What is missing or left over is judged after it.
    """
    loads: list[_Load] = []
    original = nn.Module.load_state_dict
    logger = logging.getLogger("timm.models._builder")

    def load_and_record(
        module: nn.Module, state_dict: Any, strict: bool = True, assign: bool = False
    ) -> Any:
        result = original(module, state_dict, strict=False, assign=assign)
        missing, unused = list(result.missing_keys), list(result.unexpected_keys)
        loads.append(_Load(module, missing, unused, find_unsound(module, state_dict)))
        return result

    def is_grave(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING  # it warns of every classifier that is left out

    nn.Module.load_state_dict = load_and_record  # type: ignore[method-assign, assignment]
    logger.addFilter(is_grave)
    try:
        yield loads
    finally:
        logger.removeFilter(is_grave)
        nn.Module.load_state_dict = original  # type: ignore[method-assign]


def _require_all_loaded(
    net: nn.Module, loads: Sequence[_Load], name: str, path: Path, spare: Set[int]
) -> list[str]:
    """Refuse weights that leave tensors unset, but `spare` ones, by id; return the names of these.

    Tensors are compared, not keys: timm's feature wrappers rename the layers they keep.
    """
    if not loads and path.suffix.lower() == NUMPY:
        return []  # a reader of another format, which names each tensor it sets and fails on others
    loaded = {
        id(tensor)
        for load in loads
        for key, tensor in load.module.state_dict(keep_vars=True).items()
        if key not in load.missing
    }
    state = net.state_dict(keep_vars=True)
    random = [key for key, tensor in state.items() if id(tensor) not in loaded]
    if unset := [key for key in random if id(state[key]) not in spare]:
        raise InputError(
            f"weights {str(path)!r} leave {len(unset)} of {len(state)} tensors "
            f"of backbone {name!r} unset, {unset[0]!r} first; they are of another network, or "
            f"under other names, which `fcn-bench weights convert` maps"
        )
    for load in loads:
        require_no_deeper(load.module, load.unused, f"backbone {name!r}", path)
    return random


def _require_no_others(loads: Sequence[_Load], name: str, path: Path) -> None:
    """Refuse tensors of a file that the whole network, with its classifier, has no place for."""
    unused = dict.fromkeys(key for load in loads for key in load.unused)
    if not unused:
        return
    with torch.device("meta"):
        whole = timm.create_model(name).state_dict()
    if others := [key for key in unused if key not in whole]:
        listed = ", ".join(others[:8]) + (", ..." if len(others) > 8 else "")
        raise InputError(
            f"weights file {str(path)!r} holds {len(others)} tensors that backbone {name!r} has no "
            f"place for: {listed}; name the backbone that they are of, or leave them out of the "
            "file (`fcn-bench weights convert --without PATTERN`)"
        )


def _require_same(
    key: str, wanted: Sequence[float] | None, own: Sequence[float], name: str, path: Path
) -> None:
    """Refuse weights for images of another mean or deviation than the backbone's, if it is said."""
    if wanted is None or all(
        math.isclose(a, b, abs_tol=2e-3) for a, b in zip(wanted, own, strict=False)
    ):
        return
    raise InputError(
        f"weights {str(path)!r} are for images of {key} {list(wanted)}, as is written beside them, "
        f"and backbone {name!r} takes {key} {list(own)}; name the tag of {name!r} that has it, or "
        "fold it into the first convolution (`fcn-bench weights convert --mean R,G,B --std R,G,B`)"
    )
