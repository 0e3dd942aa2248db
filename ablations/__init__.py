"""ablations asks: questions as YAML specs, expanded into a plan of runs; the front door.

    question = ablations.load("quickstart", {"train.steps": 50})
    plan = ablations.plan(question)       # what would be trained, run by run
    outcome = ablations.run(question)     # trains what is missing, as `fcn-bench run` does

Importing this package loads no torch; the first use of a name does, if it needs it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ablations.api import load, plan, run
    from bench.version import __version__ as __version__

__all__ = ["load", "plan", "run"]

_HOMES = {**dict.fromkeys(__all__, "ablations.api"), "__version__": "bench.version"}

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        from fcn.lazy import import_public

        return import_public(__name__, name, _HOMES)


def __dir__() -> list[str]:
    return __all__
