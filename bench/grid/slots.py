"""Slots: places for one run at a time, on the devices of this machine, and the command for each.

In: device names. Out: slots; and for a slot, the argument list and environment of its process,
whatever engine starts it.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fcn.errors import InputError

CUT = 0.96
"""Part of a shared GPU's memory that is dealt out: each process keeps half a gigabyte beside it."""


@dataclass(frozen=True)
class Slot:
    """A place for one run at a time."""

    device: str
    """`cpu`, `mps`, or `cuda:0` and so on: where the run's first process computes."""
    threads: int
    """CPU threads of each process of the run."""
    further: tuple[str, ...] = ()
    """Devices of the run's other processes; none for a run on one device."""
    gpus: tuple[str, ...] = ()
    """What CUDA_VISIBLE_DEVICES calls these devices (UUIDs): the run sees no others. Empty leaves
    it to see what this process sees."""
    share: float = 1.0
    """Part of each GPU's memory that the run may take; the rest is its neighbours'."""

    @property
    def on_gpu(self) -> bool:
        """Whether its memory is a GPU's."""
        return self.device.startswith("cuda")

    @property
    def places(self) -> tuple[str, ...]:
        """Its devices by names that all slots of the machine share."""
        return self.gpus or (self.device, *self.further)

    @property
    def devices(self) -> tuple[str, ...]:
        """One device for each process of the run, as the run counts them."""
        if self.gpus:
            return tuple(f"cuda:{i}" for i in range(len(self.gpus)))
        return (self.device, *self.further)

    @property
    def variables(self) -> dict[str, str]:
        """What the environment of the run's process says of its devices."""
        visible = {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {}
        return {"OMP_NUM_THREADS": str(self.threads), **visible}


def exec_command(run_dir: Path, slot: Slot, plugins: Sequence[str] = ()) -> list[str]:
    """Return the argument list that executes a run in a slot, on one device or over several.

    The process leaves when its standard input closes, which tells it that its engine is gone. Its
    exit code is one of `bench.run.outcome`, over how many processes it may spread the run.
    """
    command = [sys.executable, "-m", "bench", "exec", str(run_dir)]
    command += [word for device in slot.devices for word in ("--device", device)]
    command += ["--threads", str(slot.threads), "--with-parent"]
    command += ["--memory-share", f"{slot.share:g}"] if slot.share < 1 else []
    return command + [word for plugin in plugins for word in ("--plugin", plugin)]


def exec_environment(slot: Slot) -> Mapping[str, str]:
    """Return the environment of that command.

    The process looks for modules in the current folder only where this one does: somebody's folder
    `bench` there is not ours.
    """
    is_seen = {"", os.getcwd()} & set(sys.path)
    return {**os.environ, **slot.variables, **({} if is_seen else {"PYTHONSAFEPATH": "1"})}


def plan_slots(
    devices: Sequence[str],
    slots_per_device: int | None,
    devices_per_run: int = 1,
    gpus: Sequence[str] = (),
) -> list[Slot]:
    """Lay out slots over devices and share the CPU's threads among their processes.

    Args:
        devices: Device names as torch spells them.
        slots_per_device: Runs at a time on each; None for one per GPU, and on the CPU for as many
            as have a core for each process (small networks gain more from a second run than from a
            second thread).
        devices_per_run: Devices that one run is spread over: GPUs next to each other in `devices`,
            or processes on the CPU.
        gpus: UUID of each GPU, in torch's order; a run is then shown only its own.

    Raises:
        InputError: The devices cannot be dealt out in groups of that size.
    """
    cores = _count_cores()
    groups = _group(devices, devices_per_run)
    on_cpu = max(1, cores // devices_per_run)
    counts = [slots_per_device or (on_cpu if group[0] == "cpu" else 1) for group in groups]
    threads = share_threads(sum(counts) * devices_per_run)
    rounds = range(max(counts))  # groups take turns, so that the first runs spread out
    chosen = [g for turn in rounds for g, n in zip(groups, counts, strict=True) if turn < n]
    return [
        Slot(group[0], threads, group[1:], _name_gpus(group, gpus), _share(group, chosen))
        for group in chosen
    ]


def share_threads(num_processes: int) -> int:
    """Return how many CPU threads each of some processes gets."""
    return max(1, _count_cores() // num_processes)


def _share(group: Sequence[str], chosen: Sequence[Sequence[str]]) -> float:
    """Return the part of a GPU's memory for each of the runs on it; CUDA itself takes some too."""
    neighbours = sum(not set(group).isdisjoint(other) for other in chosen)
    return CUT / neighbours if group[0].startswith("cuda") and neighbours > 1 else 1.0


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _name_gpus(group: Sequence[str], gpus: Sequence[str]) -> tuple[str, ...]:
    """Return the UUIDs of `cuda` devices; nothing for others, or where one is not known."""
    numbers = [int(device.partition(":")[2] or 0) for device in group if device[:4] == "cuda"]
    known = len(numbers) == len(group) and max(numbers) < len(gpus)
    return tuple(gpus[i] for i in numbers) if known else ()


def _group(devices: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Deal devices out to runs; each `cpu` stands for as many processes as a run needs."""
    if size == 1:
        return [(device,) for device in devices]
    if set(devices) == {"cpu"}:
        return [("cpu",) * size for _ in devices]
    gpus = [device for device in devices if device.startswith("cuda")]
    if len(gpus) != len(devices) or len(set(gpus)) != len(gpus) or len(gpus) % size:
        raise InputError(
            f"{len(devices)} devices ({', '.join(devices)}) cannot be dealt out to runs over "
            f"{size} devices each: give --devices-per-run a divisor of the number of different "
            "GPUs named by --devices, or --devices cpu for processes on the CPU"
        )
    return [tuple(gpus[i : i + size]) for i in range(0, len(gpus), size)]
