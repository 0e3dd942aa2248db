"""What a grid costs beyond its runs' own work: starting, packing, checkpoints, report.

In: a spec and an engine. The command runs as a person would run it, in a process of its own, into
a fresh store; what its runs say of themselves is read from their results.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.grid.slots import plan_slots
from bench.speed.section import Section
from bench.store.runs import Store
from fcn.errors import InputError

NOTE = (
    "overhead: wall-clock time of the whole command × runs at a time ÷ seconds of training and "
    "evaluation, as results have them; 1 would be a machine that does nothing else. The command "
    "includes its own start, checks, packing, the start of each run, weights and records, slots "
    "without a run at the end, and the report: all that is `start-up and rest`, added up over runs "
    "at a time. ÷ one at a time: wall-clock time against that of the same grid one run after "
    "another, each with all the machine; training ÷ one at a time: that of training alone, without "
    "any start-up."
)

PACKED = 4
"""Runs at a time on a GPU, where small networks leave room for others."""


def grid_section(
    spec: str, engine: str, settings: Sequence[str], slots: Sequence[int], scratch: Path
) -> Iterator[Section]:
    """Run a grid from nothing, with each number of runs at a time, beside its runs' own time."""
    numbers = sorted(set(slots) or default_slots())  # one first: the others refer to it
    records = (
        measure_grid(spec, engine, settings, number, scratch / str(number)) | {"engine": engine}
        for number in numbers
    )
    return Section("grid", "Overhead of a grid", NOTE, ()).growing(records, beside_one)


def beside_one(records: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Set grids beside the first, where that had one run at a time."""
    one = records[0]
    if one["at a time"] != 1:
        return list(records)
    return [
        {
            **record,
            "÷ one at a time": record["wall, s"] / one["wall, s"],
            "training ÷ one at a time": record["training, s"]
            / record["at a time"]
            / one["training, s"],
        }
        for record in records
    ]


def default_slots() -> set[int]:
    """Return one, and the number of small runs that go on at a time on this machine."""
    from bench.run.environment import choose_device

    device = choose_device("auto")
    return {1, PACKED if device.type == "cuda" else len(plan_slots([str(device)], None))}


def measure_grid(
    spec: str, engine: str, settings: Sequence[str], num_slots: int, scratch: Path
) -> dict[str, Any]:
    """Run a grid in a fresh store.

    Args:
        spec: Name or path of an ablation that needs no data folder.
        engine: Name of an engine.
        settings: Texts `key=value` on top of the spec.
        num_slots: Runs at a time.
        scratch: Folder for the store and the report.

    Raises:
        InputError: A run did not finish.
    """
    runs, out = scratch / "runs", scratch / "out"
    command = [sys.executable, "-c", "from ablations.cli import main; main()", "run", spec]
    command += ["--runs", str(runs), "--out", str(out), "--engine", engine]
    command += ["--slots", str(num_slots)]
    command += [word for setting in settings for word in ("--set", setting)]
    before, start = time.time(), time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, time.time()
    if ended.returncode:
        raise InputError(f"`run {spec}` ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return describe_grid(Store(runs), num_slots, wall, before, after)


def describe_grid(
    store: Store, num_slots: int, wall: float, before: float, after: float
) -> dict[str, Any]:
    """Compare the time of a grid with that of its runs.

    Args:
        store: Where the grid's runs are, and no others.
        num_slots: Runs at a time.
        wall: Seconds of the whole command.
        before: Time of its start, by the clock that files carry.
        after: Time of its end.
    """
    results = [result for i in store.run_ids() if (result := store.result(i)) is not None]
    train = sum(result.train_seconds for result in results)
    evaluate = sum(result.evaluate_seconds for result in results)
    folders = [store.run_dir(result.run_id) for result in results]
    first = min((folder / "env.json").stat().st_mtime for folder in folders)
    last = max((folder / "result.json").stat().st_mtime for folder in folders)
    return {
        "runs": len(results),
        "at a time": num_slots,
        "wall, s": wall,
        "until the first run, s": first - before,
        "after the last, s": after - last,
        "training, s": train,
        "evaluation, s": evaluate,
        "start-up and rest, s": wall * num_slots - train - evaluate,
        "overhead": wall * num_slots / (train + evaluate),
    }
