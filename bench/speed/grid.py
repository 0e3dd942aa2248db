"""What a grid costs beyond its runs' own work: starting, packing, checkpoints, report.

In: a spec and an engine. The command runs as a person would run it, in a process of its own, into
a fresh store; what its runs say of themselves is read from their results.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.grid.slots import plan_slots
from bench.speed.section import Section
from bench.store import Store
from fcn.errors import InputError

NOTE = (
    "overhead: wall-clock time of the whole command × runs at a time ÷ seconds of training and "
    "evaluation, as results have them; 1 would be a machine that does nothing else. The command "
    "includes its own start, checks, packing, the start of each run, weights and records, slots "
    "without a run at the end, and the report."
)


def grid_section(spec: str, engine: str, settings: Sequence[str], scratch: Path) -> Section:
    """Run a grid from nothing and compare its time with that of its runs."""
    record = measure_grid(spec, engine, settings, scratch)
    return Section("grid", "Overhead of a grid", NOTE, [record])


def measure_grid(spec: str, engine: str, settings: Sequence[str], scratch: Path) -> dict[str, Any]:
    """Run a grid in a fresh store.

    Args:
        spec: Name or path of an ablation that needs no data folder.
        engine: Name of an engine.
        settings: Texts `key=value` on top of the spec.
        scratch: Folder for the store and the report.

    Raises:
        InputError: A run did not finish.
    """
    runs, out = scratch / "grid-runs", scratch / "grid-out"
    command = [sys.executable, "-c", "from ablations.cli import main; main()", "run", spec]
    command += ["--runs", str(runs), "--out", str(out), "--engine", engine]
    command += [word for setting in settings for word in ("--set", setting)]
    before, start = time.time(), time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, time.time()
    if ended.returncode:
        raise InputError(f"`run {spec}` ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return describe_grid(Store(runs), len(_slots()), wall, before, after) | {"engine": engine}


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
        "overhead": wall * num_slots / (train + evaluate),
    }


def _slots() -> list[object]:
    from bench.run.environment import choose_device

    return list(plan_slots([str(choose_device("auto"))], None))
