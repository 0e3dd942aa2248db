"""Datasets by name: looks a loader up, checks its options, opens the data.

In: `DataSpec` and a folder. Out: a `Dataset`. Importing this file registers the built-in loaders;
others register theirs with `@DATASETS.register("name")`.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_type_hints

from bench.data.dataset import DATASETS, Dataset
from bench.data.sets import camvid, folder, nyudv2, shapes, siftflow
from bench.spec import DataSpec
from fcn.errors import InputError
from fcn.registry import unknown_name

__all__ = ["BUILT_IN", "DATASETS", "Dataset", "list_datasets", "open_dataset"]

BUILT_IN = (camvid, folder, nyudv2, shapes, siftflow)
"""Modules whose loaders come with the project."""


def list_datasets() -> list[str]:
    """Return the names of all registered datasets."""
    return list(DATASETS)


def open_dataset(data_spec: DataSpec, data_dir: Path | None) -> Dataset:
    """Open a dataset; reads lists and folders, no images.

    Args:
        data_spec: Name of the dataset and its options.
        data_dir: Folder given by `--data`; None for drawn datasets.

    Raises:
        InputError: The name or an option is unknown, an option has a wrong value, or the data is
            not where it should be.
    """
    loader = DATASETS[data_spec.dataset]
    _check_options(data_spec.dataset, loader, data_spec.options)
    return loader(data_dir, **data_spec.options)


def _check_options(
    name: str, loader: Callable[..., Dataset], options: Mapping[str, int | float | str | bool]
) -> None:
    parameters = list(inspect.signature(loader).parameters.values())[1:]
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return  # a loader that takes anything checks for itself
    types = get_type_hints(loader)
    allowed = [p.name for p in parameters]
    for key, value in options.items():
        if key not in allowed:
            reason = unknown_name("option", key, allowed) if allowed else "it has no options"
            raise InputError(f"data.options.{key} of dataset {name!r}: {reason}")
        wanted = types.get(key, object)
        # To Python, true is an int; to a person who sets `size: true` it is a slip.
        is_slip = isinstance(value, bool) and wanted in (int, float)
        is_whole = isinstance(value, int) and wanted is float
        if is_slip or not (isinstance(value, wanted) or is_whole):
            raise InputError(
                f"data.options.{key} of dataset {name!r} must be {wanted.__name__}, not {value!r}"
            )
