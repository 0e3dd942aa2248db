"""A plan made true: looked through, tried, executed; what a person sees meanwhile.

In: a plan, a store, an engine. Out: runs in the store, and how many are not done.
"""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from ablations.report_cli import say
from bench.cli.command import end_at_once, show_remarks
from bench.cli.progress import image_progress
from bench.importing import importing
from fcn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.data.catalog import Catalog
    from bench.grid.building import ModelCost
    from bench.grid.contracts import Engine
    from bench.grid.controller import Policy
    from bench.grid.engines import Request
    from bench.grid.pace import Pace
    from bench.grid.slots import Slot
    from bench.plan import Plan
    from bench.store.runs import Store
    from bench.tracking.process import Trackers


RUN_SECONDS = 5.0
"""Time for timing steps before a plan is run."""


@dataclass(frozen=True)
class How:
    """How runs are made."""

    engine: str
    request: "Request"
    policy: "Policy"
    smoke: bool = False
    """Whether two steps of every variant are tried before the rest."""
    trackers: "Trackers | None" = None
    """What shows the runs elsewhere, as they are made."""


def make_runs(
    plan: "Plan", store: "Store", catalog: "Catalog", how: How, *, again: bool = False
) -> int:
    """Make what is missing of a plan; return the number of its runs that are not done.

    Args:
        plan: What should exist.
        store: Where.
        catalog: Of its data sets.
        how: On which devices, and what is done about failures.
        again: Whether the same variants were looked through and spoken of before.

    Raises:
        InputError: Something would fail; nothing was begun.
    """
    from bench.grid.engines import create_engine
    from bench.grid.order import longest_first
    from bench.store.run_names import names_of

    if all(store.status(run.id) == "done" for run in plan.unique_runs()):
        store.names.add(names_of(plan))  # they may have been made under other names
        _show_elsewhere(plan, how)
        if not again:
            say_remarks(plan, store)
        return 0
    chosen = create_engine(how.engine, how.request)
    costs = check_plan(plan, store, catalog, how.request.devices_per_run, quiet=again)
    if not again:
        say_remarks(plan, store)
    if how.smoke and not again:
        from ablations.planning import plan_trial

        try_first(plan_trial(plan), store, chosen)
        chosen = create_engine(how.engine, how.request)  # a plan's end stops its engine
    ordered = longest_first(plan, {variant: cost.gmacs for variant, cost in costs.items()})
    paces = _foresee(plan, store, costs, how)
    store.names.add(names_of(plan))
    _show_elsewhere(plan, how)
    return execute(ordered, store, chosen, how.policy, paces)


@contextmanager
def track(
    names: "Sequence[str]", store: "Store", plugins: "Sequence[str]"
) -> "Iterator[Trackers | None]":
    """Have trackers follow what is made while the block lasts; none where none is named."""
    if not names:
        yield None
        return
    from bench.tracking.process import Trackers

    store.begin()
    with Trackers(names, store.root, plugins, say) as trackers:
        yield trackers


def _show_elsewhere(plan: "Plan", how: How) -> None:
    if how.trackers is not None:
        how.trackers.add(plan)


def _foresee(
    plan: "Plan", store: "Store", costs: "dict[str, ModelCost]", how: How
) -> "dict[str, Pace]":
    """Estimate, and say, how long a plan takes on this machine; nothing of a cluster's."""
    from ablations.plan_listing import sum_up
    from bench.grid.engines import slots_here

    if how.engine not in ("auto", "local", "warm"):
        return {}
    places = slots_here(how.request)
    # A GPU is left to the runs: whoever times a step keeps a part of its memory to the end.
    budget = RUN_SECONDS if places[0].devices == ("cpu",) else 0.0
    paces = find_plan_paces(plan, store, costs, places, budget)
    say(sum_up(plan, store, paces, places))
    return paces


