"""One writer per run: a lease that neither a crash, nor a freeze, nor a lost machine can keep.

<run>/lease-000003/             attempt 3 is being made
      lease-000003/holder.json  by whom: machine, process
      lease-000003/beat         a number that the holder raises
      lease-000003/<token>/     files on their way: only from here do they reach the run's folder
      attempts.json             every attempt so far

A lease appears, and goes, by the rename of a whole folder: one step on every file system, shared
ones too, and no number is given twice. Others watch the number change by their own clock, so no
two clocks are compared. Who is turned out has lost the folder that its files come from: whatever
it does when it wakes up, nothing of it arrives.
"""

import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from bench.store.atomic import staging, umask, write_json
from bench.store.holder import Holder
from bench.store.records import ATTEMPTS, Attempt, read_record
from fcn.errors import InputError

LEASE_SECONDS = 60.0
"""Time without a beat after which a holder counts as gone."""

BEAT_SECONDS = 2.0
"""Time between two beats; at most a fifth of the lease."""

SCRATCH = re.compile(r"\.tmp-(lost-\d{6}|(ended|lease)-[a-z0-9_]{8})")
"""Names of a run's folders that are on their way to a lease, or were one."""

_NAME = re.compile(r"(?:lease|\.tmp-lost)-(\d{6})")


class BusyError(Exception):
    """The run cannot be made now: another process makes it, or its parent is not done."""


class DoneError(Exception):
    """The run is done: there is nothing to hold."""


class LeaseLostError(Exception):
    """Another process took the run over; nothing that this one writes arrives."""


class FolderGoneError(OSError):
    """The run's folder was deleted while the run was made."""


class Lease:
    """The right to make a run. Create it with `hold`."""

    def __init__(self, run_dir: Path, holder: Holder) -> None:
        self.holder = holder
        self.run_dir = run_dir
        self.folder = _lease_dir(run_dir, holder.attempt)
        self.scratch = self.folder / holder.token

    def check(self) -> None:
        """See that the run is still this process's to make.

        Raises:
            LeaseLostError: It was taken over.
            FolderGoneError: Its folder was deleted.
        """
        if self.scratch.is_dir():
            return
        if (self.run_dir / "spec.yaml").exists():
            raise LeaseLostError(f"attempt {self.holder.attempt} was taken over")
        raise FolderGoneError(f"{self.run_dir} was deleted while the run was made")


class Watch:
    """Tells a live holder from a frozen one, by this process's own clock.

    A process that was frozen itself, along with the holder or not, has seen nothing meanwhile: the
    time between two looks counts for half a lease at most.

    Args:
        run_dir: Folder of the run.
        seconds: Time without a beat after which a holder is turned out.
    """

    def __init__(self, run_dir: Path, seconds: float = LEASE_SECONDS) -> None:
        self.saw_beat = False
        """Whether the holder was seen alive."""
        self._run_dir, self._seconds = run_dir, seconds
        self._last: tuple[Path, str] | None = None
        self._looked = self._silent = 0.0

    def is_free(self) -> bool:
        """Say whether nobody makes the run; a holder that is dead or frozen is turned out."""
        lease = _current(self._run_dir)
        if lease is None:
            return True
        holder, seen, now = Holder.read(lease / "holder.json"), _read_beat(lease), time.monotonic()
        passed, self._looked = now - self._looked, now
        if holder is not None and holder.is_dead():
            return _turn_out(lease)
        if (lease, seen) != self._last:
            self.saw_beat = self._last is not None
            self._last, self._silent = (lease, seen), 0.0
            return False
        self._silent += min(passed, self._seconds / 2)
        return self._silent >= self._seconds and _turn_out(lease)


@contextmanager
def hold(run_dir: Path, seconds: float = LEASE_SECONDS) -> Iterator[Lease]:
    """Hold the lease of a run, and stage its files, as long as the block lasts.

    Args:
        run_dir: Folder of the run.
        seconds: Time without a beat after which a holder is turned out; until it is known whether
            one is alive, this waits.

    Raises:
        DoneError: The run is done. No attempt is counted.
        BusyError: Another process holds it.
        LeaseLostError: It was taken over; raised in place of the error that this caused.
    """
    watch = Watch(run_dir, seconds)
    _refuse_done(run_dir)
    while not watch.is_free():
        if watch.saw_beat:
            raise BusyError(f"{run_dir.name} is made by another process")
        time.sleep(min(0.2, seconds / 10))
    lease = _take(run_dir)
    ended = threading.Event()
    beats = (lease.folder / "beat", min(BEAT_SECONDS, seconds / 5), ended)
    thread = threading.Thread(target=_beat, args=beats, daemon=True, name="lease")
    thread.start()
    try:
        with staging(run_dir, lease.scratch):
            yield lease
    except OSError:
        lease.check()  # the true cause may be that the lease, and its folder, are lost
        raise
    finally:
        ended.set()
        thread.join()
        _release(lease)


def count_attempts(run_dir: Path) -> int:
    """Return how often a run was begun."""
    return len(_read_attempts(run_dir))


def find_leases(run_dir: Path) -> list[Path]:
    """Return the leases in a run's folder; only that of the highest number counts."""
    return sorted(path for path in run_dir.glob("lease-*") if _NAME.fullmatch(path.name))


