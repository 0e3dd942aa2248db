"""Upkeep of a store: what in it is damaged or left over, and what can go.

Verifying reads; pruning removes what no result needs, and a finished run only when it is named.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.atomic import file_digest
from bench.data.pack import find_damage
from bench.lease import find_stale
from bench.store import Store
from fcn.errors import InputError


@dataclass(frozen=True)
class Finding:
    """Something in a store that is not as it should be, or not needed."""

    path: Path
    kind: str
    """One of: damaged, missing, unreadable, leftover."""
    message: str


def verify(store: Store) -> Iterator[Finding]:
    """Hash every file of every finished run and pack again, and look for what was left behind."""
    for run_id in store.run_ids():
        folder = store.run_dir(run_id)
        try:
            store.run(run_id)
            result = store.result(run_id)
        except InputError as error:
            yield Finding(folder, "unreadable", str(error))
            continue
        for name, digest in (result.digests if result else {}).items():
            if not (folder / name).exists():
                yield Finding(folder / name, "missing", "the result names it")
            elif file_digest(folder / name) != digest:
                yield Finding(folder / name, "damaged", "its content is not what the result says")
    for path in _results_without_runs(store):
        yield Finding(path.with_name("spec.yaml"), "missing", f"{path.name} is of that run")
    for path in sorted(store.packs_dir.glob("[0-9a-f]*")):
        for damaged, why in find_damage(path):
            yield Finding(damaged, "damaged", why)
    yield from find_leftovers(store)


def find_leftovers(store: Store) -> Iterator[Finding]:
    """Find files that no result and no later attempt needs."""
    for path in sorted(store.root.rglob(".tmp-*")):
        if not path.parent.parent.name.startswith("lease-"):
            yield Finding(path, "leftover", "a write that was cut short")
    for path in sorted(store.root.glob("[0-9a-f][0-9a-f]/*")):
        if not any((path / name).exists() for name in ("spec.yaml", "result.json")):
            yield Finding(path, "leftover", "a folder without spec.yaml")
    for run_id in store.run_ids():
        folder = store.run_dir(run_id)
        for path in find_stale(folder):
            yield Finding(path, "leftover", "the lease of a process that is gone")
        if (folder / "quarantine").is_dir():
            yield Finding(folder / "quarantine", "leftover", "damaged checkpoints, set aside")
        if store.status(run_id) == "done":
            for path in sorted(folder.glob("checkpoint-*")):
                yield Finding(path, "leftover", "a checkpoint of a finished run")
    try:
        used = {store.run(run_id).fingerprint[:16] for run_id in store.run_ids()}
    except InputError:
        return  # which pictures a run needs that cannot be read, nobody knows
    if _results_without_runs(store):
        return
    for path in sorted(store.packs_dir.glob("[0-9a-f]*")):
        if path.name not in used:
            yield Finding(path, "leftover", "packed pictures that no run uses")


def _results_without_runs(store: Store) -> list[Path]:
    results = sorted(store.root.glob("[0-9a-f][0-9a-f]/*/result.json"))
    return [path for path in results if not path.with_name("spec.yaml").exists()]


def prune(store: Store, *, failed: bool = False, run_ids: list[str] | None = None) -> int:
    """Remove leftovers, and what is asked for; return the bytes that were freed.

    Args:
        store: The store; nothing may be running in it.
        failed: Remove runs that failed, too; not those that were stopped and can go on.
        run_ids: Remove these runs, finished or not.
    """
    doomed = [finding.path for finding in find_leftovers(store)]
    doomed += [store.run_dir(run_id) for run_id in run_ids or ()]
    if failed:
        doomed += [
            store.run_dir(run_id) for run_id in store.run_ids() if _has_failed(store, run_id)
        ]
    freed = 0
    for path in doomed:
        freed += _size(path)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return freed


def _has_failed(store: Store, run_id: str) -> bool:
    failure = store.failure(run_id) if store.status(run_id) == "failed" else None
    return failure is not None and failure.reason != "stopped"


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