def check_plan(
    plan: "Plan",
    store: "Store",
    catalog: "Catalog",
    devices_per_run: int = 1,
    *,
    quiet: bool = False,
) -> "dict[str, ModelCost]":
    """Find what would fail before anything is trained: models first, then every image.

    Unless `quiet`, prints which files of weights runs start from, what scoring and losses take,
    where that is much, which parameters are frozen or have a rate of their own, and where a
    processor imitates bf16.
    """
    with importing():
        from ablations.tunable import require_apart_images
        from bench.grid.preflight import check_images, check_models
        from bench.grid.scoring_memory import scoring_remarks
        from bench.grid.starts import check_starts
        from bench.grid.training_memory import loss_remarks
        from bench.grid.training_remarks import group_remarks, imitation_remarks
        from reports.stats.asked import require_classes
    specs = {planned.run.fingerprint: planned.run.spec.data for planned in plan.runs}
    facts = {fingerprint: catalog.facts(data) for fingerprint, data in specs.items()}
    costs = check_models(plan, facts)
    starts = check_starts(plan, facts, store)
    catalog.remember()
    if not quiet:
        show_remarks(starts, as_json=True)
        show_remarks(catalog.packing_remarks(specs.values()), as_json=True)
    with nullcontext() if quiet else image_progress() as progress:
        packs = {fingerprint: catalog.pack(data, progress) for fingerprint, data in specs.items()}
    for data, pack in ((specs[fingerprint], pack) for fingerprint, pack in packs.items()):
        require_classes(plan, pack.choose(data.inputs, data.targets).class_names)
    check_images(plan, packs, devices_per_run)
    require_apart_images(plan, packs)
    if not quiet:
        remarks = [
            *scoring_remarks(plan, packs),
            *loss_remarks(plan, packs),
            *group_remarks(plan, facts),
            *imitation_remarks(plan),
        ]
        show_remarks(remarks, as_json=True)
    return costs


def find_plan_paces(
    plan: "Plan",
    store: "Store",
    costs: "dict[str, ModelCost]",
    slots: "Sequence[Slot]",
    budget_seconds: float,
) -> "dict[str, Pace]":
    """Estimate how long each variant takes; its data is packed already.

    Args:
        plan: What is to be run.
        store: Where.
        costs: What `check_plan` returned.
        slots: Where runs are made, the first of them.
        budget_seconds: Time to spend on timing steps, where past runs do not tell.
    """
    from bench.data.remarks import stored_packs
    from bench.grid.timing import find_paces

    packs = stored_packs(plan, store.packs_dir)
    return find_paces(plan, store, packs, costs, slots[0], budget_seconds)


def say_remarks(plan: "Plan", store: "Store", as_json: bool = False) -> None:
    """Say what the scores of a plan are to be read with, as far as its data are in the store."""
    from bench.data.remarks import plan_remarks, stored_packs

    packs = stored_packs(plan, store.packs_dir)
    show_remarks([*plan.remarks, *plan_remarks(plan, packs)], as_json)


def execute(
    plan: "Plan",
    store: "Store",
    engine: "Engine",
    policy: "Policy",
    paces: "Mapping[str, Pace] | None" = None,
) -> int:
    """Execute what is missing of a plan; return the number of its runs that are not done.

    `paces` says how long each variant is expected to take, where that is known.
    """
    from bench.grid.controller import execute_plan
    from bench.grid.progress import GridProgress
    from bench.run.signals import interrupt_on_signals
    from bench.store.noted import note_claims

    note_claims(store.root, plan)
    # The report's libraries take seconds to import, which nobody need wait for at the end.
    Thread(target=_import_report, daemon=True).start()
    try:
        with (
            interrupt_on_signals(),
            GridProgress(plan, store, Console(highlight=False), paces or {}) as progress,
        ):
            return execute_plan(plan, store, engine, progress, policy)
    except KeyboardInterrupt:
        say("stopped; the same command goes on from the last checkpoints")
        end_at_once(130)


def count_undone(plan: "Plan", store: "Store") -> int:
    """Count the runs of a plan that are not done, or are not even known yet."""
    done = sum(store.status(one.run.id) == "done" for one in plan.settled)
    return len(plan.runs) - done


def find_unreadable(plan: "Plan", store: "Store") -> list[str]:
    """Say which records of finished runs are damaged, or of other runs."""
    problems = []
    for run_id in dict.fromkeys(one.run.id for one in plan.settled):
        try:
            store.result(run_id)
        except InputError as error:
            problems.append(str(error))
    return problems


def _import_report() -> None:
    with importing():
        import reports.page  # noqa: F401


def try_first(trial: "Plan", store: "Store", engine: "Engine") -> None:
    """Execute a short trial of every variant; leave with exit code 1 when one fails.

    Memory that is too small, a device that refuses an operation or a disk that is too slow show
    here in minutes, in place of after a night.
    """
    from bench.grid.controller import Policy

    num_undone = execute(trial, store, engine, Policy(retry_failed=True))
    if num_undone:
        for planned in trial.runs:
            failure = store.failure(planned.run.id)
            if failure is not None:
                say(f"{planned.variant}: {failure.reason}: {failure.message}")
        say(
            f"{num_undone} of {len(trial.runs)} variants failed their trial; nothing else was begun"
        )
        raise typer.Exit(1)
