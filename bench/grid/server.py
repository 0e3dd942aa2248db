"""What the warm engine's server loads: a run's code, and an end that takes no time.

It has to be gone within a second of its engine, and torch takes longer to be taken down. Runs are
forked from it and end by themselves; there is nothing else to be put away. Signals are for its
engine and for its runs: a scheduler sends them to all processes at once, and without the server the
engine would not see its runs write their checkpoints. To be imported by that server alone: whoever
imports it ends with exit code 0, when its engine does.
"""

import atexit
import os
import signal
from types import FrameType

_SERVER = os.getpid()


def _leave_to_runs(number: int, frame: FrameType | None) -> None:
    """Do nothing in the server; end a run that has just been forked, as the signal would."""
    if os.getpid() != _SERVER:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(_number, _leave_to_runs)  # before torch is imported, which takes seconds

from bench.importing import importing  # noqa: E402

with importing():
    import bench.run.execute  # noqa: F401

atexit.register(os._exit, 0)
