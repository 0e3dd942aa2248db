"""Counts of one run, image by image, read on demand and put so that runs can be compared.

In: a store and the record of a finished run. Out: `Counts`, condensed to what scores need. Images
without one labelled pixel say nothing of a network and are none of them.
"""

import hashlib
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.data.packs.groups import read_groups
from bench.metrics import (
    BOUNDARY,
    CALIBRATION,
    CONFUSION,
    KINDS,
    SURFACE,
    class_counts,
    count_columns,
)
from bench.scoring import USUAL, Scorer, Scoring
from bench.store.evaluation_file import EvaluationFile, UnusableCountsError
from bench.store.runs import Result, Store
from bench.store.scored import Scored, counts_file

Floats = NDArray[np.float64]
RECORDED = (BOUNDARY, SURFACE, CALIBRATION)
"""What a record holds beside the confusion, under its own name, where a spec asks for it."""
SCORED_AT_ONCE = 2**22
"""Largest number of counts that are scored together: 32 MiB."""


@dataclass(frozen=True)
class Counts:
    """Counts of one run, its labelled images sorted by name."""

    values: NDArray[np.integer]
    """Condensed counts, (N, K): rows of each kind, one behind the other; K is 3 C, or 5 C with the
    boundary's."""
    class_names: tuple[str, ...]
    images: str
    """Digest of the images' names and labels: runs that share it can be paired."""
    groups: tuple[str, ...] = ()
    """What each image belongs to, such as its clip; none where that is not known."""
    names: tuple[str, ...] = ()
    """Of the images."""
    kinds: tuple[str, ...] = (CONFUSION,)
    """What was counted, in the order of the columns."""

    @classmethod
    def of(
        cls,
        values: NDArray[np.integer],
        *,
        class_names: tuple[str, ...],
        groups: tuple[str, ...],
        names: tuple[str, ...],
        kinds: tuple[str, ...] = (CONFUSION,),
    ) -> "Counts":
        """Put counts, (N, K), of labelled images sorted by name together with these's digest."""
        C = len(class_names)
        digest = hashlib.sha256("\n".join(names).encode())
        labels = np.ascontiguousarray(values[:, C : 2 * C], dtype=np.int32)
        digest.update(labels.tobytes())
        return cls(values, class_names, digest.hexdigest()[:16], groups, names, kinds)

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    def keep(self, kinds: Sequence[str]) -> "Counts":
        """Return the same with these kinds alone."""
        kept = tuple(kind for kind in self.kinds if kind in kinds)
        if kept == self.kinds:
            return self
        parts = split_parts(self.values, self.kinds, self.num_classes)
        rows = [parts[kind].reshape(len(self.values), -1) for kind in kept]
        return replace(self, values=np.concatenate(rows, axis=1), kinds=kept)

    def scorer(self, scoring: Scoring = USUAL) -> Scorer:
        """Return what scores sums of these counts as a question wants it."""
        C = self.num_classes
        in_target = self.values[:, C : 2 * C].sum(0, dtype=np.int64)
        return Scorer.of(scoring, self.kinds, self.class_names, in_target)


def keep_shared(counts: Mapping[int, Counts]) -> dict[int, Counts]:
    """Keep of each seed's counts what all have, such as the boundary's only where none lacks it."""
    shared = set.intersection(*(set(one.kinds) for one in counts.values())) if counts else set()
    return {seed: one.keep(tuple(shared)) for seed, one in counts.items()}


class CondensedStore(Store):
    """A store that has counts as `Counts` already, and no more than these."""

    @abstractmethod
    def counts(self, result: Result, target: str | None) -> Counts:
        """Return the counts of a finished run; as `read_counts`."""


def read_counts(store: Store, result: Result, target: str | None = None) -> Counts:
    """Read the counts of a finished run.

    Args:
        store: Where they are.
        result: Record of the run.
        target: Name of a further target, of which confusions alone are read; None for the first.

    Raises:
        UnusableCountsError: The file is missing or damaged, is not what the record says, or holds
            no labelled pixel.
    """
    if isinstance(store, CondensedStore):
        return store.counts(result, target)
    file = store.evaluation(result)
    class_names = tuple(result.counted(target)["class_names"])
    groups = _find_groups(store, str(result.run["fingerprint"]), result.split, file.names)
    return _condense(file, class_names, groups, target)


def read_scored_counts(store: Store, scored: Scored) -> Counts:
    """Read the counts of an evaluation after training.

    Raises:
        UnusableCountsError: As `read_counts`.
    """
    file = counts_file(store.root, scored)
    groups = _find_groups(store, scored.fingerprint, scored.split, file.names)
    return _condense(file, scored.class_names, groups, None)