def is_held(run_dir: Path) -> bool:
    """Say whether somebody holds a run who is not known to be gone; one look, and no wait."""
    lease = _current(run_dir)
    return lease is not None and lease not in find_stale(run_dir)


def current_holder(run_dir: Path) -> Holder | None:
    """Return who holds a run, unless nobody does, or who does is known to be gone."""
    lease = _current(run_dir)
    holder = Holder.read(lease / "holder.json") if lease else None
    return None if holder is None or holder.is_dead() else holder


def find_stale(run_dir: Path) -> list[Path]:
    """Return what dead holders on this machine left in a run's folder."""
    holders = [(path, Holder.read(path / "holder.json")) for path in find_leases(run_dir)]
    return [path for path, holder in holders if holder is not None and holder.is_dead()]


def _take(run_dir: Path) -> Lease:
    attempt = 1 + max(_numbers(run_dir), default=0)
    if _current(run_dir) is not None:
        # Taken since it was seen free. Asked after counting: who takes it from here on takes this
        # number, or has seen it given.
        raise BusyError(f"{run_dir.name} was taken by another process")
    private = Path(tempfile.mkdtemp(dir=run_dir, prefix=".tmp-lease-"))
    token = private.name.removeprefix(".tmp-lease-")
    holder = Holder.here(attempt, token)
    try:
        private.chmod(0o777 & ~umask())
        (private / "beat").write_text(_beat_text(0), encoding="ascii")
        (private / token).mkdir()
        (private / "holder.json").write_text(json.dumps(asdict(holder)), encoding="utf-8")
        private.rename(_lease_dir(run_dir, attempt))
    except OSError:
        shutil.rmtree(private, ignore_errors=True)
        if attempt not in _numbers(run_dir):
            raise
        raise BusyError(f"{run_dir.name} was taken by another process") from None
    lease = Lease(run_dir, holder)
    if max(_numbers(run_dir)) > attempt or attempt in _recorded(run_dir):
        # This process slept between counting and taking, and others came and went meanwhile.
        _release(lease)
        raise BusyError(f"{run_dir.name} was taken by another process")
    try:
        _refuse_done(run_dir)  # nobody else can end it now
    except DoneError:
        _release(lease)
        raise
    _record(lease)
    return lease


def _refuse_done(run_dir: Path) -> None:
    if (run_dir / "result.json").exists():
        raise DoneError(f"{run_dir.name} is done")


def _record(lease: Lease) -> None:
    """Note the attempt; from then on its number is known without the marks of earlier ones."""
    one = lease.holder
    attempt = Attempt(
        attempt=one.attempt,
        host=one.host,
        machine=one.machine,
        pid=one.pid,
        process=one.process,
        since=one.since,
    )
    with staging(lease.run_dir, lease.scratch):
        attempts = [*_read_attempts(lease.run_dir), attempt]
        write_json(lease.run_dir / "attempts.json", {"attempts": attempts})
    for path in lease.run_dir.glob(".tmp-*"):
        if SCRATCH.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _release(lease: Lease) -> None:
    lost = lease.run_dir / f".tmp-ended-{lease.holder.token}"
    with suppress(OSError):  # taken over, or the run's folder is gone
        lease.folder.rename(lost)
    shutil.rmtree(lost, ignore_errors=True)


def _turn_out(lease: Path) -> bool:
    """Take a lease from its holder; of several that try, one does it. True when none is left."""
    lost = lease.with_name(f".tmp-lost-{lease.name.removeprefix('lease-')}")
    with suppress(OSError):
        lease.rename(lost)
        # Clients of a network file system may know folders by more than their names.
        for path in lost.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
    return _current(lease.parent) is None


def _beat(path: Path, seconds: float, ended: threading.Event) -> None:
    """Raise the number until the end; in place, for a full disk must not look like a death."""
    count = 0
    while not ended.wait(seconds):
        count += 1
        with suppress(OSError), path.open("r+", encoding="ascii") as file:
            file.write(_beat_text(count))


def _beat_text(count: int) -> str:
    return f"{count:020d}\n"


def _current(run_dir: Path) -> Path | None:
    """Return the lease with the highest number: the one that counts."""
    return max(find_leases(run_dir), default=None)


def _numbers(run_dir: Path) -> set[int]:
    """Return every attempt's number that was given, as far as it left a mark."""
    matches = (_NAME.fullmatch(path.name) for path in run_dir.iterdir())
    return {int(match[1]) for match in matches if match} | _recorded(run_dir)


def _recorded(run_dir: Path) -> set[int]:
    return {attempt["attempt"] for attempt in _read_attempts(run_dir)}


def _read_attempts(run_dir: Path) -> list[Attempt]:
    """Read what was noted; a damaged file notes nothing, and is written anew."""
    try:
        found = read_record(run_dir / "attempts.json", ATTEMPTS, way_out="")
    except (OSError, InputError):
        return []
    return list(found["attempts"]) if found else []


def _read_beat(lease: Path) -> str:
    try:
        return (lease / "beat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _lease_dir(run_dir: Path, attempt: int) -> Path:
    return run_dir / f"lease-{attempt:06d}"
