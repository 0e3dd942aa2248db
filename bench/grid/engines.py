"""Engines by name: where a grid's runs are started."""

from collections.abc import Callable, Sequence

from bench.grid.controller import Engine
from bench.grid.local import LocalEngine
from bench.grid.slots import Slot
from bench.grid.warm import WarmEngine
from fcn.registry import Registry

ENGINES: Registry[Callable[[Sequence[Slot], Sequence[str]], Engine]] = Registry("engine")
"""name -> engine over slots of this machine, whose runs load some plugins first."""

ENGINES.register("local")(LocalEngine)
ENGINES.register("warm")(WarmEngine)


def create_engine(name: str, slots: Sequence[Slot], plugins: Sequence[str] = ()) -> Engine:
    """Create an engine.

    Args:
        name: `local` or `warm`.
        slots: Places for runs.
        plugins: Modules that each run loads first.

    Raises:
        InputError: There is no such engine.
    """
    return ENGINES[name](slots, plugins)
