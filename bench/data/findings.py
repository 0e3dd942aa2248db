"""What a pass over a dataset found: facts of each image, numbers of each split, problems."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.data.labels import Labels, name_some, shared_remark
from bench.data.layers import Target
from bench.data.problems import join_problems
from bench.text import number_of
from fcn.errors import InputError


@dataclass(frozen=True)
class ImageFacts:
    """What is known of one readable image."""

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
    """Pixels of each class of each further target."""
    more_ignored: dict[str, int] = field(default_factory=dict)
    """Pixels of each further target that equal its `ignore_index`."""
    num_moved: int = 0
    """Pixels of the mask that hold something near what they are taken for."""


@dataclass(frozen=True)
class DataReport:
    """What a dataset holds, and what is wrong with it."""

    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    images: tuple[ImageFacts, ...]
    """The images that can be used, in the order of the splits."""
    problems: tuple[str, ...]
    """One text for each thing that must be put right, with its file."""
    more_inputs: tuple[str, ...] = ()
    """Names of the inputs beside the images."""
    more_targets: tuple[Target, ...] = ()
    """Targets beside the first."""
    ignore_index: int = 255
    """Label of pixels that do not count in the first."""

    def remarks(self) -> list[str]:
        """Return what scores on these splits are to be read with, a sentence each."""
        found = [text for labels in self.labels() for text in labels.remarks()]
        moved = [p for p in self.images if p.num_moved]
        if moved:
            pixels = sum(p.height * p.width for p in moved)
            share = 100 * sum(p.num_moved for p in moved) / pixels
            found.append(
                f"{number_of(len(moved), 'mask')} of other values or colours than those listed: "
                f"{share:.3g} % of the pixels were taken for the nearest of these (`snap`)"
            )
        numbers = {pair: len(names) for pair, names in self._shared().items()}
        return found + shared_remark(numbers)

    def duplicates(self) -> list[str]:
        """Return, a text for each pair of splits, which images they have in common."""
        return [
            f"splits {a!r} and {b!r} have {number_of(len(names), 'image')} in common: "
            f"{name_some(names)}; list each in one of the two, or write `duplicates: say` in "
            "classes.yaml"
            for (a, b), names in self._shared().items()
            if names
        ]

    def _shared(self) -> dict[tuple[str, str], list[str]]:
        """Return the images of a split that are in another one too, by pair of splits."""
        by_split = {s: {p.digest: p.name for p in self.images if p.split == s} for s in self.splits}
        return {
            (a, b): [
                p.name
                if by_split[a][p.digest] == p.name
                else f"{p.name} (as {by_split[a][p.digest]})"
                for p in self.images
                if p.split == b and p.digest in by_split[a]
            ]
            for a, b in itertools.combinations(by_split, 2)
        }

    def labels(self) -> list[Labels]:
        """Return the counts of each target, that of the images first."""
        by_split = {s: [p for p in self.images if p.split == s] for s in self.splits}
        by_split = {split: images for split, images in by_split.items() if images}
        first = Labels(
            self.class_names,
            self.ignore_index,
            {s: np.array([p.class_counts for p in ps]) for s, ps in by_split.items()},
            {s: np.array([p.num_ignored for p in ps]) for s, ps in by_split.items()},
        )
        return [first, *(self._labels_of(target, by_split) for target in self.more_targets)]

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """Return the pixels of each class in a split, (C,)."""
        rows = [p.class_counts for p in self.images if p.split == split]
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
        by_split = {s: [p for p in self.images if p.split == s] for s in self.splits}
        table: dict[str, dict[str, object]] = {
            "images": {s: len(images) for s, images in by_split.items()},
            "height": {s: _range([p.height for p in ps]) for s, ps in by_split.items()},
            "width": {s: _range([p.width for p in ps]) for s, ps in by_split.items()},
            "identical images": {
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

    @staticmethod
    def _labels_of(target: Target, by_split: Mapping[str, Sequence[ImageFacts]]) -> Labels:
        name = target.name
        return Labels(
            target.class_names,
            target.ignore_index,
            {s: np.array([p.more_counts[name] for p in ps]) for s, ps in by_split.items()},
            {s: np.array([p.more_ignored[name] for p in ps]) for s, ps in by_split.items()},
            f"target {name!r}: ",
        )

    def _target_rows(
        self, target: Target, by_split: Mapping[str, Sequence[ImageFacts]]
    ) -> dict[str, dict[str, object]]:
        """Return the numbers of a further target."""
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
            InputError: Something is wrong; of each kind three files are named.
        """
        if self.problems:
            raise InputError(join_problems(list(self.problems)))


def _range(values: list[int]) -> object:
    if not values:
        return None
    low, high = min(values), max(values)
    return low if low == high else f"{low} to {high}"


def _joint_range(images: Sequence[ImageFacts], name: str) -> object:
    return _range([value for p in images for value in p.ranges[name]])


def _share(num_pixels: int, images: Sequence[ImageFacts]) -> float:
    return round(num_pixels / max(sum(p.height * p.width for p in images), 1), 4)