def _condense(
    file: EvaluationFile, class_names: tuple[str, ...], groups: list[str], target: str | None
) -> Counts:
    """Put a file's counts so that they can be compared: labelled images alone, by name."""
    names, condensed = file.names, class_counts(file.confusions(target))
    known = {BOUNDARY: file.boundaries, SURFACE: file.surfaces, CALIBRATION: file.calibrations}
    further = {} if target else {kind: read() for kind, read in known.items()}
    order = np.argsort(names, kind="stable")
    order = order[condensed[order, 1].any(axis=1)]
    if not len(order):
        raise UnusableCountsError(file.path, "hold no labelled pixel", "nothing follows from them")
    parts: dict[str, NDArray[np.integer]] = {CONFUSION: condensed.astype(np.int32)}
    parts |= {kind: counts for kind, counts in further.items() if counts is not None}
    groups = groups or file.groups()
    return Counts.of(
        join_parts({kind: counts[order] for kind, counts in parts.items()}),
        class_names=class_names,
        groups=tuple(groups[i] for i in order) if groups else (),
        names=tuple(names[i] for i in order),
        kinds=tuple(parts),
    )


def _find_groups(store: Store, fingerprint: str, split: str, names: Sequence[str]) -> list[str]:
    """Return the group of each image as the store knows them now, if it does.

    They may be told after the run was made.
    """
    pack = store.packs_dir / fingerprint[:16]
    known = read_groups(pack).get(split, {})
    return [known[name] for name in names] if all(name in known for name in names) else []


def split_parts(
    values: NDArray[np.number], kinds: Sequence[str], num_classes: int
) -> dict[str, NDArray[np.number]]:
    """Take condensed counts, (..., K), apart: by kind the rows, (..., R, C)."""
    parts, start = {}, 0
    for kind in kinds:
        shape = KINDS[kind], count_columns(kind, num_classes)
        own = values[..., start : start + math.prod(shape)]
        parts[kind] = own.reshape(*values.shape[:-1], *shape)
        start += math.prod(shape)
    return parts


def join_parts(parts: Mapping[str, NDArray[np.integer]]) -> NDArray[np.integer]:
    """Put counts of N images by kind, (N, R, C), into one array, (N, K)."""
    flat = [counts.reshape(len(counts), -1) for counts in parts.values()]
    joined: NDArray[np.integer] = np.concatenate(flat, axis=1)
    return joined


def group_sums(
    results: Sequence[Result], scoring: Scoring = USUAL
) -> Iterator[tuple[list[int], Scorer, dict[str, NDArray[np.int64]]]]:
    """Put the counts of records together, many at once, so that they can be scored.

    Yields:
        Places in `results`, what scores them, and their sums by kind, (n, R, C).
    """
    alike: dict[object, list[int]] = {}
    for place, result in enumerate(results):
        kinds = tuple(kind for kind in RECORDED if getattr(result, kind) is not None)
        labels = tuple(map(sum, result.confusion)) if scoring.absent else None
        alike.setdefault((result.class_names, kinds, labels), []).append(place)
    for places in alike.values():
        step = max(1, SCORED_AT_ONCE // max(len(results[places[0]].class_names), 1) ** 2)
        for start in range(0, len(places), step):
            own = places[start : start + step]
            found = [results[place] for place in own]
            parts = {CONFUSION: class_counts(np.array([one.confusion for one in found]))}
            for kind in RECORDED:
                if getattr(found[0], kind) is not None:
                    parts[kind] = np.array([getattr(one, kind) for one in found])
            in_target = parts[CONFUSION][0, 1]
            yield own, Scorer.of(scoring, tuple(parts), found[0].class_names, in_target), parts


def score_flat(
    counts: NDArray[np.number], num_classes: int, scorer: Scorer | None = None
) -> tuple[Floats, Floats]:
    """Derive scores from condensed counts.

    Args:
        counts: Sums over images, (..., K), as in `Counts.values`.
        num_classes: Number of classes C.
        scorer: What a question makes of them; None for the four scores of confusions. Means over
            images need the columns of `add_images`.

    Returns:
        Scores in the order of `Scorer.names`, (..., M), and IoU by class, (..., C).
    """
    if scorer is None:
        scorer = Scorer.of(USUAL, (CONFUSION,), (), np.ones(num_classes))
    parts = split_parts(counts, scorer.kinds, num_classes)
    start = sum(KINDS[kind] * count_columns(kind, num_classes) for kind in scorer.kinds)
    for name in scorer.by_image:
        parts[name] = counts[..., start : start + 2, None]
        start += 2
    scores = scorer.score(parts)
    return np.stack(list(scores.values()), axis=-1), scorer.of_classes(parts)["IoU"]


def add_images(
    values: NDArray[np.integer], num_classes: int, scorer: Scorer
) -> NDArray[np.integer]:
    """Add what means over images need to condensed counts of images, (..., N, K).

    Returns:
        Two columns more for each such mean; the counts as they are where there is none.
    """
    if not scorer.by_image:
        return values
    found = scorer.of_images(split_parts(values, scorer.kinds, num_classes))
    return np.concatenate([values.astype(np.int64), *(own[..., 0] for own in found.values())], -1)
