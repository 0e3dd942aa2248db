"""Start-up: how long a person waits before anything happens, beside importing torch alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.data.catalog import Catalog
from bench.grid.contracts import Engine, Exit
from bench.grid.engines import Request, create_engine
from bench.plan import Run
from bench.run.outcome import DONE
from bench.spec import DataSpec, EvaluateSpec, ModelSpec, RunSpec, TrainSpec
from bench.speed.section import Section
from bench.speed.timing import Side, Spread, interleave, speed_ratio
from bench.store.runs import Store

NOTE = (
    "Seconds, median and quartiles of fresh processes that take turns, files in the system's "
    "cache; `× import torch` is round by round. A run of one step is a whole process, from its "
    "start to its result: imports, network, images, step, evaluation, costs, record."
)
IMPORT = "python -c 'import torch'"
HELP = "fcn-bench --help"
TINY: dict[str, int | float | str | bool] = {
    "size": 32, "num_train": 4, "num_val": 1, "num_test": 1
}  # fmt: skip


def startup_section(scratch: Path, rounds: int) -> Section:
    """Time commands and runs that do next to nothing."""
    command = [sys.executable, "-c", "from ablations.cli import main; main()"]
    work: dict[str, Callable[[], object]] = {
        IMPORT: lambda: _call([sys.executable, "-c", "import torch"]),
        HELP: lambda: _call([*command, "--help"]),
        "fcn-bench list": lambda: _call([*command, "list"]),
    }
    for engine in ("local", "warm"):
        work[f"run of one step, engine {engine}"] = _OneStep(scratch / engine, engine)
    sides = {name: Side(call, warm_up=0) for name, call in work.items()}
    for side in sides.values():
        side.step()  # files come into the cache
    seconds = interleave(sides, rounds=rounds, steps=dict.fromkeys(sides, 1))
    records = []
    for name, values in seconds.items():
        record: dict[str, Any] = {"what": name, "seconds": Spread.of(values)}
        records.append(record | {"× import torch": speed_ratio(seconds, IMPORT, name)})
    return Section("startup", "Start-up", NOTE, records)


class _OneStep:
    """Executes a fresh run of one step each time it is called."""

    def __init__(self, folder: Path, engine: str) -> None:
        self._store = Store(folder)
        data = DataSpec(dataset="shapes", options=TINY)
        self._fingerprint = Catalog(self._store, None).pack(data).fingerprint
        self._spec = RunSpec(
            model=ModelSpec(backbone="resnet10t", skip="fcn32s"),
            data=data,
            train=TrainSpec(steps=1, batch_size=2),
            evaluate=EvaluateSpec(split="test"),
        )
        self._seed = 0
        self._engine: Engine = create_engine(engine, Request(folder, ("cpu",), slots=1))

    def __call__(self) -> None:
        self._seed += 1
        run = Run(self._spec.model_copy(update={"seed": self._seed}), self._fingerprint)
        self._engine.start(self._store.prepare(run))
        exits: list[Exit] = []
        while not exits:
            exits = self._engine.poll(60.0)
        assert exits[0].code == DONE, (self._store.run_dir(run.id) / "log.txt").read_text()


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
