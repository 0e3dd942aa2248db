"""A finished run made again from its record, and held against it: the same bits, or how far apart.

In: a store and a run. Out: a `Reproduction`. The second run is made in a store of its own, which
sees the images and the parents of the first; nothing of the first store is written.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from safetensors.numpy import load

from bench.data.catalog import open_data
from bench.grid.controller import execute_plan
from bench.grid.gpus import choose_devices
from bench.grid.local import LocalEngine
from bench.grid.progress import GridProgress
from bench.grid.slots import Slot, plan_slots
from bench.metrics import summarize
from bench.plan import Plan, PlannedRun, Run
from bench.plugins import absolute
from bench.store.runs import EXACT_KEYS, Result, Store
from fcn.errors import InputError

BITS = ("model.safetensors", "eval")
"""Files that are the same to the bit where everything that decides bits is: weights and counts."""


@dataclass(frozen=True)
class Reproduction:
    """How a run came out the second time."""

    run_id: str
    is_same: bool
    """Whether weights and counts have the same digests."""
    same_weights: bool
    same_counts: bool
    largest_difference: float
    """Between two weights; 0 where all are equal."""
    changed_share: float
    """Of the labelled pixels, those counted in another cell, at least: a fraction."""
    miou: tuple[float, float]
    """Of the record, and of the second run, as fractions."""
    changed: tuple[str, ...]
    """What of the machine and the software differs, as `key: before, now after`."""
    decides_bits: bool
    """Whether something is among these that bits depend on."""
    folder: str
    """Folder of the second run; empty where it was not kept."""

    def lines(self) -> Iterator[str]:
        """Yield what a person is told."""
        if self.is_same:
            yield f"{self.run_id}: the same bits: weights and counts have the recorded digests"
        else:
            before, now = (100 * value for value in self.miou)
            yield (
                f"{self.run_id}: not the same bits: mIoU {now:.2f} % in place of {before:.2f} % "
                f"({now - before:+.2f}), at least {100 * self.changed_share:.3g} % of the pixels "
                f"counted otherwise, largest difference of a weight {self.largest_difference:.3g}"
            )
        for text in self.changed:
            yield f"changed: {text}"
        if not self.is_same and not self.decides_bits:
            yield (
                "nothing that is recorded of machine and software explains it; on a GPU "
                "train.deterministic makes runs repeat to the bit"
            )
        if self.folder:
            yield f"the second run: {self.folder}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a difference without end is none."""
        finite = self.largest_difference if np.isfinite(self.largest_difference) else None
        return asdict(self) | {"largest_difference": finite}


def reproduce(
    store: Store,
    run_id: str,
    device: str,
    threads: int | None,
    plugins: Sequence[str] = (),
    keep: Path | None = None,
) -> Reproduction:
    """Train and evaluate a finished run again, in a process of its own.

    Args:
        store: Where it is.
        run_id: The run.
        device: Where to compute, as torch spells it, or auto: the kind that the run was on.
        threads: CPU threads; None for as many as the run had.
        plugins: Modules that the process imports.
        keep: Folder of a new store that the second run stays in.

    Raises:
        InputError: The run is not finished, its images are gone, or it cannot be made here.
    """
    result, run = store.result(run_id), store.run(run_id)
    if result is None:
        raise InputError(f"run {run_id} is not finished, so that there is nothing to hold against")
    run.require_current()
    open_data(store, run)
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise InputError(f"{keep} is not empty; give --keep a new folder")
    slot = _slot_like(result, device, threads)
    with _place(keep) as root:
        second = _second_store(store, run, root)
        seed = run.spec.seed
        names = store.names.by_id.get(run_id, ())
        planned = PlannedRun(names[0].variant if names else run_id, run)
        plan = Plan(f"{run_id} again", "Do the same bits come out?", "", (planned,))
        with GridProgress(plan, second, Console(stderr=True, highlight=False)) as watcher:
            execute_plan(plan, second, LocalEngine([slot], absolute(plugins)), watcher)
        again = second.result(run_id)
        if again is None:
            failure = second.failure(run_id)
            why = f": {failure.reason}: {failure.message}" if failure else ""
            raise InputError(f"run {run_id} (seed {seed}) could not be made again{why}")
        folder = "" if keep is None else str(second.run_dir(run_id))
        return _compare(store, second, result, again, folder)


def _slot_like(result: Result, device: str, threads: int | None) -> Slot:
    """Return a slot as the run had it: device and threads decide the last bits."""
    recorded = result.environment
    if device == "auto":
        device = recorded.get("device", "auto")
    (chosen,), gpus = choose_devices([device])
    processes = recorded.get("processes", 1)
    (slot, *_) = plan_slots([chosen] * (processes if chosen != "cpu" else 1), 1, processes,
                            [gpu.uuid for gpu in gpus])  # fmt: skip
    wanted = threads or (recorded.get("threads") if chosen == "cpu" else None)
    return slot if wanted is None else Slot(slot.device, wanted, slot.further, slot.gpus)


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    """Give the folder of the second store."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="fcn-bench-reproduce-") as folder:
        yield Path(folder)


def _second_store(store: Store, run: Run, root: Path) -> Store:
    """Make a store that has the images and parents of a run, by links."""
    second = Store(root)
    second.begin()
    second.packs_dir.mkdir(exist_ok=True)
    pack = store.packs_dir / run.fingerprint[:16]
    (second.packs_dir / pack.name).symlink_to(pack.resolve(), target_is_directory=True)
    for parent in run.parents:
        link = second.run_dir(parent)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(store.run_dir(parent).resolve(), target_is_directory=True)
    return second


def _compare(
    first: Store, second: Store, result: Result, again: Result, folder: str
) -> Reproduction:
    same = {
        name: digest == again.digests.get(name)
        for name, digest in result.digests.items()
        if name.startswith(BITS)
    }
    same_weights = same.get("model.safetensors", False)
    same_counts = all(is_same for name, is_same in same.items() if name.startswith("eval"))
    counts = [np.asarray(one.confusion, dtype=np.int64) for one in (result, again)]
    changed = list(_list_changes(result, again))
    return Reproduction(
        run_id=result.run_id,
        is_same=same_weights and same_counts,
        same_weights=same_weights,
        same_counts=same_counts,
        largest_difference=0.0 if same_weights else _largest(first, second, result.run_id),
        changed_share=float(np.abs(counts[0] - counts[1]).sum() / 2 / max(1, counts[0].sum())),
        miou=(summarize(counts[0]).miou, summarize(counts[1]).miou),
        changed=tuple(text for _, text in changed),
        decides_bits=any(key in EXACT_KEYS for key, _ in changed),
        folder=folder,
    )


def _list_changes(result: Result, again: Result) -> Iterator[tuple[str, str]]:
    """Yield the facts of the environment that differ."""
    before, now = dict(result.environment), dict(again.environment)
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            yield key, f"{key}: {before.get(key, 'not recorded')}, now {now.get(key, 'nothing')}"


def _largest(first: Store, second: Store, run_id: str) -> float:
    """Return the largest difference of two weights; infinite where they are not of one network."""
    files = [store.run_dir(run_id) / "model.safetensors" for store in (first, second)]
    if not all(file.is_file() for file in files):
        return float("inf")
    one, other = (load(file.read_bytes()) for file in files)
    if one.keys() != other.keys():
        return float("inf")
    return max(
        (float(np.abs(one[k].astype(np.float64) - other[k].astype(np.float64)).max(initial=0))
         for k in one),
        default=0.0,
    )  # fmt: skip
