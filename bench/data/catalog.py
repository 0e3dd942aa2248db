"""What a plan meets outside of the store: facts and packs of datasets, sources of parts.

A plan needs a dataset's fingerprint and sizes, and the digests of weights files and plugins. Where
these are at hand they are read; a report, which may be made on another machine, takes what the
store remembers of the question.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.data.cores import Progress
from bench.data.facts import DatasetFacts
from bench.data.memory import Binding, Memory, read_memory, remember_binding, remember_dataset
from bench.data.packs.groups import digest_of
from bench.data.packs.pack import Pack, open_pack, pack
from bench.data.packs.space import packing_remark
from bench.data.registry import Dataset, open_dataset
from bench.plan import Run
from bench.sources import REGISTRIES, find_sources, value_of
from bench.spec import DataSpec, RunSpec
from bench.store.runs import Store
from bench.text import clean, our_command
from fcn.errors import InputError
from fcn.weights_file import names_a_file
from fcn.weights_folder import HUB


@dataclass(frozen=True)
class Recall:
    """What is taken from memory in place of being read."""

    memory: Memory
    binding: Binding


class Catalog:
    """What the names in a question's spec stand for, each looked up once.

    Args:
        store: Where facts are remembered and packs are kept.
        data_dir: Folder of the images; None for drawn datasets, or to use what is remembered.
        question: Name of the question, to remember for it what is met; None for no memory.
        recall: What is remembered of it: sources that are not at hand are taken from there.
        reads_data: Look at the images; else what is remembered of them is taken.
    """

    def __init__(
        self,
        store: Store,
        data_dir: Path | None,
        *,
        question: str | None = None,
        recall: Recall | None = None,
        reads_data: bool = True,
    ) -> None:
        self._store, self._data_dir, self._reads_data = store, data_dir, reads_data
        self._question, self._recall = question, recall
        self._facts: dict[str, DatasetFacts] = {}
        self._datasets: dict[str, Dataset] = {}
        self._sources: dict[str, dict[str, str]] = {}
        self._met: dict[str, dict[str, str]] = {}
        self._notices: dict[str, None] = {}

    @property
    def folder(self) -> str | None:
        """Folder of the images, given or remembered; None where there is none."""
        if self._reads_data or self._recall is None:
            return None if self._data_dir is None else clean(self._data_dir.resolve())
        return self._recall.binding.folder

    @property
    def notices(self) -> list[str]:
        """What a person must know of the sources: remembered ones that are used, or differ."""
        return list(self._notices)

    def facts(self, data: DataSpec) -> DatasetFacts:
        """Return the facts of a dataset.

        Raises:
            InputError: The dataset is unknown, or its images are not where they should be.
        """
        key = key_of(data)
        if key not in self._facts:
            self._facts[key] = self._recalled(key) or self._read(key, data)
        return self._facts[key]

    def sources(self, spec: RunSpec) -> dict[str, str]:
        """Return what stands behind the names of a run's parts, as `bench.sources` does.

        What is not at hand is taken from memory.

        Raises:
            InputError: The source of a part cannot be read.
        """
        parts = {name: value_of(spec, name) for name in REGISTRIES}
        key = json.dumps([spec.model.model_dump(mode="json"), parts])
        if key not in self._sources:
            found = find_sources(spec)
            for name in {*found, *(self._recall.binding.sources if self._recall else ())}:
                self._compare(name, str(value_of(spec, name)), found)
            if _lacks_weights(spec, found):
                self._notices[
                    f"model.pretrained {spec.model.pretrained} is not at hand, nor remembered, so "
                    "runs that started from it are not found; --weights DIR names its folder"
                ] = None
            self._sources[key] = dict(sorted(found.items()))
            for name, source in found.items():
                self._met.setdefault(name, {})[str(value_of(spec, name))] = source
        return self._sources[key]

    def packing_remarks(self, of: Iterable[DataSpec]) -> Iterator[str]:
        """Yield what is to be said before datasets are packed: of each whose pack is large."""
        for data in of:
            folder = self._store.packs_dir / self.facts(data).fingerprint[:16]
            if not folder.exists():
                remark = packing_remark(self._dataset(key_of(data), data), folder)
                if remark is not None:
                    yield remark

    def pack(self, data: DataSpec, progress: Progress | None = None) -> Pack:
        """Read and check every image of a dataset, decode it into the store, and remember it.

        Args:
            data: The dataset.
            progress: Called with the number of images read, and of all.

        Raises:
            InputError: An image or label cannot be used, each is named; or files changed since
                the dataset was read for the plan.
        """
        key = key_of(data)
        facts = self.facts(data)
        packed = pack(self._dataset(key, data), self._store.packs_dir, progress)
        if packed.fingerprint != facts.fingerprint:
            raise InputError(
                f"files of dataset {data.dataset!r} changed while they were read (fingerprint "
                f"{facts.fingerprint[:16]} before, {packed.fingerprint[:16]} after); give the "
                "command again when nothing writes there"
            )
        self._store.begin()
        remember_dataset(self._store.root, key, facts)
        return packed

    def remember(self) -> None:
        """Have the store remember what the question met; writes the store."""
        if self._question is not None:
            self._store.begin()
            prints = {key: facts.fingerprint for key, facts in self._facts.items()}
            binding = Binding(self.folder, prints, self._met)
            remember_binding(self._store.root, self._question, binding)

    def _recalled(self, key: str) -> DatasetFacts | None:
        if self._recall is None or self._reads_data:
            return None
        known = self._recall.memory.datasets.get(key, {})
        fingerprint = self._recall.binding.fingerprints.get(key)
        if fingerprint is None and len(known) > 1:
            listed = ", ".join(fingerprint[:16] for fingerprint in known)
            raise InputError(
                f"the store {self._store.root} knows {len(known)} versions of dataset {key} "
                f"({listed}), and not which of them is meant; give its folder with --data DIR"
            )
        return known.get(fingerprint or next(iter(known), ""))

    def _compare(self, name: str, value: str, found: dict[str, str]) -> None:
        """Take a source that is not at hand from memory; say so, and where they differ."""
        binding = self._recall.binding if self._recall else None
        known = binding.sources.get(name, {}).get(value) if binding else None
        if known is None:
            return
        if name not in found:
            found[name] = known
            self._notices[
                f"{name} {value} is not at hand; its runs are found by what it was when the "
                f"question was planned last: {known}"
            ] = None
        elif found[name] != known:
            self._notices[
                f"{name} {value} has changed since the question was planned last: it was {known}, "
                f"and is {found[name]}; runs of what it was keep their ids (`fcn-bench runs list "
                f"--runs {self._store.root}`)"
            ] = None

    def _read(self, key: str, data: DataSpec) -> DatasetFacts:
        dataset = self._dataset(key, data)
        return DatasetFacts(
            fingerprint=dataset.fingerprint(),
            num_images={split: len(names) for split, names in dataset.splits.items()},
            num_classes=len(dataset.class_names),
            target_name=dataset.target_name,
            more_inputs=dataset.more_inputs,
            more_targets={one.name: len(one.class_names) for one in dataset.more_targets},
            groups=_digest_groups(dataset),
        )

    def _dataset(self, key: str, data: DataSpec) -> Dataset:
        if key not in self._datasets:
            self._datasets[key] = open_dataset(data, self._data_dir)
        return self._datasets[key]


def _digest_groups(dataset: Dataset) -> dict[str, str]:
    """Return the digest of the groups of each split in which every image has one."""
    known = {
        split: {name: dataset.groups.get((split, name), "") for name in names}
        for split, names in dataset.splits.items()
    }
    return {split: digest_of(own) for split, own in known.items() if own and all(own.values())}


def recall_question(store: Store, question: str, *, strict: bool) -> list[Recall]:
    """Return what a store remembers of a question, the latest first; at least one.

    Without a binding, where the question is not known: a dataset of which the store knows a single
    version is that.

    Args:
        store: The store.
        question: The question.
        strict: Whether a memory that is damaged is an error; else nothing is remembered.

    Raises:
        InputError: The memory is damaged.
    """
    try:
        memory = read_memory(store.root)
    except InputError:
        if strict:
            raise
        memory = Memory()
    bindings = memory.bindings_of(question) or [Binding(None, {})]
    return [Recall(memory, binding) for binding in reversed(bindings)]


def open_data(store: Store, run: Run) -> Pack:
    """Open the pack of a run's dataset.

    Raises:
        InputError: It is not in the store, with the command that writes it; or it is not whole.
    """
    folder, data = store.packs_dir / run.fingerprint[:16], run.spec.data
    if not folder.is_dir():
        pairs = (f"{key}={json.dumps(value)}" for key, value in data.options.items())
        words = [
            "data",
            "prepare",
            data.dataset,
            *(w for pair in pairs for w in ("--option", pair)),
        ]
        raise InputError(
            f"dataset {data.dataset!r} is not decoded in this store ({folder} is missing); "
            f"{our_command(shlex.join(words), store.root)} writes it, with --data DIR where it has "
            "a folder"
        )
    return open_pack(store.packs_dir, run.fingerprint)


def _lacks_weights(spec: RunSpec, found: Mapping[str, str]) -> bool:
    """Say whether a file of weights is named whose content is not known."""
    pretrained = spec.model.pretrained
    is_file = names_a_file(pretrained) or str(pretrained).startswith(HUB)
    return is_file and "model.pretrained" not in found


def key_of(data: DataSpec) -> str:
    """Name a dataset with its options."""
    return json.dumps([data.dataset, data.options], sort_keys=True)
