"""The counts beside a report, `counts.npz`: whoever has them can compute all of its scores again.

In: counts of runs. Out: the bytes of a NumPy archive, the same for the same counts. Of the first
set of images `counts` (runs, images, 3 C) int32 (pixels that are right, in the target, in the
prediction, by class), with `variants`, `seeds` and `runs` (runs,), `names` and `groups` (images,;
empty where not known) and `class_names` (C,); `boundary` (runs, images, 2 C) where it was counted.
What was judged on further images has the same keys with `_1`, `_2` and so on behind them.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from reports.results.counts import Counts

MAX_BYTES = 64 * 2**20
"""Most that is written, before it is compressed: a report is to be sent around."""


class Counted(NamedTuple):
    """The counts of one run, and whose they are."""

    variant: str
    seed: int
    run_id: str
    counts: Counts


def pack_counts(runs: Iterable[Counted]) -> bytes:
    """Put counts into an archive; none where there are none."""
    sets: dict[tuple[str, int], list[Counted]] = {}
    for run in runs:
        sets.setdefault((run.counts.images, run.counts.values.shape[1]), []).append(run)
    if not sets:
        return b""
    arrays: dict[str, Any] = {}
    for number, own in enumerate(sets.values()):
        suffix = f"_{number}" * (number > 0)
        arrays |= {f"{key}{suffix}": value for key, value in _list_arrays(own).items()}
    file = BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _list_arrays(runs: list[Counted]) -> Mapping[str, Any]:
    first = runs[0].counts
    values = np.stack([run.counts.values for run in runs])
    arrays = {
        "counts": values[:, :, : 3 * first.num_classes],
        "variants": np.array([run.variant for run in runs]),
        "seeds": np.array([run.seed for run in runs]),
        "runs": np.array([run.run_id for run in runs]),
        "names": np.array(first.names),
        "groups": np.array(first.groups or [""] * len(first.names)),
        "class_names": np.array(first.class_names),
    }
    if values.shape[2] > 3 * first.num_classes:
        arrays["boundary"] = values[:, :, 3 * first.num_classes :]
    return arrays
