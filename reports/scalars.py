"""Scalars of a question's runs for TensorBoard, by the tracker of that name, in a folder.

In: a plan and a store. Out: an event file for each run, under `<folder>/<variant>/seed-<n>/`. Of an
earlier export only what this one wrote is replaced.
"""

import hashlib
import re
import tempfile
from collections import Counter
from pathlib import Path

from bench.outputs.folder import Outputs
from bench.plan import Plan
from bench.store.records import LogRow
from bench.store.runs import Result, Store
from bench.tracking.contracts import DONE, Sink
from bench.tracking.scalars import final_scores, points_of
from bench.tracking.trackers import Tensorboard
from reports.files import name_plan

EVENTS = "*tfevents*"


def export_scalars(plan: Plan, store: Store, folder: Path) -> int:
    """Write loss, learning rate, watched and final scores of every run; return how many have any.

    A run's events of an earlier export are replaced. Time in TensorBoard is training time.

    Raises:
        InputError: The package tensorboard is not installed, or as `open_export`.
    """
    tracker = Tensorboard(folder)
    outputs = open_export(plan, folder)
    with tempfile.TemporaryDirectory(prefix="fcn-bench-scalars-") as name:
        scratch = Path(name)
        count = 0
        for planned, place in zip(plan.runs, _list_places(plan), strict=True):
            rows = store.logs(planned.run.id)
            if rows:
                count += 1
                _write_run(tracker.open_folder(scratch / place), rows, store.result(planned.run.id))
        files = sorted(path for path in scratch.rglob("*") if path.is_file())
        outputs.write({path.relative_to(scratch).as_posix(): path.read_bytes() for path in files})
    return count


def open_export(plan: Plan, folder: Path) -> Outputs:
    """Open the folder of a plan's export, and see that it can be written there.

    Raises:
        InputError: Where a run's events go there are some that are not of this plan's export.
        OSError: Nothing can be written there.
    """
    of = name_plan(plan, folder)
    outputs = Outputs(folder, by="export of scalars", of=of, option="--tensorboard DIR")
    found = (path for place in _list_places(plan) for path in (folder / place).glob(EVENTS))
    outputs.require(path.relative_to(folder).as_posix() for path in found)
    return outputs


def _list_places(plan: Plan) -> list[str]:
    """Return the folder of each run; variants whose folders would meet anywhere get their own."""
    names = {variant: _to_path(variant) for variant in plan.variants}
    alike = Counter(name.casefold() for name in names.values())
    for variant, name in names.items():
        if alike[name.casefold()] > 1:
            names[variant] = _with_digest(name, variant)
    return [f"{names[planned.variant]}/seed-{planned.run.spec.seed}" for planned in plan.runs]


def _write_run(sink: Sink, rows: list[LogRow], result: Result | None) -> None:
    points = list(points_of(rows))
    sink.log(points)
    if result is not None:
        sink.finish(DONE, points[-1]._replace(values=final_scores(result)))
    sink.close()


def _to_path(variant: str) -> str:
    """Turn a variant's name into one folder's name: nothing in it leaves the export.

    A name that had to be changed bears a digest of what it was: no two become one.
    """
    name = re.sub(r"[^\w.+=-]", "_", variant).strip(".")[:100]
    return name if name == variant else _with_digest(name, variant)


def _with_digest(name: str, variant: str) -> str:
    return f"{name}-{hashlib.sha256(variant.encode()).hexdigest()[:8]}".lstrip("-")
