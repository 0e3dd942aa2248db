"""How a run stands, for people: the store's outcome, and who is at work on it.

A listing looks once, and waits for no beat: what another machine holds counts as running until its
lease is taken over, for whether that machine is still there cannot be known at a look.
"""

from typing import Literal

from bench.store.lease import is_held
from bench.store.records import Reason
from bench.store.runs import Store

State = Literal["done", "running", "stopped", "failed", "missing"]


def state_of(store: Store, run_id: str) -> State:
    """Say how a run stands.

    Args:
        store: Where it is.
        run_id: The run; it need not have a folder.

    Returns:
        `done`: it has its result. `running`: somebody makes it, whichever command. `stopped`: it
        was told to stop, or its process is gone without a word, and it goes on from a checkpoint.
        `failed`: its last attempt ended for a reason, which is recorded. `missing`: none of this;
        it would start from nothing.
    """
    status, folder = store.status(run_id), store.run_dir(run_id)
    if status == "done":
        return status
    if is_held(folder):
        return "running"
    failure = store.failure(run_id)
    if failure is not None:
        return "stopped" if failure.reason == Reason.STOPPED else "failed"
    return "stopped" if any(folder.glob("checkpoint-*.json")) else "missing"
