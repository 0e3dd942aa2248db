"""A run over several devices: torchrun starts a process for each and ends all when one fails.

In: a run's folder and its devices. Out: an exit code of `bench.run.outcome`, and a failure record
where the run's first process could not leave one. From outside it is like a run in one process.
torchrun as a command says 1 whatever happened, and its processes outlive it if it is killed: so its
API is called, which tells each process's exit code, and the processes watch a pipe that closes.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.grid.local import GRACE_SECONDS
from bench.grid.slots import Slot, exec_command
from bench.importing import importing
from bench.run import outcome
from bench.run.signals import SIGNALS, leave_with_parent
from bench.store.lease import Watch
from bench.store.records import Reason
from bench.store.runs import Failure, Store


def launch(
    run_dir: Path,
    slot: Slot,
    plugins: Sequence[str],
    more: Sequence[str] = (),
    *,
    with_parent: bool,
) -> int:
    """Execute a run, spread over the devices of a slot, and return an exit code.

    Replaces this process's standard input; reads and writes the store.

    Args:
        run_dir: The run's folder.
        slot: One device for each process, and the CPU threads of each.
        plugins: Modules that each process imports first.
        more: Further words for the command of each.
        with_parent: End when the standard input closes.
    """
    _tie_processes(with_parent=with_parent)  # before torch is imported, which takes seconds
    with importing():
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=len(slot.devices),
        run_id=run_dir.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any free port
        local_addr="localhost",
        max_restarts=0,  # the controller knows causes, and what is tried again
        signals_to_handle=",".join(number.name for number in SIGNALS),
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),  # output goes where this process's goes
    )
    python, *words = [*exec_command(run_dir, slot, plugins), *more, "--member"]
    codes: Mapping[int, int] | None = {}
    try:
        elastic_launch(config, python)(*words)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
    except SignalException:
        codes = None
        _await_processes()
    return _settle(Store(run_dir.parent.parent), run_dir.name, codes, len(slot.devices))


def _tie_processes(*, with_parent: bool) -> None:
    """Give processes to come a standard input that closes when this one ends, however it ends."""
    parent = os.dup(sys.stdin.fileno())
    reader, writer = os.pipe()
    os.dup2(reader, sys.stdin.fileno())
    os.close(reader)
    if with_parent:
        leave_with_parent(parent, first=lambda: os.close(writer))


def _await_processes() -> None:
    """Wait for the processes of a run that was asked to stop, so that each reaches its checkpoint.

    A second signal keeps torchrun from it: schedulers, and the engine, send one each.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    until = time.monotonic() + GRACE_SECONDS
    with suppress(ChildProcessError):  # none is left
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.05)


def _settle(store: Store, run_id: str, codes: Mapping[int, int] | None, size: int) -> int:
    """Turn how the processes ended into one exit code, and see that the record says why.

    Args:
        store: Where the run is.
        run_id: Its id.
        codes: Exit code of each process that failed, in the order in which they did; None where a
            signal asked all to leave.
        size: Number of processes.
    """
    if codes == {} or store.status(run_id) == "done":
        return outcome.DONE
    recorded = store.failure(run_id)
    if codes is None:
        if recorded is None:
            _record(store, run_id, Reason.STOPPED, "stopped by a signal before the first step")
        return outcome.code_of(recorded.reason) if recorded else outcome.STOPPED
    # Who lost the others is not who failed.
    causes = [rank for rank, code in codes.items() if code != outcome.PEER] or list(codes)
    rank, code = causes[0], codes[causes[0]]
    reason = outcome.REASONS.get(code, Reason.KILLED if code < 0 else Reason.ERROR)
    if (
        code != outcome.BUSY
        and (rank > 0 or code < 0)
        and not (recorded and recorded.reason == reason)
    ):
        how = f"signal {-code}" if code < 0 else f"exit code {code} ({reason})"
        message = f"process {rank} of {size} ended with {how}, and the others were ended"
        _record(store, run_id, reason, message)
    return code if code > 0 else 128 - code  # as shells say it


def _record(store: Store, run_id: str, reason: Reason, message: str) -> None:
    """Write why the attempt ended, unless another command has taken the run over by now."""
    folder = store.run_dir(run_id)
    log = folder / "log.txt"
    tail = log.read_text(encoding="utf-8", errors="replace")[-4000:] if log.exists() else ""
    step = max((row["step"] for row in store.logs(run_id)), default=None)
    if Watch(folder).is_free():  # the lease of a process that is dead is taken from it
        store.record_failure(run_id, Failure(reason, message, step=step, details=tail))
