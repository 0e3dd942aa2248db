"""On what each variant was judged: whose scores may be ranked, and taken from one another.

In: finished records by variant, and the arms that their counts gave. Out: a `Comparability`.
Scores are comparable where the same images were judged by the same labels and classes. Means over
classes need more: a class that no label names counts as 0 where it is predicted, and is left out
elsewhere, so that one pixel moves the mean by a whole share.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.metrics import class_counts
from bench.scoring import USUAL, Scoring
from bench.text import number_of
from reports.results.counts import group_sums
from reports.results.frame import Record
from reports.stats.pairs import Arm, Classes
from reports.style import enumerate_names

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """Images, labels and classes that a run was judged by; those that compare equal are the same.

    Only what is compared decides, whatever the dataset is called: two that differ in their
    training images alone judge alike.
    """

    key: str
    """Digest of the images' names and labels; without counts, of the place where they lie."""
    class_names: tuple[str, ...]
    place: str = field(compare=False)
    """In words, such as "test of camvid"."""
    num_evaluated: int = field(compare=False)
    """Images, those without a labelled pixel too."""
    num_images: int = field(compare=False)
    """Images with labels, where counts tell."""
    present: Classes = field(compare=False)
    """Classes with labelled pixels."""
    folds: str = field(default="", compare=False)
    """Of what the images are a fold, the same for all of its folds; empty where they are none."""

    def __str__(self) -> str:
        classes = number_of(len(self.class_names), "class")
        return f"{self.place} ({classes}, {number_of(self.num_images, 'image')})"


@dataclass(frozen=True)
class Comparability:
    """What the finished runs of each variant were judged on."""

    judged: Mapping[str, frozenset[Judged]] = field(default_factory=dict)
    counted: Mapping[str, Mapping[str, frozenset[Classes]]] = field(default_factory=dict)
    """By variant and score that is a mean over classes, those that each run's mean is over."""

    def holds(self, variants: Iterable[str], score: str = "pixel_acc") -> bool:
        """Say whether all finished runs of these variants can be compared by a score."""
        names = list(variants)
        if len({one for name in names for one in self.judged.get(name, ())}) > 1:
            return False
        counted = (self.counted.get(name, {}).get(score, ()) for name in names)
        return len({classes for found in counted for classes in found}) <= 1

    def describe(self) -> dict[str, str]:
        """Say in words what each variant was judged on, differently where it differs."""
        ones = {one for found in self.judged.values() for one in found}
        shown = {one: _tell_apart(one, [o for o in ones if str(o) == str(one)]) for one in ones}
        return {
            name: " and ".join(sorted(shown[one] for one in found))
            for name, found in self.judged.items()
            if found
        }


UNKNOWN = Comparability()
"""Nothing is known that would keep variants apart."""


def find_comparability(
    groups: Mapping[str, Sequence[Record]],
    arms: Mapping[str, Arm] | None = None,
    scoring: Scoring = USUAL,
) -> Comparability:
    """Find what each variant was judged on.

    Args:
        groups: Records by variant (or by side of a comparison); unfinished ones do not count.
        arms: What the counts of a variant gave. Of one without, the images are taken for those of
            another that was judged at the same place.
        scoring: What the question makes of counts.
    """
    arms = arms or {}
    done = {
        name: [record for record in records if record.result is not None]
        for name, records in groups.items()
    }
    known = {_place(r): arms[name] for name, found in done.items() if name in arms for r in found}
    return Comparability(
        judged={
            name: frozenset(_judge(r, arms.get(name) or known.get(_place(r))) for r in found)
            for name, found in done.items()
        },
        counted=_list_counted(done, scoring),
    )


def count_pixels(confusion: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Return the pixels of each class in the target and in the prediction, both (C,)."""
    _, in_target, in_pred = class_counts(np.array(confusion))
    return in_target, in_pred


def _tell_apart(one: Judged, alike: Sequence[Judged]) -> str:
    """Write what was judged on, with what tells it from others that would read the same."""
    text = str(one)
    if len({other.class_names for other in alike}) > 1:
        text += f", {enumerate_names(one.class_names)}"
    if len({other.key for other in alike}) > 1:
        text += f" [labels {one.key[:8]}]"
    return text


def _judge(record: Record, arm: Arm | None) -> Judged:
    run, result = record.planned.run, record.result
    assert result is not None
    place = f"{result.split} of {run.spec.data.dataset}"
    if run.spec.data.targets:
        place += f", {run.spec.data.targets[0]}"
    if run.spec.data.folds is not None:
        place += f", fold {run.spec.data.fold} of {run.spec.data.folds}"
    return Judged(
        key=arm.images if arm else _place(record),
        class_names=tuple(result.class_names),
        place=place,
        num_evaluated=result.num_images,
        num_images=arm.num_images if arm else result.num_images,
        present=tuple(np.flatnonzero(count_pixels(result.confusion)[0]).tolist()),
        folds=_folds(record),
    )


def _place(record: Record) -> str:
    """Name the images that judged a run, and the target, without having seen them."""
    assert record.result is not None
    run = record.planned.run
    fold = [_folds(record), str(run.spec.data.fold)] if run.spec.data.folds else []
    return "\n".join([run.fingerprint, record.result.split, *run.spec.data.targets[:1], *fold])


def _folds(record: Record) -> str:
    """Name what is parted into folds, and how; empty where a run is judged by no fold."""
    run = record.planned.run
    data = run.spec.data
    if data.folds is None:
        return ""
    how = [data.folds, data.draw_by, data.draw_seed, data.limit_images, run.groups]
    whole = [run.fingerprint, run.spec.evaluate.split, *data.targets[:1]]
    return "\n".join(map(str, [*whole, *how]))


def _list_counted(
    groups: Mapping[str, Sequence[Record]], scoring: Scoring
) -> dict[str, dict[str, frozenset[Classes]]]:
    """Return the classes of each run's means, by name and score; none of a run without pixels."""
    owned = [
        (name, record.result)
        for name, records in groups.items()
        for record in records
        if record.result is not None
    ]
    counted: dict[str, dict[str, set[Classes]]] = {name: {} for name in groups}
    for places, scorer, parts in group_sums([result for _, result in owned], scoring):
        for score, rows in scorer.counted(parts).items():
            for place, row in zip(places, rows, strict=True):
                if row.any():
                    own = counted[owned[place][0]].setdefault(score, set())
                    own.add(tuple(np.flatnonzero(row).tolist()))
    return {
        name: {score: frozenset(found) for score, found in own.items()}
        for name, own in counted.items()
    }
