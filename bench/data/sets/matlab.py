"""Masks in MATLAB files, as NYUDv2, SIFT Flow and SBD are published: read with scipy.

In: a file and the name of its matrix, 1 for the first class. Out: classes from 0, 255 elsewhere.
"""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.files import FileDataset
from fcn.errors import InputError

VOID = 255

_UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, IndexError, NotImplementedError),
    *(struct.error, zlib.error),
)
"""What scipy raises over a file that is not what it should be, beside an error of its own."""


@dataclass(frozen=True)
class MatlabDataset(FileDataset):
    """Images in files, whose masks are MATLAB files."""

    variable: str = ""
    """Name of the mask's matrix in its file."""

    def read_labels(self, path: Path, target: str) -> NDArray[np.uint8]:
        """Return the mask (H, W) of a file."""
        return read_matlab_labels(path, self.variable)


def read_matlab_labels(path: Path, variable: str) -> NDArray[np.uint8]:
    """Read a mask whose classes count from 1, with 0 or less for unlabelled pixels.

    Args:
        path: The file, of MATLAB's version 4 to 7.2.
        variable: Name of the matrix in it.

    Returns:
        Classes from 0, (H, W) uint8; 255 for unlabelled pixels.

    Raises:
        InputError: The file is missing or damaged, or has no such matrix of whole numbers.
    """
    labels = np.asarray(_load(path, variable))
    is_whole = labels.ndim == 2 and labels.dtype.kind in "iuf" and (labels == labels.round()).all()
    if not is_whole or labels.max(initial=0) > VOID:
        raise InputError(f"{path}: {variable!r} is no matrix of class indices up to {VOID}")
    return np.where(labels > 0, labels.astype(np.int64) - 1, VOID).astype(np.uint8)


def read_matlab_struct(path: Path, variable: str, field: str) -> NDArray[np.int32]:
    """Read a mask that is a field of a structure, as SBD has it; values are as they are written.

    Args:
        path: The file.
        variable: Name of the structure.
        field: Name of its matrix, (H, W) of whole numbers from 0 to 255.

    Raises:
        InputError: The file is missing or damaged, or has no such field of whole numbers.
    """
    structure = np.asarray(_load(path, variable))
    if field not in (structure.dtype.names or ()) or structure.size != 1:
        raise InputError(f"{path} has no structure {variable!r} with {field!r}; it is another file")
    values = np.asarray(structure[field].item())
    is_whole = values.ndim == 2 and values.size and values.dtype.kind in "iu"
    if not is_whole or values.min() < 0 or values.max() > VOID:
        raise InputError(f"{path}: {variable}.{field} is no matrix of values from 0 to {VOID}")
    return values.astype(np.int32)


def _load(path: Path, variable: str) -> Any:
    """Return a variable of a file."""
    from scipy.io import loadmat  # here: it takes half a second, and few data sets need it
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(path, variable_names=[variable])[variable]
    except KeyError:
        raise InputError(f"{path} has no matrix {variable!r}; it is another file") from None
    except (*_UNREADABLE, MatReadError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}); it is damaged or no MATLAB "
            "file: replace it"
        ) from None
