"""The warm engine: runs forked from a server that has torch loaded, for grids of short runs.

A start takes hundredths of a second in place of seconds; the results are the same. The server is
started once per command, and ends with it.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from types import ModuleType

from bench.grid.contracts import Exit
from bench.grid.local import GRACE_SECONDS
from bench.grid.places import Starting
from bench.grid.slots import Slot
from bench.output import guard_output
from bench.plugins import load_plugins


class WarmEngine(Starting):
    """Forks each run from a server that has torch loaded.

    Args:
        slots: Places for runs; several may name one device.
        plugins: Modules that each run loads first.
    """

    def __init__(self, slots: Sequence[Slot], plugins: Sequence[str] = ()) -> None:
        self._plugins = list(plugins)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["bench.grid.server"])
        ensure_running()  # it imports torch while the command checks its plan
        super().__init__(slots)
        self._running: dict[str, tuple[ForkServerProcess, int]] = {}

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to `seconds` for processes to end, and return those that did."""
        wait([process.sentinel for process, _ in self._running.values()], timeout=seconds)
        exits = []
        for run_id, (process, pipe) in list(self._running.items()):
            if process.exitcode is not None:
                shared = self._places.give_back(run_id)
                exits.append(Exit(run_id, process.exitcode, shared=shared))
                os.close(pipe)
                del self._running[run_id]
        return exits

    def kill(self, run_id: str) -> None:
        """End a run's process at once; `poll` then reports it."""
        self._running[run_id][0].kill()

    def stop(self) -> None:
        """Ask what still runs to checkpoint and leave; end what does not within the grace."""
        for process, _ in self._running.values():
            process.terminate()
        until = time.monotonic() + GRACE_SECONDS
        try:
            for process, _ in self._running.values():
                process.join(max(0.0, until - time.monotonic()))
        finally:  # also when a second Ctrl-C cuts the grace short
            for process, pipe in self._running.values():
                process.kill()
                process.join()
                os.close(pipe)
            self._running.clear()

    def _start(self, run_dir: Path, slot: Slot) -> None:
        try:
            reader, writer = self._context.Pipe(duplex=False)
            environment = {**os.environ, **slot.variables}
            arguments = (run_dir, slot, self._plugins, reader, environment)
            process = self._context.Process(target=_execute, args=arguments)
            with _main_left_out():
                process.start()
            reader.close()
            self._running[run_dir.name] = (process, os.dup(writer.fileno()))
            writer.close()
        except OSError:
            self._places.give_back(run_dir.name)
            raise


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Have a started process not run this one's script again, as multiprocessing does for pickles.

    A run needs nothing of it, and a script that asks for runs would ask again in each of them.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _execute(
    run_dir: Path,
    slot: Slot,
    plugins: list[str],
    pipe: Connection,
    environment: dict[str, str],
) -> None:
    """Execute a run in the forked process."""
    from bench.run.execute import Options, execute
    from bench.run.signals import leave_with_parent

    os.setsid()  # Ctrl-C reaches runs through `stop`, and only once
    leave_with_parent(pipe.fileno())
    # The server has the environment in which it was started, and has touched no GPU yet.
    os.environ.clear()
    os.environ.update(environment)
    load_plugins(plugins)
    with (run_dir / "log.txt").open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    guard_output()  # the disk of the log may be full
    options = Options(device=slot.devices[0], threads=slot.threads, memory_share=slot.share)
    sys.exit(execute(run_dir, options))
