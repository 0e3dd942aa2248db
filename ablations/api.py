"""Questions from Python: load, plan and run them, as the commands do and without their output.

In: the name or path of a spec, with settings on top. Out: an `Ablation`, a `Plan`, an `Outcome`.
Whatever cannot be used raises `fcn.InputError`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ablations.execution import check_plan
from ablations.planning import Planner, load_spec, plan_ablation
from ablations.run_tuned import tune_first
from ablations.spec import Ablation
from ablations.until_decided import begin_looks, run_looks
from bench.cli.command import open_store
from bench.plan import Plan, PlannedRun
from bench.plugins import load_plugins
from bench.settings.yaml_file import write_setting
from bench.store.run_names import names_of
from bench.store.runs import Store
from fcn.errors import InputError


@dataclass(frozen=True)
class Outcome:
    """What came of a plan."""

    plan: Plan
    store: Store
    undone: tuple[PlannedRun, ...]
    """Runs that are not done; `store.failure(planned.run.id)` says why. Those of a variant in
    `plan.unsettled` are not known yet: nothing could be chosen for it (`plan.tuning`)."""


def load(spec: str | Path, settings: Mapping[str, Any] | None = None) -> Ablation:
    """Read a question.

    Args:
        spec: Name of an ablation ("quickstart"), or path of a YAML file.
        settings: New values by dotted key, as `--set` gives them: of the ablation (`seeds`) or of
            every run (`train.steps`).

    Raises:
        InputError: Nothing has that name, or a key or value is wrong.
    """
    given = dict(settings or {})
    return load_spec(str(spec), given, [write_setting(*item) for item in given.items()])


def plan(
    question: str | Path | Ablation,
    *,
    store: str | Path | Store = "runs",
    data: str | Path | None = None,
    plugins: Sequence[str] = (),
) -> Plan:
    """Say which runs a question asks for, with their ids; nothing is trained.

    Args:
        question: What `load` gave, or its name or path.
        store: Folder of runs; it remembers what was read of the data.
        data: Folder of the images; None for a dataset that is drawn.
        plugins: Modules, by name or path, that register parts; as `--plugin`.

    Raises:
        InputError: A setting is wrong, or the data is not there.
    """
    load_plugins(plugins)
    return plan_ablation(_loaded(question), _opened(store), _folder(data))[0]


def run(
    question: str | Path | Ablation,
    *,
    store: str | Path | Store = "runs",
    data: str | Path | None = None,
    engine: str = "auto",
    devices: Sequence[str] = ("auto",),
    slots: int | None = None,
    devices_per_run: int = 1,
    address: str | None = None,
    slurm: Sequence[str] = (),
    plugins: Sequence[str] = (),
    fail_fast: bool = False,
    retry_failed: bool = False,
    max_seeds: int | None = None,
    progress: bool = False,
) -> Outcome:
    """Train and evaluate what is missing of a question, in processes of their own; write no report.

    A run that fails stops no other. On Ctrl-C runs save their state, and the same call goes on.

    Args:
        question: What `load` gave, or its name or path.
        store: Folder of runs, new or old.
        data: Folder of the images; None for a dataset that is drawn.
        engine: What starts runs: "local", "warm", "ray", "slurm", or "auto" (warm on CPUs, else
            local).
        devices: "auto", or devices as torch spells them.
        slots: Runs at a time on each device.
        devices_per_run: GPUs, or CPU processes, that each run is spread over.
        address: With ray: HOST:PORT of the cluster's head.
        slurm: With slurm: "KEY=VALUE" of jobs, or YAML files of them; as `--slurm`.
        plugins: Modules, by name or path, that register parts; each process imports them.
        fail_fast: Stop at the first failure.
        retry_failed: Try runs again too whose loss was not finite.
        max_seeds: Add seeds, look by look, to claims that are not decided, up to this many of each
            variant; as `--until-decided --max-seeds`. The outcome's plan is that of the last look.
        progress: Print what happens, as the command does.

    Raises:
        InputError: A setting is wrong, or an image, network or device cannot be used; nothing is
            trained then.
    """
    from bench.grid.controller import Policy, execute_plan
    from bench.grid.engines import Request, create_engine
    from bench.grid.order import longest_first
    from bench.grid.progress import GridProgress
    from bench.store.noted import note_claims

    load_plugins(plugins)
    where = _opened(store)
    planner = Planner(_loaded(question), where, _folder(data))
    request = Request(
        where.root, devices, slots, plugins, address, devices_per_run=devices_per_run, slurm=slurm
    )
    console = Console(highlight=False) if progress else Console(quiet=True, force_terminal=False)

    def make(plan: Plan, *, again: bool = False) -> int:
        if not _undone(plan, where):
            return 0
        chosen = create_engine(engine, request)
        is_quiet = again or not progress
        costs = check_plan(plan, where, planner.catalog, devices_per_run, quiet=is_quiet)
        note_claims(where.root, plan)
        where.names.add(names_of(plan))
        ordered = longest_first(plan, {variant: cost.gmacs for variant, cost in costs.items()})
        with GridProgress(ordered, where, console) as watcher:
            policy = Policy(fail_fast=fail_fast, retry_failed=retry_failed)
            return execute_plan(ordered, where, chosen, watcher, policy)

    def say(text: str) -> None:
        console.print(text, markup=False)

    planned = tune_first(planner.plan(), planner.plan, make, say, retry_failed=retry_failed)
    if planned.unsettled:
        pass  # until a value is chosen nobody knows which runs these are
    elif max_seeds is None:
        make(planned)
    else:
        own, grow = planner.plan_own_seeds()
        planned, _ = run_looks(own, where, begin_looks(own, where, max_seeds), grow, make, say)
    return Outcome(planned, where, _undone(planned, where))


def _undone(planned: Plan, store: Store) -> tuple[PlannedRun, ...]:
    return tuple(
        one
        for one in planned.runs
        if one.variant in planned.unsettled or store.status(one.run.id) != "done"
    )


def _loaded(question: str | Path | Ablation) -> Ablation:
    ablation = question if isinstance(question, Ablation) else load(question)
    if not ablation.words:
        raise InputError(
            f"{ablation.name} is an Ablation that no spec was read for, so that nobody could ask "
            "it again; write it to a YAML file, and give ablations.load that file's path"
        )
    return ablation


def _opened(store: str | Path | Store) -> Store:
    return store if isinstance(store, Store) else open_store(Path(store))


def _folder(data: str | Path | None) -> Path | None:
    return None if data is None else Path(data)
