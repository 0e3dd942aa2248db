"""Plugins: other people's modules that register backbones, skips, heads, datasets and the rest.

In: installed packages with the entry point group `fcn_bench.plugins`, and modules named by
`--plugin`. Out: their parts in our registries and timm's, and a record of what was imported.
A part's name that is taken is refused: no plugin changes what a name has meant so far. A plugin
that fails leaves nothing behind: no part of half a plugin is used by chance.
"""

import hashlib
import importlib
import importlib.util
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, entry_points, packages_distributions
from pathlib import Path
from typing import Any

from bench.text import clean
from fcn.errors import InputError, foreign_code
from fcn.registry import BROKEN_PLUGINS, undone_on_error

ENTRY_POINTS = "fcn_bench.plugins"

_BUILT_IN = (
    "fcn.model",
    "bench.data.augmentations",
    "bench.data.registry",
    "bench.grid.engines",
    "bench.metrics",
    "bench.run.losses",
    "bench.run.optim",
    "bench.run.schedules",
    "reports.sections",
)
"""Modules that register our own parts. They come first, or a plugin could take their names; by
name, because they load torch, which nobody without plugins should wait for, and since `reports` is
above: nothing of a report is loaded but its list of sections."""


@dataclass(frozen=True)
class Plugin:
    """A module that was imported for what it registers."""

    module: str
    distribution: str | None
    """Package that it was installed with."""
    version: str | None
    sha256: str | None
    """Of the module's own file, in hex."""

    def __str__(self) -> str:
        package = f"{self.distribution} {self.version}, " if self.distribution else ""
        return f"{clean(self.module)} ({package}sha256 {self.sha256})"


_LOADED: dict[str, Plugin] = {}


def load_plugins(modules: Sequence[str] | None = None) -> list[Plugin]:
    """Import plugins, each once in a process, and return all that were imported.

    An installed plugin that fails is remembered, and breaks only those who name its parts: the
    message about the unknown name then tells why.

    Args:
        modules: Names of modules, or paths of `.py` files, to import beside the installed ones.

    Raises:
        InputError: One of `modules` cannot be imported, or registers a name that is taken.
    """
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.module):
        if entry.module in _LOADED or entry.module in BROKEN_PLUGINS:
            continue
        try:
            _load(entry.module, entry.dist)
        except InputError as error:
            BROKEN_PLUGINS[entry.module] = str(error)
    for module in modules or ():
        try:
            _load(module, None)
        except InputError as error:
            raise InputError(
                f"--plugin {module} cannot be imported: {error}. Give the name of a "
                "module that Python finds (PYTHONPATH), or the path of a .py file"
            ) from error
    return loaded_plugins()


def loaded_plugins() -> list[Plugin]:
    """Return the plugins that were imported, in their order."""
    return list(_LOADED.values())


def named_plugins() -> list[str]:
    """Return those that were asked for by `--plugin`, as they were named."""
    installed = {entry.module for entry in entry_points(group=ENTRY_POINTS)}
    return [name for name in _LOADED if name not in installed]


def absolute(modules: Sequence[str] | None) -> list[str]:
    """Return `modules` as a process in another folder can find them: files with their full path."""
    return [str(Path(m).resolve()) if _is_file(m) else m for m in modules or ()]


@foreign_code()
def _load(name: str, dist: Distribution | None) -> None:
    if name in _LOADED:
        return
    for ours in _BUILT_IN:
        importlib.import_module(ours)
    with warnings.catch_warnings(), _nothing_left_on_error(name), undone_on_error():
        # timm warns and replaces its own network; as an error, it comes before anything is lost.
        warnings.filterwarnings("error", message="Overwriting .* in registry")
        module = _import_file(Path(name)) if _is_file(name) else importlib.import_module(name)
    dist = dist or _find_distribution(name)
    file = getattr(module, "__file__", None)
    _LOADED[name] = Plugin(
        module=name,
        distribution=dist.name if dist else None,
        version=dist.version if dist else None,
        sha256=hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None,
    )


@contextmanager
def _nothing_left_on_error(name: str) -> Iterator[None]:
    """Take back what a plugin's import leaves elsewhere, if it fails: networks of timm, modules."""
    from timm.models import _registry  # it has no public way back

    modules = set(sys.modules)
    tables = [
        value
        for key, value in vars(_registry).items()
        if type(value) in (defaultdict, dict, set) and not key.startswith("__")  # __builtins__
    ]
    with ExitStack() as undo:
        undo.callback(lambda: _forget_modules(name, set(sys.modules) - modules))
        for table in tables:
            undo.callback(table.update, _copy_table(table))
            undo.callback(table.clear)
        yield
        undo.pop_all()


def _copy_table(table: Any) -> Any:
    """Copy a set, or a mapping with the sets, lists and mappings in it."""
    return copy(table) if isinstance(table, set) else {k: copy(v) for k, v in table.items()}


def _forget_modules(name: str, new: set[str]) -> None:
    """Have the modules that came with a failed plugin be imported anew by whoever asks for them.

    Those of libraries stay: no plugin's part is in them, and some cannot be imported twice.
    """
    root = Path(name).stem if _is_file(name) else name.partition(".")[0]
    plugins = {entry.dist.name for entry in entry_points(group=ENTRY_POINTS) if entry.dist}
    owners = packages_distributions()
    for module in sorted(new):
        top, _, _ = module.partition(".")
        is_foreign = top in _NEVER_FORGOTTEN or set(owners.get(top, ())) - plugins
        is_source = str(getattr(sys.modules[module], "__file__", None)).endswith(".py")
        if top == root or (is_source and not is_foreign):
            parent, _, child = module.rpartition(".")
            if parent in sys.modules:
                vars(sys.modules[parent]).pop(child, None)
            del sys.modules[module]


_NEVER_FORGOTTEN = {"ablations", "bench", "fcn", "reports", *sys.stdlib_module_names}


def _import_file(path: Path) -> object:
    name, path = path.stem, path.resolve()
    other = importlib.util.find_spec(name)
    if other is not None and other.origin != str(path):
        raise ImportError(f"there is another module {name!r}; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError("there is no such file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_file(module: str) -> bool:
    return module.endswith(".py")


def _find_distribution(module: str) -> Distribution | None:
    names = packages_distributions().get(module.partition(".")[0])
    return distribution(names[0]) if names and not _is_file(module) else None
