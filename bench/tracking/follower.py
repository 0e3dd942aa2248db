"""A follower: tells one tracker what the runs of a store log, live or when they have ended.

In: a store and runs with their names. Out: scalars at a tracker, and `<store>/trackers/NAME.json`:
how much it was told of each run, so that nothing is told twice, in whichever command.
It reads files alone, whatever engine and machine makes the runs.
"""

import os
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.settings.keys import flatten
from bench.store.atomic import write_json
from bench.store.runs import Store
from bench.tracking.contracts import DONE, FAILED, FOLDER, OPEN, Sink, TrackedRun
from bench.tracking.scalars import Point, final_scores, points_of
from bench.tracking.trackers import TRACKERS
from fcn.errors import InputError, foreign_code

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

EVERY_SECONDS = 2.0
"""Between two looks at a store."""

MOST_PROBLEMS = 3
"""Runs of one look with which a tracker may fail before the others are left for the next."""

MOST_TRIES = 6
"""Failures in a row after which a tracker is given up; waits between them double."""


class _Told(BaseModel):
    """What a tracker was told of a run."""

    model_config = ConfigDict(extra="forbid")

    step: Annotated[int, Field(ge=0)] = 0
    """Up to which step."""
    state: Literal["open", "done", "failed"] = OPEN  # type: ignore[assignment]


