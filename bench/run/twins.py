"""Twins: runs that differ in how they are judged alone. One of them trains, and all are judged.

In: a run and its store. Out: the record of a finished twin, whose weights and log the run takes
over in place of training. It would have made the same: images, settings and seed of training are
the same. Its id is that of its own content, whether or not a twin is at hand.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from bench.plan import Run
from bench.run.weights import load_weights
from bench.store.atomic import replacing
from bench.store.runs import Result, Store
from fcn.errors import InputError

LOG = "metrics.jsonl"


def find_twin(
    store: Store, run: Run, splits: Iterable[str]
) -> tuple[Result, dict[str, Tensor]] | None:
    """Return a finished run that was trained as this one is, and its weights; None for none.

    `splits` are those of its data, any of which may have judged it.
    """
    for run_id in run.twins(splits):
        with suppress(InputError):  # a damaged one is no help, and not this run's to mend
            result = store.result(run_id)
            if result is not None and (store.run_dir(run_id) / LOG).is_file():
                return result, load_weights(store, result)
    return None


def copy_log(store: Store, twin: Result, folder: Path) -> None:
    """Copy the log of a twin's training into a run's folder, whole or not at all."""
    with replacing(folder / LOG) as temporary:
        temporary.write_bytes((store.run_dir(twin.run_id) / LOG).read_bytes())
