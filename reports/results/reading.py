"""Results without a question: all runs of a store, or those of a published report, as one frame.

In: a store, its folder, or a report's folder. Out: the frame of `runs_frame`, a row for each run.
"""

import warnings
from pathlib import Path

import pandas as pd

from bench.metrics import BOUNDARY_SCORE, SCORES
from bench.store.runs import Store
from fcn.errors import InputError
from reports.results.frame import EXTRA_COSTS, runs_frame
from reports.results.matching import plan_stores

NUMBERS = (
    *("seed", "steps", "num_images", *SCORES, BOUNDARY_SCORE),
    *("num_parameters", "train_seconds", "evaluate_seconds", *EXTRA_COSTS),
)
WHOLE = ("seed", "steps", "num_images")
"""Of these, whole where none is missing."""


def read_results(source: Store | str | Path) -> pd.DataFrame:
    """Return one row for each run: what it is, how it ended, its scores and costs.

    Args:
        source: A store or its folder, whose runs are named by backbone, skip and every other
            setting in which they differ; or a folder with a report's `runs.csv`.

    Returns:
        `variant`, `seed`, `backbone`, `skip`; `status` (done, failed, missing), `reason` and
        `message`; `pixel_acc`, `mean_acc`, `miou`, `fw_iou` as fractions; `num_parameters`,
        `train_seconds`, `evaluate_seconds`, `steps`, `split`, `num_images`, `device`, `finished`,
        `commit`, `run_id`; where runs have them `boundary_miou`, `gmacs`, `latency_ms` with its
        quartiles, `step_memory_mib`, and how the latency was taken; and the settings that differ,
        by dotted key, as text. Scores and costs are NaN for a run that has none.

    Raises:
        InputError: It is neither, or a store without runs.
    """
    if not isinstance(source, Store):
        folder = Path(source)
        if not (folder / "store.json").is_file():
            return _read_table(folder / "runs.csv")
        source = Store(folder)
    (plan,) = plan_stores([source])
    for remark in plan.remarks:
        warnings.warn(remark, RuntimeWarning, stacklevel=2)
    return runs_frame(plan, source)


def _read_table(path: Path) -> pd.DataFrame:
    """Read a report's table of runs; text stays as it was written, "null" and digits too."""
    if not path.is_file():
        raise InputError(
            f"{path.parent} has neither store.json nor runs.csv; give the folder of a store (of "
            "--runs), or that of a report (of --out)"
        )
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = sorted({"variant", "seed", "status", "run_id", *SCORES} - set(frame))
    if missing:
        raise InputError(f"{path} is no report's table of runs: it has no {', '.join(missing)}")
    for name in [name for name in NUMBERS if name in frame]:
        if name in WHOLE and all(frame[name]):
            frame[name] = [int(text) for text in frame[name]]
        else:
            frame[name] = [float(text or "nan") for text in frame[name]]  # to the last bit
    return frame
