"""The ray engine: a process per run, on the machines of a Ray cluster.

A run is a core task of Ray that starts the same command as the local engine, on a node that has
been looked at. Nothing but exit codes comes back through Ray: results are in the store. Nodes may
be lost or join at any time; a run lost with its node goes on elsewhere from its checkpoint.
"""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.grid.cluster import Head, connect, import_ray, losses
from bench.grid.contracts import Exit
from bench.grid.local import GRACE_SECONDS
from bench.grid.node import Order, execute_order
from bench.grid.node_slots import Node, pinned
from bench.grid.nodes import Nodes
from bench.run.outcome import BUSY, ERROR

ANSWER_SECONDS = 10.0
"""Time beyond a run's grace for its node to answer."""

PRESS_SECONDS = 0.2
"""Time between two requests to end a run at once."""


@dataclass
class _Task:
    """A run that was handed to Ray."""

    ref: Any
    node: Node
    run_dir: Path
    ending_since: float | None = None
    """When it was to be ended at once, by the monotonic clock."""

    @property
    def is_late(self) -> bool:
        """Whether its node has had time enough to end it."""
        since = self.ending_since
        return since is not None and time.monotonic() - since > ANSWER_SECONDS


class RayEngine:
    """Runs `python -m bench exec RUN_DIR` as a subprocess of a Ray task per run.

    Args:
        nodes: The nodes, and how each is shared out.
        plugins: Modules that each run imports beside the installed plugins.
        address: The cluster's head, `auto`, or None to start one on this machine. Where Ray is
            initialised in this process already, that cluster is used, and left as it is.
        insecure: Whether a cluster that asks for no token is used.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be used.
    """

    def __init__(
        self,
        nodes: Nodes,
        plugins: Sequence[str] = (),
        address: str | None = None,
        *,
        insecure: bool = False,
    ) -> None:
        self._is_ours = connect(address, insecure=insecure)
        self._ray = import_ray()
        self._head = Head()
        self._nodes, self._plugins = nodes, tuple(plugins)
        self._execute = self._ray.remote(execute_order)
        self._running: dict[str, _Task] = {}
        self._free: dict[Node, int] = {}

    def free_slots(self) -> int:
        """Return how many runs can be started now, on the nodes that are there now.

        Raises:
            InputError: The first time: a node cannot be used.
            EngineLostError: The cluster's head is gone.
        """
        if not self._head.answers():
            return 0
        # No public function says what is left on each node, only what is left in all.
        available = self._ray._private.state.available_resources_per_node()
        self._free = {}
        for node in self._nodes.current():
            ours = sum(task.node.id == node.id for task in self._running.values())
            self._free[node] = max(0, min(node.count - ours, node.fits(available.get(node.id, {}))))
        return sum(self._free.values())

    def start(self, run_dir: Path) -> None:
        """Start a run's process on the node with most room; output goes to the run's `log.txt`."""
        assert any(self._free.values()) or self.free_slots()
        node = max(self._free, key=lambda node: self._free[node])
        self._free[node] -= 1
        order = Order(
            run_dir=str(run_dir.resolve()),
            slot=node.slot,
            plugins=self._plugins,
            folder=os.getcwd(),
            grace_seconds=GRACE_SECONDS,
            variables={k: v for k, v in os.environ.items() if k.startswith("FCN_BENCH_")},
        )
        needs = {"num_cpus": node.num_cpus, "num_gpus": node.num_gpus}
        ref = self._execute.options(**pinned(node), **needs).remote(order)
        self._running[run_dir.name] = _Task(ref, node, run_dir)

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to `seconds` for processes to end, and return those that did."""
        until = time.monotonic() + seconds
        if not self._running:
            time.sleep(seconds)
        while self._running:
            self._press()
            run_ids = {task.ref: run_id for run_id, task in self._running.items()}
            left = max(0.0, until - time.monotonic())
            self._ray.wait(list(run_ids), timeout=min(left, PRESS_SECONDS))
            ended, _ = self._ray.wait(list(run_ids), num_returns=len(run_ids), timeout=0)
            if ended or left == 0:
                return [self._settle(run_ids[ref]) for ref in ended]
        return []

    def is_queued(self, run_id: str) -> bool:
        """Say that no run waits: nodes that have room are found first."""
        return False

    def kill(self, run_id: str) -> None:
        """End a run's process at once; `poll` then reports it."""
        task = self._running[run_id]
        task.ending_since = time.monotonic()
        self._ray.cancel(task.ref)

    def stop(self) -> None:
        """Ask what still runs to checkpoint and leave; end what does not within the grace."""
        refs = [task.ref for task in self._running.values()]
        for ref in refs:
            self._ray.cancel(ref)
        if refs:
            seconds = GRACE_SECONDS + ANSWER_SECONDS
            if self._head.is_gone:  # Ray will end this process before long
                seconds = min(seconds, self._head.patience / 4)
            _, left = self._ray.wait(refs, num_returns=len(refs), timeout=seconds)
            for ref in left:
                self._ray.cancel(ref, force=True)
        self._running.clear()
        self._nodes.close()
        if self._is_ours:
            self._ray.shutdown()

    def _press(self) -> None:
        """Ask again for what is to be ended at once: the second time, no grace is given."""
        for task in self._running.values():
            if task.ending_since is not None:
                self._ray.cancel(task.ref, force=task.is_late)

    def _settle(self, run_id: str) -> Exit:
        """Tell how a task ended that has."""
        task, errors = self._running.pop(run_id), self._ray.exceptions
        try:
            return Exit(run_id, self._ray.get(task.ref))
        except losses(self._ray):
            self._nodes.lose(task.node.id)
            return Exit(run_id, -signal.SIGKILL, lost=f"node {task.node.name} was lost")
        except errors.TaskCancelledError:
            # It had waited for room that others took, and never begun; or its worker was ended too.
            return Exit(run_id, -signal.SIGKILL if task.is_late else BUSY)
        except errors.RayTaskError as error:
            with (task.run_dir / "log.txt").open("a", encoding="utf-8") as log:
                log.write(f"not started on node {task.node.name}: {error}\n")
            return Exit(run_id, ERROR)
        except errors.RayError:  # its worker crashed, or was ended because memory ran out
            return Exit(run_id, -signal.SIGKILL)
