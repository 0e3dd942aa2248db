"""Engines by name: where a grid's runs are started.

In: a name and what a command asks for. Out: an `Engine`. A new one is a function
registered here; `tests/bench/test_engines.py` then holds it to what all engines promise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_all_start_methods
from pathlib import Path

from bench.grid.contracts import Engine
from bench.grid.gpus import choose_devices
from bench.grid.local import LocalEngine
from bench.grid.nodes import Nodes
from bench.grid.ray import RayEngine
from bench.grid.slots import Slot, plan_slots
from bench.grid.slurm import SlurmEngine
from bench.grid.slurm_settings import place_jobs, read_settings
from bench.grid.warm import WarmEngine
from bench.plugins import absolute
from fcn.errors import InputError
from fcn.registry import Registry


@dataclass(frozen=True)
class Request:
    """What a command asks of an engine. Nothing here changes a result beyond rounding."""

    store: Path
    """Folder of the run store."""
    devices: Sequence[str] = ("auto",)
    """Devices as torch spells them."""
    slots: int | None = None
    """Runs at a time on each device; None leaves it to the engine."""
    plugins: Sequence[str] = ()
    """Modules that each run loads first."""
    address: str | None = None
    """Head of a cluster; None for this machine alone."""
    insecure: bool = False
    """Whether a cluster that lets anybody in is used."""
    devices_per_run: int = 1
    """Devices that one run is spread over."""
    slurm: Sequence[str] = ()
    """What `--slurm` says of jobs."""


ENGINES: Registry[Callable[[Request], Engine]] = Registry("engine")


def require_engine(name: str, slurm: Sequence[str]) -> None:
    """See that there is an engine, before anything else is done.

    Raises:
        InputError: There is none of that name, or `--slurm` says what nobody knows.
    """
    if name != "auto":
        ENGINES[name]
    read_settings(slurm)


def create_engine(name: str, request: Request) -> Engine:
    """Create an engine.

    Args:
        name: Of `ENGINES`, or `auto`: warm where each run is one process on a CPU or a CUDA GPU,
            as starting short ones would be a tenth of the work; local elsewhere.
        request: What a command asks for.

    Raises:
        InputError: There is no such engine, or it cannot do what is asked.
    """
    if name == "auto":
        slots = slots_here(request)
        # Metal is left out: what its libraries do in a forked process is nobody's promise.
        can_be = all(len(slot.devices) == 1 and slot.device != "mps" for slot in slots)
        name = "warm" if can_be and "forkserver" in get_all_start_methods() else "local"
    return ENGINES[name](request)


@ENGINES.register("local")
def _local(request: Request) -> Engine:
    return LocalEngine(slots_here(request), absolute(request.plugins))


@ENGINES.register("warm")
def _warm(request: Request) -> Engine:
    if request.devices_per_run > 1:
        raise InputError(
            f"--devices-per-run {request.devices_per_run}: --engine warm forks each run as one "
            "process on one device; leave one of the two out, or choose --engine local, or "
            "--engine ray for the machines of a cluster"
        )
    return WarmEngine(slots_here(request), absolute(request.plugins))


@ENGINES.register("ray")
def _ray(request: Request) -> Engine:
    plugins = absolute(request.plugins)
    nodes = Nodes(request.store, request.devices, request.slots, plugins, request.devices_per_run)
    return RayEngine(nodes, plugins, request.address, insecure=request.insecure)


@ENGINES.register("slurm")
def _slurm(request: Request) -> Engine:
    if request.address is not None or request.insecure:
        raise InputError(
            "--address and --insecure are about a Ray cluster; leave them out, or choose "
            "--engine ray"
        )
    settings = read_settings(request.slurm)
    slot, settings = place_jobs(settings, request.devices, request.devices_per_run)
    plugins = absolute(request.plugins)
    return SlurmEngine(request.store, slot, request.slots, settings, plugins)


def slots_here(request: Request) -> list[Slot]:
    """Lay out the slots of this machine.

    Raises:
        InputError: A device is not there, or the request is about a cluster.
    """
    if request.address is not None or request.insecure or request.slurm:
        raise InputError(
            "--address, --insecure and --slurm are about a cluster, but this engine starts runs on "
            "this machine alone; leave them out, or choose --engine ray or slurm"
        )
    names, gpus = choose_devices(request.devices)
    if request.devices_per_run > 1 and names == ["cuda"]:
        names = [f"cuda:{i}" for i in range(len(gpus))]
    uuids = [gpu.uuid for gpu in gpus]
    return plan_slots(names, request.slots, request.devices_per_run, uuids)
