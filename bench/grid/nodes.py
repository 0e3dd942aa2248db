"""The nodes of a cluster that runs may be started on: each is looked at first.

In: the store, plugins and what is asked of a slot. Out: nodes with their slots. A node that would
give other results than this machine, or none, is refused by name.
"""

import os
import secrets
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.grid.cluster import import_ray, losses
from bench.grid.node_check import find_fault, inspect_node
from bench.grid.node_slots import Node, divide_node, pinned
from bench.store.scratch import scratch_prefix
from fcn.errors import InputError

APPEAR_SECONDS = 10.0
"""Time in which a network file system shows a new file on another machine."""

LOOK_SECONDS = 180.0
"""Time for a node to be looked at: a worker's start, and plugins that import torch."""


class Nodes:
    """The nodes that are there and have been looked at.

    Args:
        store: Folder of the run store.
        devices: `auto`, `cpu` or `cuda`.
        slots: As for `divide_node`.
        plugins: Modules that runs load first.
        devices_per_run: As for `divide_node`.

    Raises:
        InputError: Devices are named one by one, or a run is to have fractions of several.
    """

    def __init__(
        self,
        store: Path,
        devices: Sequence[str],
        slots: int | None,
        plugins: Sequence[str],
        devices_per_run: int = 1,
    ) -> None:
        if len(devices) != 1 or devices[0] not in ("auto", "cpu", "cuda"):
            raise InputError(
                f"--devices {' --devices '.join(devices)}: on a cluster Ray hands out the devices; "
                "say auto, cpu or cuda, and --slots for the runs at a time on each"
            )
        self._store, self._plugins = store.resolve(), list(plugins)
        self._slots, self._devices_per_run = slots, devices_per_run
        self._device = devices[0]
        self._good: dict[str, Node] = {}
        self._bad: set[str] = set()
        self._looks: dict[Any, Node] = {}
        self._sign = self._store / f"{scratch_prefix('node-check')}{secrets.token_hex(4)}"
        self._here: dict[str, Any] = {}

    def current(self) -> list[Node]:
        """Return the nodes that can be used now; a node that has joined is looked at first.

        Raises:
            InputError: The first time: a node cannot be used, or none has what runs need.
        """
        ray = import_ray()
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        is_first = not self._here
        if is_first:
            self._prepare(list(alive.values()))
        self._look_at_new(list(alive.values()))
        problems = self._settle(LOOK_SECONDS if is_first else 0.0)
        if is_first and problems:
            raise InputError("; ".join(problems))
        for problem in problems:
            warnings.warn(f"{problem}; no run is started there", RuntimeWarning, stacklevel=2)
        return [node for i, node in self._good.items() if i in alive and i not in self._bad]

    def lose(self, node_id: str) -> None:
        """Leave a node out that has died; Ray itself takes some seconds to say so."""
        self._bad.add(node_id)

    def close(self) -> None:
        """Remove the sign from the store."""
        self._sign.unlink(missing_ok=True)

    def _prepare(self, nodes: list[dict[str, Any]]) -> None:
        if self._device == "auto":
            has_gpu = any(node["Resources"].get("GPU", 0) >= 1 for node in nodes)
            self._device = "cuda" if has_gpu else "cpu"
        if self._device == "cuda" and self._devices_per_run > 1 and (self._slots or 1) > 1:
            raise InputError(
                f"--slots {self._slots} with --devices-per-run {self._devices_per_run}: Ray gives "
                "a run a fraction of one GPU or several whole ones; leave one of the two out"
            )
        if not any(self._share_out(node) for node in nodes):
            kind = "CPU" if self._device == "cpu" else "GPU"
            wanted = f"a {kind}" if self._devices_per_run == 1 else f"{self._devices_per_run} GPUs"
            has = ", ".join(f"{n['NodeManagerHostname']} {_resources(n)}" for n in nodes)
            raise InputError(
                f"none of the {len(nodes)} nodes of the cluster has {wanted} for a run ({has}); "
                "--devices cpu uses CPUs where there is no GPU"
            )
        self._sign.touch()
        self._here = inspect_node(*self._order())
        if "error" in self._here:
            raise InputError(f"`python -m bench` cannot be started here: {self._here['error']}")

    def _look_at_new(self, nodes: list[dict[str, Any]]) -> None:
        ray = import_ray()
        known = {*self._good, *self._bad, *(node.id for node in self._looks.values())}
        for values in nodes:
            node = self._share_out(values)
            if node is not None and node.id not in known:
                task = ray.remote(inspect_node).options(**pinned(node), num_cpus=0)
                self._looks[task.remote(*self._order())] = node

    def _share_out(self, node: dict[str, Any]) -> Node | None:
        return divide_node(node, self._device, self._slots, self._devices_per_run)

    def _order(self) -> tuple[str, str, float, list[str], str]:
        """Return what `inspect_node` asks for: the same on every machine, this one included."""
        return str(self._store), self._sign.name, APPEAR_SECONDS, self._plugins, os.getcwd()

    def _settle(self, seconds: float) -> list[str]:
        """Wait for looks to end; return what is wrong, one sentence per node."""
        ray = import_ray()
        until, problems = time.monotonic() + seconds, []
        while self._looks:
            left = max(0.0, until - time.monotonic())
            ended, _ = ray.wait(list(self._looks), timeout=left)
            if not ended:
                break
            node = self._looks.pop(ended[0])
            why = self._judge(ended[0], node)
            if why:
                problems.append(f"node {node.name} {why}")
        late = list(self._looks.values()) if seconds else []
        return problems + [f"node {n.name} did not answer within {seconds:.0f} s" for n in late]

    def _judge(self, look: Any, node: Node) -> str | None:
        """Take a node that was looked at, or say what is wrong with it."""
        ray = import_ray()
        why = None
        try:
            why = find_fault(self._here, ray.get(look), self._sign)
        except losses(ray):  # it died meanwhile, or had died, and Ray has not noticed
            self._bad.add(node.id)
            return None
        except ray.exceptions.RayError as error:
            why = f"cannot start our code: {(str(error).strip().splitlines() or ['?'])[-1]}"
        if why:
            self._bad.add(node.id)
        else:
            self._good[node.id] = node
        return why


def _resources(node: dict[str, Any]) -> str:
    """Say what Ray shares out of a node."""
    cpus, gpus = (node["Resources"].get(kind, 0) for kind in ("CPU", "GPU"))
    return f"{cpus:g} CPUs and {gpus:g} GPUs"
