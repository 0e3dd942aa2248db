"""How a run's process ends: exit codes with meanings, and exceptions told apart by cause."""

import errno
import re
import traceback

from bench.store.lease import BusyError, FolderGoneError, LeaseLostError
from bench.store.records import Failure, Reason
from fcn.errors import InputError

DONE = 0
INPUT = 65
BUSY = 69
ERROR = 70
MEMORY = 71
DISK = 74
STOPPED = 75
ORPHANED = 76
PEER = 77
NONFINITE = 78

DISK_ERRORS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "EACCES", "ESTALE")
    if hasattr(errno, name)
}
"""Full, over quota, too large, read only, broken, not ours, gone."""

OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
"""What errors say whose type does not."""

REASONS = {
    INPUT: Reason.INPUT,
    ERROR: Reason.ERROR,
    MEMORY: Reason.MEMORY,
    DISK: Reason.DISK,
    STOPPED: Reason.STOPPED,
    ORPHANED: Reason.STOPPED,
    PEER: Reason.ERROR,
    NONFINITE: Reason.NONFINITE,
}
"""What the exit codes stand for in a failure's record."""


class StoppedError(Exception):
    """A signal asked the run to stop; its checkpoint is written."""


class NonFiniteLossError(ArithmeticError):
    """The loss was NaN or infinite."""


def code_of(reason: Reason) -> int:
    """Return the exit code of a failure's reason."""
    return next((code for code, known in REASONS.items() if known == reason), ERROR)


def exit_code(error: BaseException) -> int:
    """Tell the cause of the error that ended a run."""
    if isinstance(error, StoppedError):
        return STOPPED
    if isinstance(error, NonFiniteLossError):
        return NONFINITE
    if isinstance(error, InputError):
        return INPUT
    if is_out_of_memory(error):
        return MEMORY
    if isinstance(error, BusyError):
        return BUSY
    if isinstance(error, LeaseLostError):
        return ORPHANED
    if isinstance(error, FolderGoneError) or _os_error(error) in DISK_ERRORS:
        return DISK
    if _is_of_another(error):
        return PEER
    return ERROR


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, that of the machine or of a device."""
    return isinstance(error, MemoryError) or _mentions(error, *OUT_OF_MEMORY)


def describe(error: BaseException, step: int | None) -> Failure:
    """Turn the error that ended a run into its record."""
    code = exit_code(error)
    known = code in (INPUT, STOPPED, NONFINITE)
    details = "" if known else "".join(traceback.format_exception(error))[-4000:]
    message = str(error) if known else f"{type(error).__name__}: {error}"
    return Failure(reason=REASONS[code], message=message, step=step, details=details)


def _os_error(error: BaseException) -> int | None:
    """Return the number of a failed system call; safetensors gives it only in its text."""
    if isinstance(error, OSError):
        return error.errno
    match = re.search(r"\(os error (\d+)\)|\bErrno (\d+)\b", str(error))
    return int(match[1] or match[2]) if match else None


def _is_of_another(error: BaseException) -> bool:
    """Tell errors of a process whose peer is gone: in a group, what failed is the peer."""
    import torch.distributed as dist  # here: the controller imports this file without torch

    if not dist.is_initialized():
        return False
    return isinstance(error, dist.DistError) or _mentions(error, "gloo", "nccl", "by peer")


def _mentions(error: BaseException, *phrases: str) -> bool:
    """Torch reports some causes only in the text of a RuntimeError."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in phrases)
