"""State: what a file of weights holds, by the names of a network of torch; or why that is nothing.

In: a file in any format of `fcn.tensors`. Out: tensors by name, as `Module.load_state_dict` takes
them. A checkpoint's network may have been part of another, and its numbers may be of no use.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError  # for its name alone: torch raises it when it refuses a file
from typing import Any
from zipfile import BadZipFile

from safetensors import SafetensorError
from torch import Tensor, nn

from fcn.errors import InputError
from fcn.tensors import HDF5, NUMPY, read_tensors

UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    KeyError,
    ValueError,
    UnpicklingError,
    SafetensorError,
    BadZipFile,
)
"""What torch, numpy, h5py, safetensors and timm raise over a file that is not what it should be."""

_AROUND = ("module.", "_orig_mod.", "model.", "net.", "backbone.", "encoder.")
"""How training puts a network into another, by the names that its tensors then have: torch's
parallel and compiled ones, Lightning's and others."""


def read_state(path: Path, own: Callable[[], Iterable[str]]) -> dict[str, Tensor]:
    """Read the tensors of a file by the names that a network of torch has for them.

    The network may have been part of another when the file was written, see `_AROUND`.

    Args:
        path: The file.
        own: Lists the names of the network's tensors; called only where they are needed.

    Raises:
        InputError, or one of `UNREADABLE`: It cannot be read.
    """
    state = read_tensors(path)
    if path.suffix.lower() in (*HDF5, NUMPY):
        state = {name.replace("/", "."): tensor for name, tensor in state.items()}
    while around := _find_around(state):
        if any(name.startswith(around) for name in own()):
            break
        state = {name.removeprefix(around): tensor for name, tensor in state.items()}
    return state


def _find_around(names: Iterable[str]) -> str:
    """Return the prefix of `_AROUND` that all names have; empty if none."""
    return next((one for one in _AROUND if all(name.startswith(one) for name in names)), "")


def why_unreadable(error: BaseException) -> str:
    """Say why a weights file cannot be used, from an error of `UNREADABLE`: how it begins."""
    if isinstance(error, UnpicklingError) or isinstance(error.__cause__, UnpicklingError):
        found = re.search(r"Unsupported global: GLOBAL (\S+)", f"{error} {error.__cause__}")
        what = f" ({found[1]})" if found else ""
        return (
            f"it holds something else than tensors by name{what}, and nothing is unpickled; save "
            "the weights alone, as torch.save(net.state_dict(), PATH)"
        )
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return " ".join(line.strip() for line in lines[:2])  # torch's first names the class alone


def require_sound(net: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a file whose numbers nothing can be trained with.

    Args:
        net: The network; on the meta device will do.
        state: Of the file, by the network's names.
        path: The file.

    Raises:
        InputError: A parameter would be NaN, infinite, or a quantised network's.
    """
    refuse_unsound(find_unsound(net, state), path)


def find_unsound(net: nn.Module, state: Mapping[str, Any]) -> list[str]:
    """Return the parameters for which there is something else than finite numbers."""

    def is_sound(tensor: Tensor) -> bool:
        return tensor.is_meta or (tensor.is_floating_point() and bool(tensor.isfinite().all()))

    own = {key for key, _ in net.named_parameters(remove_duplicate=False)}
    tensors = {key: one for key, one in state.items() if key in own and isinstance(one, Tensor)}
    return [key for key, tensor in tensors.items() if not is_sound(tensor)]


def refuse_unsound(unsound: Sequence[str], path: Path) -> None:
    """Refuse a file for the parameters that `find_unsound` found.

    Raises:
        InputError: There are any.
    """
    if unsound:
        raise InputError(
            f"weights file {str(path)!r} holds NaN, infinite or whole numbers in {len(unsound)} "
            f"tensors of weights, {unsound[0]!r} first; it is of a training that diverged, or of a "
            "quantised network: give another"
        )
