"""Datasets as a store knows them: facts for planning, packs for training.

A plan needs a dataset's fingerprint and sizes. Where the pictures are at hand these are read from
them; a report, which may be made on another machine, takes what the store remembers.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.data.layers import (
    COLOUR,
    SEMANTIC,
    Input,
    choose_inputs,
    network_options,
    require_targets,
    to_json,
)
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
    """Of the dataset's own label map."""
    target_name: str = SEMANTIC
    """Name of that map."""
    more_inputs: tuple[dict[str, Any], ...] = ()
    """Inputs beside the picture, as `Input.from_json` reads them."""
    more_targets: dict[str, int] = field(default_factory=dict)
    """Classes of further label maps, by name."""

    def network_options(self, data: DataSpec) -> dict[str, Any]:
        """Return how `fcn.create_model` builds a network for the layers that a spec asks for.

        Raises:
            InputError: The dataset does not have one of them.
        """
        inputs = (COLOUR, *map(Input.from_json, self.more_inputs))
        return network_options(choose_inputs(inputs, data.inputs), self.classes(data))

    def classes(self, data: DataSpec) -> tuple[int, ...]:
        """Return the number of classes of each label map that a spec asks for.

        Raises:
            InputError: The dataset does not have one of them.
        """
        known = {self.target_name: self.num_classes, **self.more_targets}
        require_targets(known, data.targets)
        return tuple(known[name] for name in data.targets or (self.target_name,))

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what most datasets do not have is left out."""
        usual = asdict(DatasetFacts(self.fingerprint, self.num_images, self.num_classes))
        always = {"fingerprint", "num_images", "num_classes"}
        values = {k: v for k, v in asdict(self).items() if k in always or v != usual[k]}
        plain: dict[str, Any] = json.loads(json.dumps(values))  # as it will be read back
        return plain


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
        self._store.remember_dataset(key, facts.to_json())
        return packed

    def _read(self, key: str, data: DataSpec) -> DatasetFacts:
        dataset = self._dataset(key, data)
        return DatasetFacts(
            fingerprint=dataset.fingerprint(),
            num_images={split: len(names) for split, names in dataset.splits.items()},
            num_classes=len(dataset.class_names),
            target_name=dataset.target_name,
            more_inputs=tuple(to_json(one) for one in dataset.more_inputs),
            more_targets={one.name: len(one.class_names) for one in dataset.more_targets},
        )

    def _dataset(self, key: str, data: DataSpec) -> Dataset:
        if key not in self._datasets:
            self._datasets[key] = open_dataset(data, self._data_dir)
        return self._datasets[key]


def _key(data: DataSpec) -> str:
    return json.dumps([data.dataset, data.options], sort_keys=True)
