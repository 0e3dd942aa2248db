"""The store at scale: what planning, skipping, reading and reporting cost by the number of runs.

Lives here because it measures across all floors. Runs are written in the real format by
`bench.speed.synthetic`; everything is read with the files in the system's cache.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from ablations.planning import plan_spec
from bench.grid.contracts import Exit
from bench.grid.controller import execute_plan
from bench.grid.progress import GridProgress
from bench.speed.section import Section
from bench.speed.synthetic import Sizes, fill
from bench.speed.timing import Spread
from bench.store.runs import Store
from reports.page import write_report
from reports.results.frame import runs_frame

NUM_SEEDS = 5
SKIPS = ("fcn32s", "fcn16s", "fcn8s", "fcn4s")
REPEATS = 5
MIB = 2**20


NOTE = (
    "Seconds with the files in the system's cache, median and quartiles; the report once. plan and "
    "skip: what `fcn-bench run` does before its report when every run is done. frame: the results "
    "read and scored as a pandas frame. ids: the runs of a store listed. report: page, tables and "
    "figures. Each run has 11 classes, counts of 16 images and a log of 100 steps."
)


def store_section(numbers: Sequence[int], scratch: Path, *, most_reported: int) -> Section:
    """Measure stores of some numbers of runs."""
    records = measure_store(numbers, scratch, most_reported=most_reported)
    return Section("store", "Store and report by the number of runs", NOTE, records)


def measure_store(
    numbers: Sequence[int], scratch: Path, *, most_reported: int
) -> list[dict[str, Any]]:
    """Measure stores of some sizes.

    Args:
        numbers: Numbers of runs.
        scratch: Folder for the stores.
        most_reported: Largest number of runs for which a report is written.

    Returns:
        A record for each number: seconds, and growth of each against the number of runs.
    """
    return [_measure(number, scratch / str(number), number <= most_reported) for number in numbers]


def _measure(number: int, folder: Path, with_report: bool) -> dict[str, Any]:
    folder.mkdir(parents=True)
    spec, store = write_spec(folder / "many.yaml", number), Store(folder / "runs")
    plan, _ = plan_spec(str(spec), store, None, None)
    fill(store, plan, Sizes())
    record: dict[str, Any] = {"runs": len(plan.runs), "variants": len(plan.variants)}
    record["plan and skip, s"] = _time(lambda: plan_and_skip(spec, store))
    record["frame, s"] = _time(lambda: runs_frame(plan, store))
    record["ids, s"] = _time(lambda: list(store.run_ids()))
    report = _time(lambda: write_report(plan, store, folder / "out"), 1) if with_report else None
    record["report, s"] = report and report.median
    pages = folder / "out" / "index.html"
    record["page, MiB"] = pages.stat().st_size / MIB if with_report else None
    return record


def plan_and_skip(spec: Path, store: Store) -> int:
    """Do all that `fcn-bench run` does before its report when every run is done.

    Returns:
        The number of runs that are not done: none.
    """
    plan, _ = plan_spec(str(spec), store, None, None)
    missing = [run for run in plan.unique_runs() if store.status(run.id) != "done"]
    assert not missing
    with GridProgress(plan, store, Console(quiet=True)) as progress:
        return execute_plan(plan, store, _NoEngine(), progress)


def write_spec(path: Path, number: int) -> Path:
    """Write a question of `number` runs: backbones by skips by learning rates, by seeds."""
    seeds = min(NUM_SEEDS, number)
    skips = SKIPS[: max(1, min(len(SKIPS), number // seeds))]
    backbones = [f"net{i}" for i in range(max(1, min(10, number // (seeds * len(skips)))))]
    rates = max(1, number // (seeds * len(skips) * len(backbones)))
    values = {
        "question": "Which of very many?",
        "common": {"data": {"dataset": "shapes"}, "train": {"steps": 100}},
        "grid": {
            "model.backbone": backbones,
            "model.skip": list(skips),
            "train.lr": [round(1e-4 * (1 + i), 6) for i in range(rates)],
        },
        "seeds": list(range(seeds)),
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def _time(work: Callable[[], object], repeats: int = REPEATS) -> Spread:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return Spread.of(seconds)


class _NoEngine:
    """An engine that must not be used."""

    def free_slots(self) -> int:
        return 0

    def start(self, run_dir: Path) -> None:
        raise AssertionError(run_dir)

    def poll(self, seconds: float) -> list[Exit]:
        return []

    def is_queued(self, run_id: str) -> bool:
        raise AssertionError(run_id)

    def kill(self, run_id: str) -> None:
        raise AssertionError(run_id)

    def stop(self) -> None:
        pass
