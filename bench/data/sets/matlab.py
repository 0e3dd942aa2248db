"""Masks in MATLAB files, as NYUDv2 and SIFT Flow are published: read with scipy, or refused.

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
        InputError: scipy is not installed, the file is missing or damaged, or it has no such
            matrix of whole numbers.
    """
    load, unreadable = _import_loader()
    try:
        labels = np.asarray(load(path, variable_names=[variable])[variable])
    except KeyError:
        raise InputError(f"{path} has no matrix {variable!r}; it is another file") from None
    except unreadable as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {error}); it is damaged or no MATLAB "
            "file: replace it"
        ) from None
    is_whole = labels.ndim == 2 and labels.dtype.kind in "iuf" and (labels == labels.round()).all()
    if not is_whole or labels.max(initial=0) > VOID:
        raise InputError(f"{path}: {variable!r} is no matrix of class indices up to {VOID}")
    return np.where(labels > 0, labels.astype(np.int64) - 1, VOID).astype(np.uint8)


def _import_loader() -> tuple[Any, tuple[type[Exception], ...]]:
    """Return scipy's reader, and what it raises on damaged files."""
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise InputError(
            "masks in MATLAB files need the package scipy: pip install 'fcn-bench[mat]'"
        ) from None
    wrong = (OSError, EOFError, ValueError, TypeError, IndexError, NotImplementedError)
    return loadmat, (*wrong, struct.error, zlib.error, MatReadError)