class _Memory(BaseModel):
    """What a tracker was told, by place and by run."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    places: dict[str, dict[str, _Told]] = Field(default_factory=dict)


@dataclass
class _Followed:
    run: TrackedRun
    told: _Told
    seen: tuple[object, ...] = ()
    """What its files looked like when it was told last."""
    sink: Sink | None = None


class Follower:
    """Tells one tracker of some runs.

    Args:
        store: Where the runs are.
        name: Of the tracker.
        again: Forget what it was told before.

    Raises:
        InputError: There is no such tracker, or it cannot be had.
    """

    def __init__(self, store: Store, name: str, *, again: bool = False) -> None:
        self._store, self._name = store, name
        folder = store.root / FOLDER
        self._path = folder / f"{name}.json"
        tracker = TRACKERS[name]
        folder.mkdir(parents=True, exist_ok=True)
        self._lock(folder / f"{name}.lock")
        with foreign_code(f"tracker {name!r} cannot be had: "):
            self._tracker = tracker(folder / name)
        self._memory = self._read_memory()
        self._told = self._memory.places.setdefault(self._tracker.place, {})
        if again:
            self._told.clear()
        self._followed: dict[str, _Followed] = {}

    @property
    def place(self) -> str:
        """Where the tracker shows runs."""
        return self._tracker.place

    def add(self, run_id: str, ablation: str, variant: str, seed: int) -> None:
        """Follow a run, which need not have begun."""
        if run_id not in self._followed:
            run = TrackedRun(run_id, ablation, variant, seed, {})
            self._followed[run_id] = _Followed(run, self._told.setdefault(run_id, _Told()))

    def look(self) -> int:
        """Tell the tracker what is new; return of how many runs anything was.

        Raises:
            InputError: The tracker failed; the next look tries again from what it took.
        """
        count, problems = 0, []
        for followed in self._followed.values():
            try:
                count += self._tell(followed)
            except InputError as error:  # of one run, perhaps; or of the tracker
                problems.append(str(error))
            if len(problems) == MOST_PROBLEMS:
                break
        if problems:
            raise InputError(problems[0])
        return count

    def close(self) -> None:
        """See that all arrives; nothing is told after that.

        Raises:
            InputError: The tracker failed.
        """
        for followed in self._followed.values():
            if followed.sink is not None:
                self._close(followed)
        self.unlock()

    def unlock(self) -> None:
        """Let another command tell the tracker of this store: here nothing is told any more."""
        self._release()

    def _tell(self, followed: _Followed) -> bool:
        run_id, told = followed.run.id, followed.told
        seen = self._look_of(run_id)
        if seen == followed.seen or not any(seen):
            return False
        status = self._store.status(run_id)
        state = {"done": DONE, "failed": FAILED}.get(status, OPEN)
        points = list(points_of(self._store.logs(run_id)))
        new = [point for point in points if point.step > told.step]
        if not new and state == told.state:
            followed.seen = seen
            return False
        last = points[-1] if points else Point(0, 0.0, {})
        try:
            with foreign_code(f"tracker {self._name!r} failed on run {run_id}: "):
                self._send(followed, new, state, last)
        except InputError:
            followed.sink = None  # whatever became of it, another is opened
            raise
        told.step, told.state = max(last.step, told.step), state  # type: ignore[assignment]
        followed.seen = seen
        write_json(self._path, self._memory.model_dump())
        return True

    def _send(self, followed: _Followed, new: list[Point], state: str, last: Point) -> None:
        if followed.sink is None:
            followed.sink = self._tracker.open(self._describe(followed.run))
        sink = followed.sink
        if new:
            sink.log(new)
        if state != OPEN:
            result = self._store.result(followed.run.id)
            scores = final_scores(result) if result else {}
            sink.finish(state, last._replace(values=scores))
            sink.close()
            followed.sink = None

    def _close(self, followed: _Followed) -> None:
        sink, followed.sink = followed.sink, None
        with foreign_code(f"tracker {self._name!r} failed on run {followed.run.id}: "):
            if sink is not None:
                sink.close()

    def _describe(self, run: TrackedRun) -> TrackedRun:
        spec = self._store.run(run.id).spec.model_dump(mode="json")
        settings = {key: _plain(value) for key, value in flatten(spec).items()}
        return TrackedRun(run.id, run.ablation, run.variant, run.seed, settings)

    def _look_of(self, run_id: str) -> tuple[object, ...]:
        """Return what changes with what is to be told of a run; nothing but None before its log."""
        folder = self._store.run_dir(run_id)
        found: list[object] = []
        for name in ("metrics.jsonl", "result.json", "failure.json"):
            try:
                stat = os.stat(folder / name)
                found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
            except OSError:
                found.append(None)
        return tuple(found)

    def _read_memory(self) -> _Memory:
        """Read what was told; what cannot be read was nothing: trackers are told again."""
        with suppress(OSError, ValidationError):
            return _Memory.model_validate_json(self._path.read_bytes())
        return _Memory()

    def _lock(self, path: Path) -> None:
        """See that no other process tells the tracker of this store, as long as this one does."""
        self._release: Callable[[], object] = lambda: None
        if fcntl is None:
            return
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._release = weakref.finalize(self, os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another command logs from {self._store.root} to {self._name} just now; it takes "
                "all runs that it was asked for, and the rest can be logged when it has ended"
            ) from None
        except OSError:
            return  # a file system without locks: a run may be told twice


def follow(
    follower: Follower,
    is_over: Callable[[], bool],
    say: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Look again and again until it is over, and once more; return whether all was told.

    A tracker that fails is tried again, a few times with longer and longer waits.
    """
    failures = 0
    while True:
        was_over = is_over()
        try:
            follower.look()
            if was_over:
                follower.close()
                return True
            failures = 0
        except InputError as error:
            failures += 1
            say(str(error))
            if failures >= MOST_TRIES or (was_over and failures > 1):
                follower.unlock()
                return False
        sleep(EVERY_SECONDS * 2**failures if not was_over else EVERY_SECONDS)


def follow_named(store: Store, follower: Follower, run_ids: list[str]) -> list[Path]:
    """Follow runs of a store under the names that it knows; return the folders of the others."""
    unnamed = []
    for run_id in run_ids:
        names = store.names.by_id.get(run_id, ())
        if names:
            follower.add(run_id, names[0].ablation, names[0].variant, names[0].seed)
        else:
            unnamed.append(store.run_dir(run_id))
    return unnamed


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
