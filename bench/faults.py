"""Faults on purpose: named points in the code where a test can make things go wrong.

Off unless FCN_BENCH_FAULT is set, as in `checkpoint.written:crash` or `loss:nan@7` (the seventh
time the point is passed). Nothing else in the project reads the environment to change a result.
"""

import errno
import os
import signal
import time
from collections import Counter

VARIABLE = "FCN_BENCH_FAULT"

POINTS = (
    "run.locked",
    "step",
    "loss",
    "log.written",
    "checkpoint.tensors_written",
    "checkpoint.written",
    "checkpoint.pruned",
    "weights.written",
    "evaluation.written",
    "result.writing",
)
"""Every point, in the order in which a run passes it first."""

ACTIONS = ("crash", "raise", "nan", "oom", "hang", "enospc")

_passed: Counter[str] = Counter()


def fault_point(name: str) -> bool:
    """Pass a point; do there what the environment asks for.

    Returns:
        Whether the action is `nan`, which the caller carries out.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return False
    assert name in POINTS, name
    _passed[name] += 1
    point, _, action = wanted.partition(":")
    action, _, time_passed = action.partition("@")
    if point not in POINTS or action not in ACTIONS:
        raise ValueError(
            f"{VARIABLE}={wanted}: give POINT:ACTION or POINT:ACTION@N; points are "
            f"{', '.join(POINTS)}, actions {', '.join(ACTIONS)}"
        )
    if point != name or _passed[name] != int(time_passed or 1):
        return False
    return _act(action, name)


def _act(action: str, name: str) -> bool:
    if action == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "raise":
        raise RuntimeError(f"fault at {name}")
    if action == "oom":
        raise RuntimeError(f"CUDA out of memory (fault at {name})")
    if action == "enospc":
        raise OSError(errno.ENOSPC, f"No space left on device (fault at {name})")
    if action == "hang":
        while True:
            time.sleep(60)
    return action == "nan"
