"""Reading everything before an hour is spent: each unusable picture by name, and the numbers.

In: a dataset. Out: a `DataReport`. Packing goes through the same pass, so that what is trained on
has been checked, and nothing is decoded twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Dataset
from bench.data.files import join_problems
from bench.data.layers import LabelMap
from fcn.errors import InputError

Layers = tuple[NDArray[np.uint8], ...]
"""Arrays of one picture: image, target, and what more the dataset has."""


@dataclass(frozen=True)
class PictureFacts:
    """What is known of one readable picture."""

    name: str
    split: str
    height: int
    width: int
    class_counts: tuple[int, ...]
    """Pixels of each class, (C,)."""
    num_ignored: int
    """Pixels that equal `ignore_index`."""
    digest: str
    """SHA-256 of the image's pixels."""
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Least and greatest value of each further input."""
    more_counts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Pixels of each class of each further label map."""
    more_ignored: dict[str, int] = field(default_factory=dict)
    """Pixels of each further label map that equal its `ignore_index`."""


@dataclass(frozen=True)
class DataReport:
    """What a dataset holds, and what is wrong with it."""

    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    pictures: tuple[PictureFacts, ...]
    """The pictures that can be used, in the order of the splits."""
    problems: tuple[str, ...]
    """One text for each thing that must be put right, with its file."""
    more_inputs: tuple[str, ...] = ()
    """Names of the inputs beside the pictures."""
    more_targets: tuple[LabelMap, ...] = ()
    """Label maps beside the first."""

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """Return the pixels of each class in a split, (C,)."""
        rows = [p.class_counts for p in self.pictures if p.split == split]
        counts = np.array(rows, dtype=np.int64).reshape(-1, len(self.class_names))
        return np.asarray(counts.sum(0), dtype=np.int64)

    def class_frequencies(self, split: str) -> NDArray[np.float64]:
        """Return each class's share of the labelled pixels of a split, (C,), fractions."""
        counts = self.class_counts(split)
        return counts / max(int(counts.sum()), 1)

    def absent_classes(self, split: str) -> tuple[str, ...]:
        """Return the classes that never occur in a split."""
        counts = self.class_counts(split)
        return tuple(n for n, count in zip(self.class_names, counts, strict=True) if count == 0)

    def rows(self) -> list[dict[str, object]]:
        """Return the numbers as a table: a row per number, a column per split."""
        by_split = {s: [p for p in self.pictures if p.split == s] for s in self.splits}
        table: dict[str, dict[str, object]] = {
            "pictures": {s: len(pictures) for s, pictures in by_split.items()},
            "height": {s: _range([p.height for p in ps]) for s, ps in by_split.items()},
            "width": {s: _range([p.width for p in ps]) for s, ps in by_split.items()},
            "identical pictures": {
                s: len(ps) - len({p.digest for p in ps}) for s, ps in by_split.items()
            },
            "ignored pixels": {
                s: _share(sum(p.num_ignored for p in ps), ps) for s, ps in by_split.items()
            },
        }
        shares = {s: self.class_frequencies(s) for s in self.splits}
        for c, name in enumerate(self.class_names):
            table[f"class {name}"] = {
                s: round(float(share[c]), 4) if share[c] else "never" for s, share in shares.items()
            }
        for name in self.more_inputs:
            table[f"values of {name}"] = {s: _joint_range(ps, name) for s, ps in by_split.items()}
        for target in self.more_targets:
            table |= self._target_rows(target, by_split)
        return [{"number": key, **row} for key, row in table.items()]

    def _target_rows(
        self, target: LabelMap, by_split: Mapping[str, Sequence[PictureFacts]]
    ) -> dict[str, dict[str, object]]:
        """Return the numbers of a further label map."""
        counts = {
            s: np.array([p.more_counts[target.name] for p in ps], dtype=np.int64).sum(0)
            for s, ps in by_split.items()
            if ps
        }
        ignored = {
            s: _share(sum(p.more_ignored[target.name] for p in ps), ps)
            for s, ps in by_split.items()
        }
        rows: dict[str, dict[str, object]] = {f"ignored pixels of {target.name}": dict(ignored)}
        for c, name in enumerate(target.class_names):
            rows[f"class {name} of {target.name}"] = {
                s: round(float(counts[s][c] / max(counts[s].sum(), 1)), 4)
                if s in counts and counts[s][c]
                else "never"
                for s in by_split
            }
        return rows

    def raise_problems(self) -> None:
        """Do nothing if all is well.

        Raises:
            InputError: Something is wrong; the first twenty problems are named.
        """
        if self.problems:
            raise InputError(join_problems(list(self.problems)))


def check(
    dataset: Dataset,
    keep: Callable[[Layers], None] | None = None,
) -> DataReport:
    """Read every picture of a dataset and collect all problems.

    Args:
        dataset: What to read.
        keep: Called with the layers of each usable picture, in the order of the report's
            `pictures`: image (H, W, 3), target (H, W), then what more the dataset has.
    """
    problems, pictures = _listing_problems(dataset), list[PictureFacts]()
    for split, names in dataset.splits.items():
        for name in dict.fromkeys(names):
            try:
                image, target = dataset.read(split, name)
                facts = _examine(dataset, split, name, image, target)
                facts, more = _examine_more(dataset, facts)
            except InputError as error:
                problems.append(str(error))
                continue
            pictures.append(facts)
            if keep is not None:
                keep((image, target, *more))
    problems += _shared_pictures(dataset, pictures)
    return DataReport(
        dataset.class_names,
        tuple(dataset.splits),
        tuple(pictures),
        tuple(problems),
        tuple(one.name for one in dataset.more_inputs),
        dataset.more_targets,
    )


