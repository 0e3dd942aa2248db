"""Trackers of a command that makes runs: a process for each, which cannot hurt what is made.

A library that fails, hangs, fills its memory or leaves the process takes its own follower along and
nothing else. The followers read the store; they are told by their standard input which runs there
will be, and by its end that the command has ended.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

from bench.plan import Plan
from bench.tracking.contracts import FOLDER
from bench.tracking.trackers import TRACKERS

GRACE_SECONDS = 60.0
"""Time for trackers to take what is left, when all runs have ended."""


class Trackers:
    """The followers of a command; a context that ends with them.

    Args:
        names: Of trackers.
        root: Folder of the store.
        plugins: Modules that each follower imports.
        say: Where what a person must know goes.

    Raises:
        InputError: There is no tracker of a name.
    """

    def __init__(
        self,
        names: Sequence[str],
        root: Path,
        plugins: Sequence[str] = (),
        say: Callable[[str], None] = print,
    ) -> None:
        self._root, self._say = root, say
        chosen = {name: TRACKERS[name] for name in dict.fromkeys(names)}
        self._processes: dict[str, _Process] = {}
        for name, tracker in chosen.items():
            if find_spec(tracker.package) is None:
                say(
                    f"not logged to {name}: the package {tracker.package} is not installed (pip "
                    f"install 'fcn-bench[{tracker.package}]'); {_later(name, root)}"
                )
            else:
                self._processes[name] = _Process(name, root, plugins)

    def add(self, plan: Plan) -> None:
        """Have the runs of a plan followed, those that are made already too."""
        lines = [
            json.dumps([planned.run.id, plan.name, planned.variant, planned.run.spec.seed])
            for planned in plan.runs
        ]
        for process in self._processes.values():
            process.tell(lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        until = time.monotonic() + GRACE_SECONDS
        for process in self._processes.values():
            process.close()
        for name, process in self._processes.items():
            problem = process.wait(until)
            if problem:
                self._say(f"not all was logged to {name}: {problem}; {_later(name, self._root)}")


class _Process:
    """A follower in a process of its own."""

    def __init__(self, name: str, root: Path, plugins: Sequence[str]) -> None:
        command = [sys.executable, "-m", "bench", "runs", "log", "--to", name, "--follow"]
        command += ["--runs", str(root)] + [w for one in plugins for w in ("--plugin", one)]
        self._log = root / FOLDER / f"{name}.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        is_seen = {"", os.getcwd()} & set(sys.path)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **({} if is_seen else {"PYTHONSAFEPATH": "1"})},
                start_new_session=True,  # Ctrl-C is the command's; this one sees its end
            )
        self._writers: list[Thread] = []

    def tell(self, lines: Sequence[str]) -> None:
        """Send lines, whether or not anybody reads them: a pipe is full at some time."""
        before = self._writers[-1] if self._writers else None
        writer = Thread(target=self._write, args=("\n".join(lines) + "\n", before), daemon=True)
        writer.start()
        self._writers.append(writer)

    def close(self) -> None:
        """Say that there is no more to come."""
        Thread(target=self._end, daemon=True).start()

    def wait(self, until: float) -> str:
        """Wait for the process's end and say what went wrong; end it where it takes too long."""
        try:
            code = self._process.wait(timeout=max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return f"it took longer than {GRACE_SECONDS:.0f} s at the end"
        return "" if code == 0 else f"{self._last_line() or f'exit code {code}'} ({self._log})"

    def _write(self, text: str, before: Thread | None) -> None:
        if before is not None:
            before.join()
        with suppress(OSError, ValueError):  # the follower has left
            assert self._process.stdin is not None
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()

    def _end(self) -> None:
        for writer in self._writers:
            writer.join()
        with suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _last_line(self) -> str:
        with suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""


def _later(name: str, root: Path) -> str:
    return f"`fcn-bench runs log --to {name} --runs {root}` logs what is left"
