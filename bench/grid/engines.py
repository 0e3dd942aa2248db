"""Engines by name: where a grid's runs are started."""

from collections.abc import Callable, Sequence

from bench.grid.controller import Engine
from bench.grid.local import LocalEngine, Slot, plan_slots
from bench.grid.warm import WarmEngine
from fcn.registry import Registry

ENGINES: Registry[Callable[[Sequence[Slot]], Engine]] = Registry("engine")
ENGINES.register("local")(LocalEngine)
ENGINES.register("warm")(WarmEngine)


def create_engine(name: str, devices: Sequence[str], slots_per_device: int | None) -> Engine:
    """Create an engine over devices of this machine.

    Args:
        name: `local` or `warm`.
        devices: Device names as torch spells them.
        slots_per_device: Runs at a time on each; None for one per GPU, one per core of the CPU.

    Raises:
        InputError: There is no such engine.
    """
    return ENGINES[name](plan_slots(devices, slots_per_device))
