"""Datasets by name: looks a loader up, checks its options, opens the data.

In: `DataSpec` and a folder. Out: a `Dataset`. Importing this file registers the built-in loaders;
others register theirs with `@DATASETS.register("name")`.
"""

from pathlib import Path

from bench.data.dataset import DATASETS, Dataset
from bench.data.sets import (
    ade20k,
    camvid,
    cityscapes,
    coco_stuff,
    folder,
    nyudv2,
    pascal_context,
    pets,
    sbd,
    shapes,
    siftflow,
    voc,
)
from bench.settings.calls import require_arguments
from bench.spec import DataSpec

__all__ = ["BUILT_IN", "DATASETS", "Dataset", "list_datasets", "open_dataset"]

BUILT_IN = (
    *(ade20k, camvid, cityscapes, coco_stuff, folder, nyudv2, pascal_context, pets, sbd, shapes),
    *(siftflow, voc),
)
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
    what = f"data.options.{{}} of dataset {data_spec.dataset!r}"
    require_arguments(what, loader, data_spec.options, given=1)
    return loader(data_dir, **data_spec.options)
