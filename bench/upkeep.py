"""Upkeep of a store: what in it is damaged, left over or not ours, and what can go.

Verifying reads. Pruning removes what no result needs, and a finished run only when it is named; it
touches neither what has a name that we never give (`bench.store.names`), nor what a process that
may be alive is at work on.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.data.packs.pack import find_damage
from bench.data.packs.packing import is_in_use
from bench.store.atomic import file_digest
from bench.store.holder import Holder
from bench.store.lease import SCRATCH, BusyError, DoneError, find_leases, find_stale, hold
from bench.store.names import (
    find_foreign,
    find_strays,
    is_checkpoint,
    is_pack_dir,
    list_evaluation_dirs,
    list_run_dirs,
)
from bench.store.records import Reason
from bench.store.runs import Store
from bench.store.scored import RECORD, folder_of, read_scored
from bench.store.scratch import is_abandoned, is_old, is_scratch, scratch_prefix
from fcn.errors import InputError


@dataclass(frozen=True)
class Finding:
    """Something in a store that is not as it should be, or not needed."""

    path: Path
    kind: str
    """One of: damaged, missing, unreadable, leftover, foreign."""
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
            if not (folder / name).is_file():
                yield Finding(folder / name, "missing", "the result names it")
            elif file_digest(folder / name) != digest:
                yield Finding(folder / name, "damaged", "its content is not what the result says")
    for path in _results_without_runs(store):
        yield Finding(path.with_name("spec.yaml"), "missing", f"{path.name} is of that run")
    for path in _list_packs(store):
        if find_foreign(path) and not (path / "index.json").exists():
            continue  # its name alone is that of a pack
        for damaged, why in find_damage(path):
            yield Finding(damaged, "damaged", why)
    yield from _verify_evaluations(store)
    yield from find_leftovers(store)
    for path in _find_foreign(store):
        yield Finding(path, "foreign", "not of this store by its name: nothing here touches it")


def find_leftovers(store: Store) -> Iterator[Finding]:
    """Find files that no result and no later attempt needs, and nobody is at work on."""
    for pattern in (".tmp-*", "[0-9a-f][0-9a-f]/.tmp-*", "packs/.tmp-*", "evaluations/*/.tmp-*"):
        for path in sorted(store.root.glob(pattern)):
            if is_scratch(path.name) and not path.is_symlink() and is_abandoned(path):
                yield Finding(path, "leftover", "a write that was cut short")
    for folder in list_run_dirs(store.root):
        if not _is_held(folder):
            yield from _find_leftovers_in(folder)
    for folder in list_evaluation_dirs(store.root):
        begun = not (folder / RECORD).exists() and not find_foreign(folder)
        if begun and is_old(folder):
            yield Finding(folder, "leftover", "an evaluation that was cut short")
    try:
        used = {store.run(run_id).fingerprint[:16] for run_id in store.run_ids()}
    except InputError:
        return  # which images a run needs that cannot be read, nobody knows
    if _results_without_runs(store):
        return
    for path in _list_packs(store):
        if path.name not in used and not find_foreign(path) and not is_in_use(path):
            yield Finding(path, "leftover", "packed images that no run uses")


def prune(store: Store, *, failed: bool = False, run_ids: list[str] | None = None) -> int:
    """Remove leftovers, and what is asked for; return the bytes that were freed.

    Args:
        store: The store. What other commands are at work on stays.
        failed: Remove runs that failed, too; not those that were stopped and can go on.
        run_ids: Remove these runs, finished or not.

    Raises:
        InputError: One of these runs is being made, or files in its folder are not ours; nothing
            is removed then.
    """
    named = [store.run_dir(run_id) for run_id in run_ids or ()]
    for folder in named:
        _require_ours(folder)
        _refuse_live(folder)
    freed = sum(_remove(finding.path) for finding in find_leftovers(store))
    for folder in named:
        freed += _remove_run(folder)
    for run_id in list(store.run_ids()) if failed else ():
        folder = store.run_dir(run_id)
        if _has_failed(store, run_id) and not _is_held(folder) and not find_foreign(folder):
            with suppress(InputError):  # somebody has just begun it
                freed += _remove_run(folder)
    return freed


def remove_run(store: Store, run_id: str) -> int:
    """Remove one run, finished or not, and nothing else; return the bytes that were freed.

    Raises:
        InputError: The run is being made, or files in its folder are not ours.
    """
    folder = store.run_dir(run_id)
    _require_ours(folder)
    _refuse_live(folder)
    return _remove_run(folder)


def remove_evaluation(store: Store, evaluation_id: str) -> int:
    """Remove one evaluation and nothing else; return the bytes that were freed.

    Raises:
        InputError: Files in its folder are not ours.
    """
    folder = folder_of(store.root, evaluation_id)
    _require_ours(folder)
    return _remove(folder)


def _verify_evaluations(store: Store) -> Iterator[Finding]:
    """Read each evaluation under its id, and hash its counts."""
    for folder in list_evaluation_dirs(store.root):
        try:
            scored = read_scored(store.root, folder.name)
        except InputError as error:
            yield Finding(folder, "unreadable", str(error))
            continue
        for name, digest in (scored.digests if scored else {}).items():
            if not (folder / name).is_file():
                yield Finding(folder / name, "missing", "the evaluation's record names it")
            elif file_digest(folder / name) != digest:
                yield Finding(folder / name, "damaged", "its content is not what the record says")


def _find_leftovers_in(folder: Path) -> Iterator[Finding]:
    """Find what is left over in the folder of a run that nobody makes."""
    scratch = [
        path
        for path in sorted([*folder.glob(".tmp-*"), *folder.glob("eval/.tmp-*")])
        if (is_scratch(path.name) or SCRATCH.fullmatch(path.name)) and not path.is_symlink()
    ]
    if not any((folder / name).exists() for name in ("spec.yaml", "result.json")):
        begun = not any(folder.iterdir()) and not is_old(folder)  # the spec is about to be written
        if not begun and not find_foreign(folder) and all(map(_is_left, scratch)):
            yield Finding(folder, "leftover", "a folder without spec.yaml")
        return
    for path in filter(_is_left, scratch):
        yield Finding(path, "leftover", "a write that was cut short")
    for path in find_leases(folder):
        yield Finding(path, "leftover", "the lease of a process that is gone")
    if (quarantine := folder / "quarantine").is_dir() and quarantine not in find_foreign(folder):
        yield Finding(quarantine, "leftover", "damaged checkpoints, set aside")
    if (folder / "result.json").exists():
        for path in sorted(filter(is_checkpoint, folder.glob("checkpoint-*"))):
            yield Finding(path, "leftover", "a checkpoint of a finished run")


def _is_left(path: Path) -> bool:
    """Say whether nobody is at work on scratch in a run's folder."""
    if (path / "holder.json").exists():  # a lease on its way
        holder = Holder.read(path / "holder.json")
        return is_old(path) if holder is None else holder.is_dead() or is_old(path)
    return SCRATCH.fullmatch(path.name) is not None or is_abandoned(path)


