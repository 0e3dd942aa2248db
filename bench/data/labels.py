"""What the labels of a dataset cannot teach or judge, found by counting, said in sentences.

In: pixels of each class in each image of each split. Out: remarks, which a score is to be read
with, and faults, with which no score can be right.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_NAMED = 8
"""Names in one sentence."""

MOSTLY = 0.5
"""Share of ignored pixels from which a split is said to be mostly ignored."""

MANY = 0.1
"""Share of ignored pixels that may well be those of a class that never occurs."""


@dataclass(frozen=True)
class Labels:
    """Counts of one target."""

    class_names: Sequence[str]
    """Names of the C classes."""
    ignore_index: int
    """Label of pixels that do not count."""
    counts: Mapping[str, NDArray[np.int64]]
    """By split: pixels of each class in each image, (N, C)."""
    ignored: Mapping[str, NDArray[np.int64]]
    """By split: pixels of `ignore_index` in each image, (N,)."""
    where: str = ""
    """Target, put in front of each sentence; empty for the first."""

    def faults(self, used: Iterable[str] = ()) -> list[str]:
        """Say why no score can be right.

        Args:
            used: Splits that are trained on or judged by; without a labelled pixel they are wrong.
        """
        return self._say(
            self._one_value()
            or [
                f"{_unlabelled(split, self.ignore_index)}; correct its masks, or name another split"
                for split in used
                if split in self.counts and not self.counts[split].sum()
            ]
        )

    def remarks(
        self, trained: Collection[str] | None = None, judged: Collection[str] | None = None
    ) -> list[str]:
        """Say what a score is to be read with.

        Args:
            trained: Splits that are trained on.
            judged: Splits that judge or watch; with both None all splits are looked at, for either.
        """
        everywhere = trained is None and judged is None
        used = {*(trained or ()), *(judged or ())}
        found = self._one_value() or [*self._absent_everywhere()]
        for split in self.counts:
            if everywhere or split in used:
                found += self._of_split(split, trained or (), judged or ())
        return self._say(found)

    def _say(self, sentences: list[str]) -> list[str]:
        return [self.where + sentence for sentence in sentences]

    def _one_value(self) -> list[str]:
        """Say that all that is labelled is of one class, where the rest is ignored."""
        share, ignore = self._ignored_share(), self.ignore_index
        present = np.flatnonzero(self._totals())
        if len(present) > 1 or not share:
            return []
        if not len(present):
            return [f"no split has a labelled pixel: all are {ignore}, which is ignored"]
        absent = name_some([name for name, total in self._named_totals() if not total])
        return [
            f"no split has a pixel of class {absent}, and {_percent(share)} of all pixels are "
            f"{ignore}, which is ignored: are these masks {present[0]}/{ignore}? Any network would "
            "score 100 %; save masks that hold the index of each class, by its place among the "
            "class names"
        ]

    def _absent_everywhere(self) -> Iterator[str]:
        absent = [name for name, total in self._named_totals() if not total]
        if not absent:
            return
        text = f"no split has a pixel of class {name_some(absent)}"
        share = self._ignored_share()
        if share >= MANY:
            text += (
                f", while {_percent(share)} of all pixels are {self.ignore_index}, which is "
                "ignored: are these that class?"
            )
        yield text

    def _of_split(
        self, split: str, trained: Collection[str], judged: Collection[str]
    ) -> Iterator[str]:
        counts, ignored = self.counts[split], self.ignored[split]
        if not counts.sum():
            yield _unlabelled(split, self.ignore_index)
            return
        elsewhere = self._totals() > 0
        absent = [
            name
            for name, here, known in zip(self.class_names, counts.sum(0), elsewhere, strict=True)
            if known and not here
        ]
        if absent:
            cannot = (["cannot be learned from it"] if split in trained else []) + (
                ["is not judged by it"] if split in judged else []
            )
            so = f", which {' and '.join(cannot)}" if cannot else ""
            yield f"split {split!r} has no pixel of class {name_some(absent)}{so}"
        share = ignored.sum() / (ignored.sum() + counts.sum())
        ignoring = f"are {self.ignore_index}, which is ignored"
        if (counts.sum(0) > 0).sum() == 1 and not self._one_value():
            only = int(counts.sum(0).argmax())
            yield (
                f"split {split!r} has one class alone, {self.class_names[only]!r}: to answer it is "
                "always right"
            ) + (
                f"; {_percent(share)} of its pixels {ignoring}: are its masks "
                f"{only}/{self.ignore_index}?"
                if share
                else ""
            )
        unlabelled = int((counts.sum(1) == 0).sum())
        if unlabelled:
            yield f"{unlabelled} of {len(counts)} images of split {split!r} have no labelled pixel"
        if share >= MOSTLY:
            yield f"{_percent(share)} of the pixels of split {split!r} {ignoring}"

    def _totals(self) -> NDArray[np.int64]:
        """Return the pixels of each class in all splits, (C,)."""
        zero = np.zeros(len(self.class_names), dtype=np.int64)
        return sum((counts.sum(0) for counts in self.counts.values()), zero)

    def _named_totals(self) -> Iterator[tuple[str, int]]:
        return zip(self.class_names, map(int, self._totals()), strict=True)

    def _ignored_share(self) -> float:
        ignored = sum(int(row.sum()) for row in self.ignored.values())
        return ignored / max(ignored + int(self._totals().sum()), 1)


def shared_remark(numbers: Mapping[tuple[str, str], int]) -> list[str]:
    """Say how many images two splits have in common; nothing where none do.

    Args:
        numbers: Images in common, by pair of splits.
    """
    pairs = [f"{a} and {b} ({number})" for (a, b), number in numbers.items() if number]
    if not pairs:
        return []
    more = f" and {len(pairs) - NUM_NAMED} more pairs" if len(pairs) > NUM_NAMED else ""
    return [
        f"splits have images in common: {', '.join(pairs[:NUM_NAMED])}{more}; a run that is "
        "trained on one of a pair is not to be judged by the other"
    ]


def name_some(names: Sequence[str]) -> str:
    """Quote the first few names and count the rest."""
    more = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return ", ".join(repr(name) for name in names[:NUM_NAMED]) + more


def _unlabelled(split: str, ignore_index: int) -> str:
    return f"split {split!r} has no labelled pixel: all are {ignore_index}, which is ignored"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
