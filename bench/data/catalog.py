"""Datasets as a store knows them: facts for planning, packs for training.

A plan needs a dataset's fingerprint and sizes. Where the pictures are at hand these are read from
them; a report, which may be made on another machine, takes what the store remembers.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.data.pack import Pack, pack
from bench.data.registry import Dataset, open_dataset
from bench.spec import DataSpec
from bench.store import Store


@dataclass(frozen=True)
class DatasetFacts:
    """What planning needs to know of a dataset."""

    fingerprint: str
    num_images: dict[str, int]
    """Pictures in each split."""
    num_classes: int


class Catalog:
    """Datasets by their settings, each read once.

    Args:
        store: Where facts are remembered and packs are kept.
        data_dir: Folder of the pictures; None for drawn datasets, or to use what is remembered.
        recall: Take remembered facts without looking at the pictures.
    """

    def __init__(self, store: Store, data_dir: Path | None, *, recall: bool = False) -> None:
        self._store = store
        self._data_dir = data_dir
        self._recall = recall
        self._facts: dict[str, DatasetFacts] = {}
        self._datasets: dict[str, Dataset] = {}

    def facts(self, data: DataSpec) -> DatasetFacts:
        """Return the facts of a dataset, and have the store remember them.

        Raises:
            InputError: The dataset is unknown, or its pictures are not where they should be.
        """
        key = _key(data)
        if key not in self._facts:
            remembered = self._store.recall_dataset(key) if self._recall else None
            if remembered is None:
                self._facts[key] = self._read(key, data)
            else:
                self._facts[key] = DatasetFacts(**remembered)
        return self._facts[key]

    def pack(self, data: DataSpec) -> Pack:
        """Read and check every picture of a dataset, decode it into the store, and remember it.

        Raises:
            InputError: A picture or label cannot be used; each is named.
        """
        key = _key(data)
        facts = self.facts(data)
        packed = pack(self._dataset(key, data), self._store.packs_dir)
        self._store.remember_dataset(key, asdict(facts))
        return packed

    def _read(self, key: str, data: DataSpec) -> DatasetFacts:
        dataset = self._dataset(key, data)
        return DatasetFacts(
            fingerprint=dataset.fingerprint(),
            num_images={split: len(names) for split, names in dataset.splits.items()},
            num_classes=len(dataset.class_names),
        )

    def _dataset(self, key: str, data: DataSpec) -> Dataset:
        if key not in self._datasets:
            self._datasets[key] = open_dataset(data, self._data_dir)
        return self._datasets[key]


def _key(data: DataSpec) -> str:
    return json.dumps([data.dataset, data.options], sort_keys=True)
