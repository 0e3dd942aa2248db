"""The counts beside a report, `counts.npz`: whoever has them can compute all of its scores again.

In: counts of runs, and what judged them. Out: the bytes of a NumPy archive, the same for the same
input; and back. Of the first set of images and classes:

counts       (runs, images, 3 C): pixels that are right, in the target, in the prediction
boundary     (runs, images, 2 C), where it was counted: intersections, unions
surface      (runs, images, 2 C), likewise: distances between outlines, pixels of these
calibration  (runs, images, 4 B), likewise: pixels, right ones, confidence and loss by confidence
has_boundary, has_surface, has_calibration   (runs,)
variants, seeds, runs   (runs,): whose they are
names, groups           (images,); groups are empty where not known
class_names  (C,)
target       name of a further target; empty for the first

Further sets have the same keys with `_1`, `_2` and so on behind them. What else is there is for
`recompute.py`: see `reports.stats.recomputing`.
"""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.metrics import CONFUSION, KINDS, count_columns
from bench.store.evaluation_file import UNREADABLE
from fcn.errors import InputError
from reports.results.counts import RECORDED, Counts, split_parts

MAX_BYTES = 64 * 2**20
"""Most that is written, before it is compressed: a report is to be sent around."""

Arrays = Mapping[str, Any]


class Counted(NamedTuple):
    """The counts of one run, and whose they are."""

    variant: str
    seed: int
    run_id: str
    counts: Counts
    target: str = ""
    """Name of the further target that they are of; empty for the first."""


def list_sets(runs: Iterable[Counted]) -> list[list[Counted]]:
    """Put together what was counted on the same images, in the same classes."""
    sets: dict[tuple[object, ...], list[Counted]] = {}
    for run in runs:
        sets.setdefault((run.target, run.counts.images, run.counts.class_names), []).append(run)
    return list(sets.values())


def pack_counts(sets: Sequence[Sequence[Counted]], more: Arrays | None = None) -> bytes:
    """Put counts into an archive; none where there are none.

    Args:
        sets: What `list_sets` gives.
        more: Further arrays by name.
    """
    if not sets:
        return b""
    arrays: dict[str, Any] = {}
    for number, own in enumerate(sets):
        arrays |= {name_key(key, number): value for key, value in _list_arrays(own).items()}
    file = BytesIO()
    np.savez_compressed(file, **arrays, **(more or {}))
    return file.getvalue()


def name_key(key: str, number: int) -> str:
    """Return the name of a set's array."""
    return f"{key}_{number}" if number else key


def unpack_counts(path: Path) -> list[Counted]:
    """Read what `pack_counts` wrote; images have the digests that they had.

    Raises:
        InputError: It is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return [run for number in _count_sets(arrays) for run in _read_set(arrays, number)]
    except UNREADABLE as error:
        raise InputError(
            f"{path} is not what this version writes ({type(error).__name__}: {error}); write the "
            "report again from its store: fcn-bench report SPEC"
        ) from None


def _list_arrays(runs: Sequence[Counted]) -> Mapping[str, Any]:
    first = runs[0].counts
    C = first.num_classes
    arrays = {
        "counts": np.stack([run.counts.values[:, : 3 * C] for run in runs]),
        "variants": np.array([run.variant for run in runs]),
        "seeds": np.array([run.seed for run in runs]),
        "runs": np.array([run.run_id for run in runs]),
        "names": np.array(first.names),
        "groups": np.array(first.groups or [""] * len(first.names)),
        "class_names": np.array(first.class_names),
        "target": np.array(runs[0].target),
    }
    for kind in RECORDED:
        has = [kind in run.counts.kinds for run in runs]
        if any(has):
            none: NDArray[np.number] = np.zeros(
                (len(first.values), KINDS[kind] * count_columns(kind, C)), np.int32
            )
            found = [
                _take(run.counts, kind) if own else none for run, own in zip(runs, has, strict=True)
            ]
            arrays[kind], arrays[f"has_{kind}"] = np.stack(found), np.array(has)
    return arrays


def _take(counts: Counts, kind: str) -> NDArray[np.number]:
    """Return the columns of one kind, (N, R C)."""
    parts = split_parts(counts.values, counts.kinds, counts.num_classes)
    return parts[kind].reshape(len(counts.values), -1)


def _count_sets(arrays: Arrays) -> range:
    number = 0
    while name_key("counts", number) in arrays:
        number += 1
    return range(number)


def _read_set(arrays: Arrays, number: int) -> Iterable[Counted]:
    own = {key: arrays[name_key(key, number)] for key in _KEYS}
    names, groups = (tuple(own[key].tolist()) for key in ("names", "groups"))
    none = np.zeros(len(own["runs"]), dtype=bool)
    for k, run_id in enumerate(own["runs"].tolist()):
        parts = {CONFUSION: own["counts"][k]}
        for kind in RECORDED:
            if arrays.get(name_key(f"has_{kind}", number), none)[k]:
                parts[kind] = arrays[name_key(kind, number)][k]
        counts = Counts.of(
            np.concatenate(list(parts.values()), axis=1),
            class_names=tuple(own["class_names"].tolist()),
            groups=groups if any(groups) else (),
            names=names,
            kinds=tuple(parts),
        )
        variant, seed = str(own["variants"][k]), int(own["seeds"][k])
        yield Counted(variant, seed, run_id, counts, str(own["target"]))


_KEYS = ("counts", "variants", "seeds", "runs", "names", "groups", "class_names", "target")
