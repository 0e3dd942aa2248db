"""Tensors of a file, by name, whatever its format; nothing is ever unpickled.

In: a file of safetensors, torch, numpy or HDF5. Out: tensors in the file's order, if it has one.
HDF5 is read through h5py, extra `fcn-bench[h5]`: numbers alone, and nothing outside of the file.
"""

import re
import zipfile
from argparse import Namespace
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
NUMPY = ".npz"

_WRAPPERS = (
    *("state_dict_ema", "model_ema", "state_dict", "model"),  # timm's own, in its order
    *("model_state_dict", "net", "weights", "params"),
)
"""Where checkpoints keep their tensors, beside a step or settings."""

_AGAIN = "fetch it again"
_OTHERS = (
    (
        rb"version https://git-lfs",
        "it stands for a file that Git LFS keeps: git lfs pull fetches it",
    ),
    (rb"\s*(<!doctype html|<html)", f"it is a page of a web site, not weights: {_AGAIN}"),
    (rb"\x1f\x8b\x08|Rar!|7z\xbc\xaf", "it is an archive: unpack it, and name the file in it"),
    (rb"\Z", f"it is empty, as downloads that broke off are: {_AGAIN}"),
)
"""How files begin that are often found in the place of weights, and what to do about each."""

_DEEPEST = 32
"""Groups of HDF5 in each other: more are a circle."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file.

    The order is that of the file where the format keeps one (torch, npz, HDF5 by a list of layers),
    and that of names, numbers in them by value, elsewhere.

    Raises:
        InputError: HDF5 without h5py, or numbers that are no numbers.
        OSError, RuntimeError, ValueError, UnpicklingError, SafetensorError, BadZipFile: It cannot
            be read, or holds no tensors by name.
    """
    _require_weights(path)
    ending = path.suffix.lower()
    if ending in HDF5:
        found = _read_hdf5(path)
    elif ending == NUMPY:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: to_tensor(name, arrays[name]) for name in arrays.files}
    elif ending == ".safetensors":
        stored = load_file(path)
        found = {name: stored[name] for name in sorted(stored, key=natural)}
    else:
        found = _read_torch(path)
    if not found:
        raise ValueError("it holds no tensors by name")
    return found


def _require_weights(path: Path) -> None:
    """Refuse what is no file of weights by how it begins, and say what it is.

    Raises:
        ValueError: It is something else.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if start[8:9] == b"{":  # safetensors begin with a length, of any bytes
        return
    for pattern, what in _OTHERS:
        if re.match(pattern, start, re.IGNORECASE):
            raise ValueError(what)
    if path.suffix.lower() == ".caffemodel":
        raise ValueError("it is in Caffe's own format: have Caffe save its arrays as .npz")
    if not start.startswith(b"PK\x03\x04") or path.suffix.lower() == NUMPY:
        return
    names = {name.rpartition("/")[2] for name in zipfile.ZipFile(path).namelist()}
    if "constants.pkl" in names:
        raise ValueError(
            "it is a network of TorchScript, code and all; save its weights alone, as "
            "torch.save(torch.jit.load(FILE).state_dict(), PATH)"
        )
    if "data.pkl" not in names:  # which torch's own have
        raise ValueError("it is an archive: unpack it, and name the file in it")


def _read_torch(path: Path) -> dict[str, Tensor]:
    # Checkpoints of training scripts hold their arguments, which are plain values.
    with torch.serialization.safe_globals([Namespace]):
        values: Any = torch.load(path, map_location="cpu", weights_only=True)
    while isinstance(values, Mapping):
        inner = next((k for k in _WRAPPERS if isinstance(values.get(k), Mapping)), None)
        if inner is None:
            return {str(name): one for name, one in values.items() if isinstance(one, Tensor)}
        values = values[inner]
    return {}


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
