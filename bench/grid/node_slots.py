"""A node of a cluster shared out among runs: how many at a time, and what each gets."""

import math
from dataclasses import dataclass
from typing import Any

from bench.grid.slots import CUT, Slot


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


def divide_node(
    node: dict[str, Any], device: str, slots: int | None, devices_per_run: int = 1
) -> Node | None:
    """Share a node's resources out among runs; None if it has nothing for them.

    Each run gets its part of the CPUs, and on a GPU its fraction of one. Ray keeps count of the
    fractions; of its memory each of its runs may take that part too. A run over several
    GPUs gets whole ones, which Ray shows to it as the only ones there are.

    Args:
        node: An entry of `ray.nodes()`.
        device: `cpu` or `cuda`.
        slots: Runs at a time on each GPU, or on the node's CPU; None for one per GPU or per core.
        devices_per_run: GPUs of the node, or processes on its CPU, that each run is spread over.
    """
    cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
    on_gpu, names = device == "cuda", [device] * devices_per_run
    count = slots or max(1, cpus // devices_per_run)
    if on_gpu:
        count = gpus // devices_per_run * (slots or 1)
    if not count or not cpus:
        return None
    if on_gpu and devices_per_run > 1:
        names = [f"cuda:{i}" for i in range(devices_per_run)]
    return Node(
        id=node["NodeID"],
        name=f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})",
        slot=Slot(
            names[0],
            max(1, cpus // (count * devices_per_run)),
            tuple(names[1:]),
            share=CUT / slots if on_gpu and slots and slots > 1 else 1.0,
        ),
        count=count,
        num_cpus=float(cpus // count) or _floor(cpus / count),  # above one, Ray wants whole numbers
        num_gpus=_floor(devices_per_run / (slots or 1)) if on_gpu else 0.0,
    )


def pinned(node: Node) -> dict[str, Any]:
    """Return the options of a Ray task that runs on this node or not at all, and once."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    where = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return {"scheduling_strategy": where, "max_retries": 0}


def _floor(fraction: float) -> float:
    """Round down to the ten-thousandths that Ray counts in."""
    return math.floor(fraction * 10_000 + 1e-6) / 10_000