def _is_held(folder: Path) -> bool:
    """Say whether a process that may be alive makes a run; what showed no life for a day is not."""
    stale = find_stale(folder)
    return any(path not in stale and not is_old(path) for path in find_leases(folder))


def _refuse_live(folder: Path) -> None:
    """Refuse a run that a process of this machine makes; of another's, its beats will tell."""
    here = Holder.here(0, "")
    for path in find_leases(folder):
        holder = Holder.read(path / "holder.json")
        is_ours = holder and (holder.host, holder.machine) == (here.host, here.machine)
        if holder and is_ours and not holder.is_dead():
            raise InputError(_being_made(folder))


def _require_ours(folder: Path) -> None:
    foreign = find_foreign(folder)
    if foreign:
        names = ", ".join(str(path.relative_to(folder)) for path in foreign[:5])
        raise InputError(
            f"{folder} holds what this program did not write: {names}; move it away, and give the "
            "command again"
        )


def _remove_run(folder: Path) -> int:
    """Remove a run so that nobody makes it meanwhile."""
    try:
        with hold(folder):
            return _remove(folder)
    except DoneError:
        return _remove(folder)
    except BusyError:
        raise InputError(_being_made(folder)) from None


def _being_made(folder: Path) -> str:
    holders = [Holder.read(path / "holder.json") for path in find_leases(folder)]
    who = next((f" by process {h.pid} of {h.host} since {h.since}" for h in holders if h), "")
    return (
        f"run {folder.name} is being made{who}: stop that command first (Ctrl-C has it write a "
        "checkpoint), or wait for its end; it was not removed"
    )


def _remove(path: Path) -> int:
    """Remove a file or folder and return its bytes; a folder loses its name before its files."""
    size = _size(path)
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return size
    doomed = path.with_name(f"{scratch_prefix(path.name)}{secrets.token_hex(4)}")
    try:
        path.rename(doomed)
    except FileNotFoundError:  # another command was first
        return 0
    shutil.rmtree(doomed)
    return size


def _find_foreign(store: Store) -> Iterator[Path]:
    yield from find_strays(store.root)
    evaluations = list_evaluation_dirs(store.root)
    for folder in (*list_run_dirs(store.root), *_list_packs(store), *evaluations):
        yield from find_foreign(folder)


def _list_packs(store: Store) -> list[Path]:
    return sorted(filter(is_pack_dir, store.packs_dir.glob("*")))


def _results_without_runs(store: Store) -> list[Path]:
    results = (folder / "result.json" for folder in list_run_dirs(store.root))
    return [p for p in results if p.exists() and not p.with_name("spec.yaml").exists()]


def _has_failed(store: Store, run_id: str) -> bool:
    failure = store.failure(run_id) if store.status(run_id) == "failed" else None
    return failure is not None and failure.reason != Reason.STOPPED


def _size(path: Path) -> int:
    size = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        with suppress(FileNotFoundError):
            size += file.lstat().st_size if not file.is_dir() else 0
    return size
