"""Tensors of a file, by name, whatever its format; nothing is ever unpickled.

In: a file of safetensors, torch, numpy or HDF5. Out: tensors in the file's order, if it has one.
HDF5 is read through h5py, extra `fcn-bench[h5]`: numbers alone, and nothing outside of the file.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from fcn.errors import InputError

HDF5 = (".h5", ".hdf5")

_WRAPPERS = ("state_dict_ema", "state_dict", "model_ema", "model", "net", "weights")
"""Where checkpoints keep their tensors, beside a step or settings."""


_DEEPEST = 32
"""Groups of HDF5 in each other: more are a circle."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file.

    The order is that of the file where the format keeps one (torch, npz, HDF5 by a list of layers),
    and that of names, numbers in them by value, elsewhere.

    Raises:
        InputError: HDF5 without h5py, or numbers that are no numbers.
        OSError, RuntimeError, ValueError, UnpicklingError, SafetensorError: It cannot be read.
    """
    if path.suffix in HDF5:
        return _read_hdf5(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: to_tensor(name, arrays[name]) for name in arrays.files}
    if path.suffix == ".safetensors":
        found = load_file(path)
        return {name: found[name] for name in sorted(found, key=natural)}
    values: Any = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(values, Mapping) and isinstance(values.get(wrapper), Mapping):
            values = values[wrapper]
            break
    if not isinstance(values, Mapping):
        raise ValueError("it holds no tensors by name")
    return {str(name): one for name, one in values.items() if isinstance(one, Tensor)}


def to_tensor(name: str, array: Any) -> Tensor:
    """Return an array of numbers as a tensor with memory of its own.

    Raises:
        InputError: It holds something else.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name!r} holds {array.dtype}, not numbers; leave it out of the file")
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in names by value: conv2d, conv2d_2, conv2d_10."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _read_hdf5(path: Path) -> dict[str, Tensor]:
    try:
        h5py: Any = import_module("h5py")
    except ImportError as error:
        raise InputError(
            f"{str(path)!r} is HDF5, which h5py reads; it cannot be imported ({error}): "
            "pip install 'fcn-bench[h5]'"
        ) from error
    found: dict[str, Tensor] = {}

    def walk(group: Any, before: str) -> None:
        if before.count("/") > _DEEPEST:
            raise InputError(f"groups of {str(path)!r} lie in each other; save it anew")
        for name in _order(group):
            # A link may lead out of the file, to any that the user may read: it is not followed.
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"{before + name!r} of {str(path)!r} is a link; save it whole")
            part = group[name]
            if isinstance(part, h5py.Group):
                walk(part, f"{before}{name}/")
            elif part.external or part.is_virtual:
                raise InputError(f"{before + name!r} of {str(path)!r} lies in another file")
            elif part.dtype.kind in "fiub":  # texts are settings of whoever wrote it
                found[before + name] = to_tensor(before + name, part[()])

    with h5py.File(path, "r") as file:
        # Whole models of Keras keep their weights apart from an optimiser's.
        walk(file.get("model_weights", file), "")
    return found


def _order(group: Any) -> list[str]:
    """Return the names in a group: by the list that earlier versions of Keras wrote, or natural."""
    for key in ("layer_names", "weight_names"):
        if key in group.attrs:
            listed = [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs[key]]
            tops = dict.fromkeys(name.partition("/")[0] for name in listed)
            if set(tops) == set(group):
                return list(tops)
    return sorted(group, key=natural)
