"""Public names of a package, each imported from its module on first use (PEP 562).

So that importing a package loads no torch, pandas or numpy: what a name needs comes with the name.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def import_public(package: str, name: str, homes: Mapping[str, str]) -> Any:
    """Return what a public name of a package stands for; what its `__getattr__` calls.

    Args:
        package: Name of the package.
        name: What is asked for.
        homes: By public name, the module that holds it; `MODULE:OTHER` where it is called
            otherwise there.

    Raises:
        AttributeError: The package has no such public name.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, _, called = homes[name].partition(":")
    return getattr(import_module(module), called or name)
