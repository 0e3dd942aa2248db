"""What a store remembers of what lies outside it: data, weights files, plugins, by question.

In: what a question met each time it was planned over its data. Out: what a report needs to find its
runs again where data, files or plugins are not at hand. Kept in the store's `datasets.json`.
"""

from contextlib import suppress
from dataclasses import field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.data.facts import DatasetFacts
from bench.store.atomic import write_json
from bench.store.records import CLOSED, Digest, describe_fault
from fcn.errors import InputError

MOST_BINDINGS = 10
"""Kept of each question, the latest: a report plans the question over each of them."""

TRIES = 5
"""Another command may write the file at the same time: who comes second reads and writes again."""


@dataclass(frozen=True, config=CLOSED)
class Binding:
    """What the names in a question's spec stood for, one of the times that it was planned."""

    folder: str | None
    """Folder of the images; None for drawn datasets."""
    fingerprints: dict[str, Digest]
    """By dataset and options, as `bench.data.catalog.key_of` writes them."""
    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    """By key of the spec and its value, as `bench.sources` gives them."""


@dataclass(frozen=True, config=CLOSED)
class Memory:
    """Everything that is remembered."""

    format: int = 2
    datasets: dict[str, dict[str, DatasetFacts]] = field(default_factory=dict)
    """By dataset and options, and by fingerprint; the latest last."""
    questions: dict[str, list[Binding]] = field(default_factory=dict)
    """By name of a registered spec, or path of a file; the latest last."""

    def bindings_of(self, question: str) -> list[Binding]:
        """Return what a question met; a file that is not known is taken for one of its name."""
        if question in self.questions:
            return self.questions[question]
        name = Path(question).name
        return [b for q, found in self.questions.items() if Path(q).name == name for b in found]


def read_memory(root: Path) -> Memory:
    """Read what the store in a folder remembers; nothing, where there is none.

    Raises:
        InputError: The file is damaged.
    """
    path = root / "datasets.json"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Memory()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    try:
        return _MEMORY.validate_json(content, strict=True)
    except ValidationError as error:
        why = describe_fault(error)
    try:  # of version 0.1: one dataset for each set of options
        datasets = _EARLIER.validate_json(content, strict=True)
    except ValidationError:
        raise InputError(
            f"{path} is damaged or foreign: {why}; delete it, and give --data DIR once more for "
            "each question"
        ) from None
    return Memory(datasets={key: {one.fingerprint: one} for key, one in datasets.items()})


def remember_dataset(root: Path, key: str, facts: DatasetFacts) -> None:
    """Keep the identity and sizes of a dataset."""
    for _ in range(TRIES):
        memory = _read_or_begin(root)
        known = memory.datasets.get(key, {})
        if list(known.items())[-1:] == [(facts.fingerprint, facts)]:
            return
        known = {f: one for f, one in known.items() if f != facts.fingerprint}
        memory.datasets[key] = {**known, facts.fingerprint: facts}
        _write(root, memory)


def remember_binding(root: Path, question: str, binding: Binding) -> None:
    """Keep what a question met."""
    for _ in range(TRIES):
        memory = _read_or_begin(root)
        known = memory.questions.get(question, [])
        if known[-1:] == [binding]:
            return
        kept = [one for one in known if one != binding]
        memory.questions[question] = [*kept, binding][-MOST_BINDINGS:]
        _write(root, memory)


def _read_or_begin(root: Path) -> Memory:
    """Read what is remembered; a damaged file is set aside, for what is run needs none."""
    try:
        return read_memory(root)
    except InputError:
        with suppress(OSError):
            (root / "datasets.json").replace(root / "datasets-damaged.json")
        return Memory()


def _write(root: Path, memory: Memory) -> None:
    write_json(root / "datasets.json", _MEMORY.dump_python(memory, mode="json"))


_MEMORY = TypeAdapter(Memory)
_EARLIER = TypeAdapter(dict[str, DatasetFacts])
