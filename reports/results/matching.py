"""Two stores without a question: their runs as plans, so that they can be compared.

In: stores. Out: plans whose variants are named by backbone, skip, and every other setting that
varies within one of the stores. What differs only between the stores is no name: it is the change.
"""

import json
from collections.abc import Sequence

from bench.plan import Plan, PlannedRun, Run
from bench.store.runs import Store
from fcn.errors import InputError
from reports.results.settings import flatten

ALWAYS = ("model.backbone", "model.skip")
NEVER = ("seed", "train.init_from", "train.init_streams")
"""A seed is no variant, and a parent's name follows from other settings."""


def plan_stores(stores: Sequence[Store]) -> list[Plan]:
    """Return a plan of everything in each store, in the order of run ids.

    Raises:
        InputError: A store is empty.
    """
    found, remarks = zip(*map(_read_runs, stores), strict=True)
    for store, runs in zip(stores, found, strict=True):
        if not runs:
            raise InputError(f"{store.root} holds no runs; give the folder of --runs")
    varied = dict.fromkeys([*ALWAYS, *(key for runs in found for key in _find_varied(runs))])
    plans = []
    for store, runs, remark in zip(stores, found, remarks, strict=True):
        planned = tuple(PlannedRun(_name(run, list(varied)), run) for run in runs)
        question = f"What does {store.root} hold?"
        plans.append(Plan(str(store.root), question, "", planned, remarks=remark))
    return plans


def _read_runs(store: Store) -> tuple[list[Run], tuple[str, ...]]:
    """Read the settings of all runs of a store, and say which are left out, and why."""
    runs, remarks = [], []
    for run_id in store.run_ids():
        try:
            runs.append(store.run(run_id))
        except InputError as error:
            remarks.append(f"left out: {error}")
    return runs, tuple(remarks)


def _find_varied(runs: Sequence[Run]) -> list[str]:
    settings = [_settings(run) for run in runs]
    keys = dict.fromkeys(key for values in settings for key in values)
    varied = [key for key in keys if len({json.dumps(values.get(key)) for values in settings}) > 1]
    return [key for key in varied if key not in (*ALWAYS, *NEVER)]


def _settings(run: Run) -> dict[str, object]:
    return {**flatten(run.spec.model_dump(mode="json")), "dataset": run.fingerprint[:8]}


def _name(run: Run, keys: Sequence[str]) -> str:
    values = _settings(run)
    rest = [f"{key}={values.get(key)}" for key in keys if key not in ALWAYS]
    return " ".join(["-".join(str(values[key]) for key in ALWAYS), *rest])
