"""A report that follows a grid: written again whenever a run has moved, until all have ended.

In: a plan and a store that other processes write. Out: the report's folder, replaced file by file.
"""

import time
from collections.abc import Callable
from pathlib import Path

from bench.plan import Plan
from bench.store.runs import Store
from bench.text import number_of
from reports.page import write_report


def watch_report(
    plan: Plan,
    store: Store,
    out_dir: Path,
    *,
    every_seconds: float,
    say: Callable[[str], None],
    chosen: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Write the report until every run is done or has failed, and return its page.

    Pages written meanwhile load themselves again; the last one rests.

    Args:
        plan: What should exist.
        store: What exists.
        out_dir: Folder of the report.
        every_seconds: Time between two looks at the store.
        say: Called with a line after each writing, and with remarks after the last.
        chosen: Whether somebody named the folder.
        sleep: Waits; a test's does not.
    """
    seen: object = None
    while True:
        state = _look(plan, store)
        num_open = sum(status == "missing" for status, _ in state)
        if num_open == 0:
            return write_report(plan, store, out_dir, chosen=chosen, say=say)
        if state != seen:
            again = max(1, round(every_seconds))
            page = write_report(plan, store, out_dir, refresh_seconds=again, chosen=chosen)
            say(f"report: {page}, {num_open} of {number_of(len(state), 'run')} not ended")
            seen = state
        sleep(every_seconds)


def _look(plan: Plan, store: Store) -> list[tuple[str, int]]:
    """Return state and length of the log of each run: what changes while it goes on."""
    state: list[tuple[str, int]] = []
    for run in plan.unique_runs():
        log = store.run_dir(run.id) / "metrics.jsonl"
        state.append((store.status(run.id), log.stat().st_size if log.exists() else 0))
    return state
