"""The local engine: a process per run, on the slots of this machine's devices."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.grid.controller import Exit

GRACE_SECONDS = 30.0
"""Time a run has to write its checkpoint when it is asked to leave."""


@dataclass(frozen=True)
class Slot:
    """A place for one run at a time."""

    device: str
    """`cpu`, `mps`, or `cuda:0` and so on."""
    threads: int
    """CPU threads of the run."""


class LocalEngine:
    """Runs `python -m bench exec RUN_DIR` as a subprocess per run.

    Args:
        slots: Places for runs; several may name one device.
        plugins: Modules that each process imports beside the installed plugins.
    """

    def __init__(self, slots: Sequence[Slot], plugins: Sequence[str] = ()) -> None:
        self._plugins = list(plugins)
        self._free = list(slots)
        self._running: dict[str, tuple[subprocess.Popen[bytes], Slot]] = {}

    def free_slots(self) -> int:
        """Return how many runs can be started now."""
        return len(self._free)

    def start(self, run_dir: Path) -> None:
        """Start a run's process; its output goes to `log.txt` in the run's folder."""
        slot = self._free.pop(0)
        command = [sys.executable, "-m", "bench", "exec", str(run_dir)]
        command += ["--device", slot.device, "--threads", str(slot.threads), "--with-parent"]
        command += [word for plugin in self._plugins for word in ("--plugin", plugin)]
        with (run_dir / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # its end tells the run that this process is gone
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": str(slot.threads)},
                start_new_session=True,  # Ctrl-C reaches runs through `stop`, and only once
            )
        self._running[run_dir.name] = (process, slot)

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to `seconds` for processes to end, and return those that did."""
        until = time.monotonic() + seconds
        while True:
            ended = {i: p.returncode for i, (p, _) in self._running.items() if p.poll() is not None}
            if ended or time.monotonic() > until:
                break
            time.sleep(0.05)
        for run_id in ended:
            process, slot = self._running.pop(run_id)
            _close_pipe(process)
            self._free.append(slot)
        return [Exit(run_id, code) for run_id, code in ended.items()]

    def kill(self, run_id: str) -> None:
        """End a run's process at once; `poll` then reports it."""
        self._running[run_id][0].kill()

    def stop(self) -> None:
        """Ask what still runs to checkpoint and leave; end what does not within the grace."""
        processes = [process for process, _ in self._running.values()]
        for process in processes:
            process.terminate()
        until = time.monotonic() + GRACE_SECONDS
        for process in processes:
            try:
                process.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close_pipe(process)
        self._running.clear()


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def plan_slots(devices: Sequence[str], slots_per_device: int | None) -> list[Slot]:
    """Lay out slots over devices and share the CPU's threads among them.

    Args:
        devices: Device names as torch spells them.
        slots_per_device: Runs at a time on each; None for one per GPU, and one per core on the CPU
            (small networks gain more from a second run than from a second thread).
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    counts = [slots_per_device or (cores if device == "cpu" else 1) for device in devices]
    threads = max(1, cores // sum(counts))
    rounds = range(max(counts))  # devices take turns, so that the first runs spread out
    names = [d for turn in rounds for d, n in zip(devices, counts, strict=True) if turn < n]
    return [Slot(device=name, threads=threads) for name in names]
