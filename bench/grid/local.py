"""The local engine: a process per run, on the slots of this machine's devices."""

import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench.grid.contracts import Exit
from bench.grid.places import Starting
from bench.grid.slots import Slot, exec_command, exec_environment

GRACE_SECONDS = 30.0
"""Time a run has to write its checkpoint when it is asked to leave."""


class LocalEngine(Starting):
    """Runs `python -m bench exec RUN_DIR` as a subprocess per run.

    Args:
        slots: Places for runs; several may name one device.
        plugins: Modules that each process imports beside the installed plugins.
    """

    def __init__(self, slots: Sequence[Slot], plugins: Sequence[str] = ()) -> None:
        self._plugins = list(plugins)
        super().__init__(slots)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to `seconds` for processes to end, and return those that did."""
        until = time.monotonic() + seconds
        while True:
            ended = {i: p.returncode for i, p in self._running.items() if p.poll() is not None}
            if ended or time.monotonic() > until:
                break
            time.sleep(0.05)
        for run_id in ended:
            _close_pipe(self._running.pop(run_id))
        return [Exit(i, code, shared=self._places.give_back(i)) for i, code in ended.items()]

    def kill(self, run_id: str) -> None:
        """End a run's process at once; `poll` then reports it."""
        self._running[run_id].kill()

    def stop(self) -> None:
        """Ask what still runs to checkpoint and leave; end what does not within the grace."""
        processes = list(self._running.values())
        for process in processes:
            process.terminate()
        until = time.monotonic() + GRACE_SECONDS
        try:
            for process in processes:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=max(0.0, until - time.monotonic()))
        finally:  # also when a second Ctrl-C cuts the grace short
            for process in processes:
                process.kill()
                process.wait()
                _close_pipe(process)
            self._running.clear()

    def _start(self, run_dir: Path, slot: Slot) -> None:
        try:
            with (run_dir / "log.txt").open("ab") as log:
                self._running[run_dir.name] = subprocess.Popen(
                    exec_command(run_dir, slot, self._plugins),
                    stdin=subprocess.PIPE,  # its end tells the run that this process is gone
                    stdout=log,
                    stderr=log,
                    env=exec_environment(slot),
                    start_new_session=True,  # Ctrl-C reaches runs through `stop`, and only once
                )
        except OSError:
            self._places.give_back(run_dir.name)
            raise


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
