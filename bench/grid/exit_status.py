"""How a run's process ended, in words, where it left no record itself.

In: an exit code and what lies in the run's folder. Out: a `Failure` with reason, message, last
logged step and the end of the log.
"""

import os
import signal
from pathlib import Path

from bench.run.outcome import REASONS
from bench.store.records import Failure, Reason, read_row
from bench.store.runs import Store

TAIL_BYTES = 4000

HINTS = {
    "SIGKILL": "somebody sent it, or the system did when memory ran out",
    "SIGBUS": "a file that was mapped into memory was cut short, as packed images are when a "
    "disk is full or a file is changed under a run",
    "SIGSEGV": "a fault in compiled code",
}


def describe_end(store: Store, run_id: str, code: int, *, hung: bool, step: int = 0) -> Failure:
    """Describe the end of a process that left no record.

    Args:
        store: Where the run is.
        run_id: The run.
        code: Exit code of `bench.run.outcome`; negative for a signal.
        hung: It was ended because it made no step.
        step: Step that the run was seen to make, in case its log is gone.
    """
    folder = store.run_dir(run_id)
    seen = max(step, last_step(folder)[0]) or None
    if not (folder / "spec.yaml").exists():
        message = f"the run's folder {folder} was deleted while the run was made"
        return Failure(reason=Reason.DISK, message=message, step=seen)
    tail = _read_tail(folder / "log.txt")
    if hung:
        message = "no step was made for too long, so the process was ended"
        return Failure(reason=Reason.HUNG, message=message, step=seen, details=tail)
    if code in REASONS:
        message = f"the process ended with exit code {code} and could not write why"
        return Failure(reason=REASONS[code], message=message, step=seen, details=tail)
    message = f"the process ended with {_name(code)} and no record"
    return Failure(reason=Reason.KILLED, message=message, step=seen, details=tail)


def last_step(run_dir: Path) -> tuple[int, float | None]:
    """Read the last logged step and loss of a run from the end of its log; (0, None) before one."""
    for line in reversed(_read_tail(run_dir / "metrics.jsonl").split("\n")[:-1]):
        row = read_row(line)
        if row is not None and "loss" in row:
            return row["step"], row["loss"]
    return 0, None


def _name(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    hint = HINTS.get(name)
    return f"signal {-code}, {name}" + (f" ({hint})" if hint else "")


def _read_tail(path: Path) -> str:
    """Return the end of a text file; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
