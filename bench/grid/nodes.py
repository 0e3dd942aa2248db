"""The nodes of a cluster that runs may be started on: each is looked at first.

In: the store, plugins and what is asked of a slot. Out: nodes with their slots. A node that would
give other results than this machine, or none, is refused by name.
"""

import math
import os
import secrets
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.grid.cluster import import_ray
from bench.grid.node import describe, look_around
from bench.grid.slots import Slot
from fcn.errors import InputError

LOOK_SECONDS = 180.0
"""Time for a node to be looked at: a worker's start, and plugins that import torch."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, and how it is shared out."""

    id: str
    name: str
    slot: Slot
    count: int
    """Runs at a time."""
    num_cpus: float
    """CPUs of each, as Ray counts them."""
    num_gpus: float

    def fits(self, available: dict[str, float]) -> int:
        """Return how many runs fit into what other users of the node leave."""
        needs = {"CPU": self.num_cpus, "GPU": self.num_gpus}
        rooms = [available.get(k, 0.0) / need + 1e-6 for k, need in needs.items() if need]
        return int(min(rooms))


def share_out(node: dict[str, Any], device: str, slots: int | None) -> Node | None:
    """Share a node's resources out among runs; None if it has nothing for them.

    Each run gets its part of the CPUs, and on a GPU its fraction of one. Ray keeps count of the
    fractions; that the runs on one GPU fit into its memory is the user's word.

    Args:
        node: An entry of `ray.nodes()`.
        device: `cpu` or `cuda`.
        slots: Runs at a time on each GPU, or on the node's CPU; None for one per GPU or per core.
    """
    cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
    count = gpus * (slots or 1) if device == "cuda" else (slots or cpus)
    if not count or not cpus:
        return None
    part = cpus / count
    return Node(
        id=node["NodeID"],
        name=f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})",
        slot=Slot(device, threads=max(1, cpus // count)),
        count=count,
        num_cpus=float(cpus // count)
        if part >= 1
        else _floor(part),  # Ray wants whole ones above 1
        num_gpus=0.0 if device == "cpu" else _floor(1 / (slots or 1)),
    )


class Nodes:
    """The nodes that are there and have been looked at.

    Args:
        store: Folder of the run store.
        devices: `auto`, `cpu` or `cuda`.
        slots: As for `share_out`.
        plugins: Modules that runs load first.

    Raises:
        InputError: Devices are named one by one.
    """

    def __init__(
        self, store: Path, devices: Sequence[str], slots: int | None, plugins: Sequence[str]
    ) -> None:
        if len(devices) != 1 or devices[0] not in ("auto", "cpu", "cuda"):
            raise InputError(
                f"--devices {' --devices '.join(devices)}: on a cluster Ray hands out the devices; "
                "say auto, cpu or cuda, and --slots for the runs at a time on each"
            )
        self._store, self._slots, self._plugins = store.resolve(), slots, list(plugins)
        self._device = devices[0]
        self._good: dict[str, Node] = {}
        self._bad: set[str] = set()
        self._looks: dict[Any, Node] = {}
        self._sign = self._store / f".tmp-node-check-{secrets.token_hex(8)}"
        self._here: dict[str, Any] | None = None

    def current(self) -> list[Node]:
        """Return the nodes that can be used now; a node that has joined is looked at first.

        Raises:
            InputError: The first time: a node cannot be used, or none has what runs need.
        """
        ray = import_ray()
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        first = self._here is None
        if first:
            self._prepare(list(alive.values()))
        self._look_at_new(list(alive.values()))
        problems = self._settle(LOOK_SECONDS if first else 0.0)
        if first and problems:
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
        kinds = {kind for node in nodes for kind, n in node["Resources"].items() if n >= 1}
        if self._device == "auto":
            self._device = "cuda" if "GPU" in kinds else "cpu"
        if not any(share_out(node, self._device, self._slots) for node in nodes):
            raise InputError(
                f"none of the {len(nodes)} nodes of the cluster has a "
                f"{'GPU' if self._device == 'cuda' else 'CPU'} for a run; `ray status` shows what "
                "it has, and --devices cpu uses CPUs where there is no GPU"
            )
        self._here = describe(self._store, self._plugins)
        self._sign.touch()

    def _look_at_new(self, nodes: list[dict[str, Any]]) -> None:
        ray = import_ray()
        known = {*self._good, *self._bad, *(node.id for node in self._looks.values())}
        for values in nodes:
            node = share_out(values, self._device, self._slots)
            if node is not None and node.id not in known:
                order = (str(self._store), self._sign.name, self._plugins, os.getcwd())
                task = ray.remote(look_around).options(**pinned(node), num_cpus=0)
                self._looks[task.remote(*order)] = node

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
            why = self._judge(ended[0])
            if why:
                self._bad.add(node.id)
                problems.append(f"node {node.name} {why}")
            else:
                self._good[node.id] = node
        late = list(self._looks.values()) if seconds else []
        return problems + [f"node {n.name} did not answer within {seconds:.0f} s" for n in late]

    def _judge(self, look: Any) -> str | None:
        """Return what is wrong with a node, or None."""
        ray = import_ray()
        try:
            there = ray.get(look)
        except ray.exceptions.RayError as error:
            last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            return f"cannot start our code: {last}"
        assert self._here is not None
        if "error" in there:
            return f"cannot start `{Path(sys.executable).name} -m bench`: {there['error']}"
        if not there["sees"]:
            return (
                f"does not see the store: {self._sign} was written here and is not there. All "
                "nodes need the store under the same path, on a file system that they share"
            )
        if not there["writes"]:
            return f"cannot write into the store, {self._store}"
        lacking = [p for p, size in self._here["packs"].items() if there["packs"].get(p) != size]
        if lacking:
            return f"does not see the data: {self._store / lacking[0]} is missing there or cut"
        differing = [k for k in there if k in self._here and k not in ("packs", "sees", "writes")]
        return _compare({k: (self._here[k], there[k]) for k in differing})


def pinned(node: Node) -> dict[str, Any]:
    """Return the options of a task that runs on this node or not at all, and once."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    where = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return {"scheduling_strategy": where, "max_retries": 0}


def _compare(values: dict[str, tuple[Any, Any]]) -> str | None:
    other = [f"{k} {there} (here {here})" for k, (here, there) in values.items() if here != there]
    if not other:
        return None
    return f"would give other results: it has {', '.join(other)}; install the same there"


def _floor(fraction: float) -> float:
    """Round down to the ten-thousandths that Ray counts in."""
    return math.floor(fraction * 10_000 + 1e-6) / 10_000