def _listing_problems(dataset: Dataset) -> list[str]:
    problems = []
    for split, names in dataset.splits.items():
        if not names:
            problems.append(
                f"split {split!r} of dataset {dataset.name!r} is empty; list pictures for it, "
                "or remove it"
            )
        counts = dict.fromkeys(names, 0)
        for name in names:
            counts[name] += 1
        problems += [
            f"{dataset.describe(split, name)} is listed {count} times; list it once"
            for name, count in counts.items()
            if count > 1
        ]
    return problems


def _examine(
    dataset: Dataset,
    split: str,
    name: str,
    image: NDArray[np.uint8],
    target: NDArray[np.uint8],
) -> PictureFacts:
    """Count a picture's labels; InputError if it cannot be used."""
    H, W = image.shape[:2]
    where = dataset.describe(split, name)
    if image.shape != (H, W, 3) or image.dtype != np.uint8 or target.dtype != np.uint8:
        raise InputError(f"{where}: its loader must give an image (H, W, 3) and uint8 throughout")
    counts = _count_labels(where, target, (H, W), dataset.targets[0])
    digest = sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
    class_counts = tuple(int(n) for n in counts[: len(dataset.class_names)])
    ignored = int(counts[dataset.ignore_index])
    return PictureFacts(name, split, H, W, class_counts, ignored, digest)


def _examine_more(
    dataset: Dataset, facts: PictureFacts
) -> tuple[PictureFacts, list[NDArray[np.uint8]]]:
    """Read and count what a picture has beside image and target; InputError if unusable."""
    where = dataset.describe(facts.split, facts.name)
    size = (facts.height, facts.width)
    layers, ranges, counts, ignored = [], {}, {}, {}
    for wanted in dataset.more_inputs:
        layer = dataset.read_input(facts.split, facts.name, wanted)
        if layer.shape != (*size, wanted.channels) or layer.dtype != np.uint8:
            raise InputError(
                f"{where}: input {wanted.name!r} has shape {layer.shape} ({layer.dtype}), not "
                f"{(*size, wanted.channels)} (uint8) as the picture; make them one size"
            )
        ranges[wanted.name] = (int(layer.min()), int(layer.max()))
        layers.append(layer)
    for target in dataset.more_targets:
        labels = dataset.read_target(facts.split, facts.name, target)
        found = _count_labels(f"{where}, {target.name}", labels, size, target)
        counts[target.name] = tuple(int(n) for n in found[: len(target.class_names)])
        ignored[target.name] = int(found[target.ignore_index])
        layers.append(labels)
    return replace(facts, ranges=ranges, more_counts=counts, more_ignored=ignored), layers


def _count_labels(
    where: str, target: NDArray[np.uint8], size: tuple[int, int], labels: LabelMap
) -> NDArray[np.int64]:
    """Count the values of a label map, (256,); InputError if it cannot be used."""
    H, W = size
    if target.shape != (H, W):
        given = "x".join(str(n) for n in reversed(target.shape))
        raise InputError(
            f"{where}: the picture is {W}x{H} and its label map {given} pixels; make them one size "
            "(resize label maps by nearest neighbour only)"
        )
    C, ignore = len(labels.class_names), labels.ignore_index
    counts = np.bincount(target.ravel(), minlength=256)
    strange = [value for value in np.flatnonzero(counts) if value >= C and value != ignore]
    if strange:
        values = ", ".join(f"{v} ({counts[v]} pixels)" for v in strange[:8])
        more = f" and {len(strange) - 8} more" if len(strange) > 8 else ""
        raise InputError(
            f"{where}: the label map holds {values}{more}; allowed are the classes 0..{C - 1} and "
            f"ignore_index {ignore}: correct the labels, add class names, or set ignore_index"
        )
    return counts


def _shared_pictures(dataset: Dataset, pictures: list[PictureFacts]) -> list[str]:
    """Name pictures whose pixels are in two splits: scores on them would be too good."""
    first: dict[str, PictureFacts] = {}
    problems = []
    for picture in pictures:
        other = first.setdefault(picture.digest, picture)
        if other.split != picture.split:
            problems.append(
                f"{dataset.describe(picture.split, picture.name)} has the same pixels as "
                f"{dataset.describe(other.split, other.name)}; keep it in one split"
            )
    return problems


def _range(values: list[int]) -> object:
    if not values:
        return None
    low, high = min(values), max(values)
    return low if low == high else f"{low} to {high}"


def _joint_range(pictures: Sequence[PictureFacts], name: str) -> object:
    return _range([value for p in pictures for value in p.ranges[name]])


def _share(num_pixels: int, pictures: Sequence[PictureFacts]) -> float:
    return round(num_pixels / max(sum(p.height * p.width for p in pictures), 1), 4)
