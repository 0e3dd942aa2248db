"""Counts of one run, image by image, read on demand and put so that runs can be compared.

In: a store and the record of a finished run. Out: `Counts`, condensed to what scores need. Images
without one labelled pixel say nothing of a network and are none of them.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.packs.groups import read_groups
from bench.metrics import BOUNDARY_SCORE, SCORES, class_counts, score_boundary, score_counts
from bench.store.evaluation_file import EvaluationFile, UnusableCountsError
from bench.store.runs import Result, Store
from bench.store.scored import Scored, counts_file

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Counts of one run, its labelled images sorted by name."""

    values: NDArray[np.int32]
    """Condensed counts, (N, K): K is 3 C, or 5 C with the boundary's."""
    class_names: tuple[str, ...]
    images: str
    """Digest of the images' names and labels: runs that share it can be paired."""
    groups: tuple[str, ...] = ()
    """What each image belongs to, such as its clip; none where that is not known."""
    names: tuple[str, ...] = ()
    """Of the images."""

    @classmethod
    def of(
        cls,
        values: NDArray[np.int32],
        *,
        class_names: tuple[str, ...],
        groups: tuple[str, ...],
        names: tuple[str, ...],
    ) -> "Counts":
        """Put counts, (N, K), of labelled images sorted by name together with these's digest."""
        C = len(class_names)
        digest = hashlib.sha256("\n".join(names).encode())
        digest.update(np.ascontiguousarray(values[:, C : 2 * C]).tobytes())  # the labels
        return cls(values, class_names, digest.hexdigest()[:16], groups, names)

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores that these counts give."""
        with_boundary = self.values.shape[1] > 3 * self.num_classes
        return (*SCORES, BOUNDARY_SCORE) if with_boundary else SCORES


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
        target: Name of a further target, whose boundary is left out; None for the first.

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
    boundaries = None if target else file.boundaries()
    C = len(class_names)
    order = np.argsort(names, kind="stable")
    order = order[condensed[order, 1].any(axis=1)]
    if not len(order):
        raise UnusableCountsError(file.path, "hold no labelled pixel", "nothing follows from them")
    condensed = condensed[order].astype(np.int32)
    parts = [condensed.reshape(len(order), 3 * C)]
    if boundaries is not None:
        parts.append(boundaries[order].reshape(len(order), 2 * C))
    groups = groups or file.groups()
    return Counts.of(
        np.concatenate(parts, axis=1),
        class_names=class_names,
        groups=tuple(groups[i] for i in order) if groups else (),
        names=tuple(names[i] for i in order),
    )


def _find_groups(store: Store, fingerprint: str, split: str, names: Sequence[str]) -> list[str]:
    """Return the group of each image as the store knows them now, if it does.

    They may be told after the run was made.
    """
    pack = store.packs_dir / fingerprint[:16]
    known = read_groups(pack).get(split, {})
    return [known[name] for name in names] if all(name in known for name in names) else []


def score_flat(counts: NDArray[np.number], num_classes: int) -> tuple[Floats, Floats]:
    """Derive scores from condensed counts.

    Args:
        counts: Sums over images, (..., K), as in `Counts.values`.
        num_classes: Number of classes C.

    Returns:
        Scores in the order of `Counts.scores`, (..., M), and IoU by class, (..., C).
    """
    C, shape = num_classes, counts.shape[:-1]
    plain = score_counts(counts[..., : 3 * C].reshape(*shape, 3, C))
    columns = [plain[name] for name in SCORES]
    if counts.shape[-1] > 3 * C:
        edges = score_boundary(counts[..., 3 * C :].reshape(*shape, 2, C))
        columns.append(edges[BOUNDARY_SCORE])
    return np.stack(columns, axis=-1), plain["iou"]
