"""Sources: what stands behind the names in a spec that are none of ours, by its content.

In: a run's settings. Out: by key of the spec, the digest of a weights file or of a plugin's code,
or the version of another library. All of it can change a result, so it enters the run's id. A path
never does, and neither does what is ours, timm's or torch's: that is what `SEMANTICS` stands for.
Free of torch, unless a plugin has loaded it: a part that is not ours can only be registered where
its registry is loaded.
"""

import ast
import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, resolve_name
from pathlib import Path

from bench.settings.calls import read_call
from bench.spec import RunSpec
from bench.store.atomic import file_digest
from fcn.errors import InputError
from fcn.weights_file import find_weights_file
from fcn.weights_folder import HUB

REGISTRIES = {
    "model.skip": "fcn.skips.SKIPS",
    "model.head": "fcn.heads.HEADS",
    "model.upsampling": "fcn.upsampling.UPSAMPLINGS",
    "model.upsampling_last": "fcn.upsampling.UPSAMPLINGS",
    "model.fusion": "fcn.fusions.FUSIONS",
    "data.dataset": "bench.data.dataset.DATASETS",
    "train.loss": "bench.run.losses.kinds.LOSSES",
    "train.optimizer": "bench.run.optim.OPTIMIZERS",
    "train.schedule": "bench.run.schedules.SCHEDULES",
    "train.augment": "bench.data.augmentations.AUGMENTATIONS",
}
"""Where the parts that a key names are registered."""

LIBRARIES = {"torchvision": "torchvision", "smp": "segmentation-models-pytorch"}
"""Distributions by what `model.external` and `train.loss` call them."""

_OURS = ("fcn", "bench", "reports", "ablations", "timm", "torch")


def find_sources(spec: RunSpec) -> dict[str, str]:
    """Return what a run depends on outside of its spec and data; reads files.

    Raises:
        InputError: A part is registered by a module that has no source file.
    """
    found: dict[str, str | None] = dict(_find_weights(spec))
    if spec.model.external is not None:
        found["model.external"] = _find_external(spec.model.external)
    else:
        found["model.backbone"] = _find_code(_backbone_origin(spec.model.backbone))
    for key, registry in REGISTRIES.items():
        if not (key.startswith("model.") and spec.model.external):
            found[key] = _find_parts(value_of(spec, key), registry)
    metric = read_call(spec.train.select).arguments.get("metric")
    if metric is not None:
        found["train.select"] = _find_code(_origin("bench.metrics.METRICS", str(metric)))
    return {key: source for key, source in found.items() if source is not None}


def _find_parts(value: object, registry: str) -> str | None:
    """Return what stands behind the parts in a value: a name, a call, or several of them."""
    texts = [value] if isinstance(value, str) else value if isinstance(value, Iterable) else ()
    names = sorted({read_call(text).name for text in texts})
    sources = {
        name: _find_external(name) if _is_of_library(name) else _find_code(_origin(registry, name))
        for name in names
    }
    if len(names) == 1:
        return sources[names[0]]  # as earlier versions wrote it, who knew no others
    return ", ".join(f"{name} {one}" for name, one in sources.items() if one) or None


def _is_of_library(name: str) -> bool:
    return ":" in name or name.partition("/")[0] in LIBRARIES


def value_of(spec: RunSpec, key: str) -> object:
    """Return the value of a spec's dotted key of two parts."""
    section, name = key.split(".")
    return getattr(getattr(spec, section), name)


def list_differences(spec: RunSpec, was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Say which sources of a run differ, each with the value of its key and both sides."""
    return [
        f"{key} {value_of(spec, key)} was {was.get(key, NONE)}, and is {now.get(key, NONE)} now"
        for key in {**was, **now}
        if was.get(key) != now.get(key)
    ]


NONE = "not there, or no plugin's"


def code_digest(module: str) -> str:
    """Digest a module's source together with that of its own modules which it imports.

    Own are, for an installed package, the modules of that package; for others, all that lie neither
    in the standard library nor among installed packages. What is imported by a computed name, and
    files that are read, are not seen.

    Raises:
        InputError: The module has no file.
    """
    files = dict(_own_files(module))
    if module not in files:
        raise InputError(
            f"a part is registered by {module!r}, which has no source file that Python finds "
            "(PYTHONPATH), so nothing tells one version of it from another; put it into a .py file "
            "and name that with --plugin"
        )
    # What is run as a script is called __main__ there, and by its file's name in another process.
    names = {name: "" if name == module else name for name in files}
    content = sorted((names[name], file_digest(path)) for name, path in files.items())
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _find_weights(spec: RunSpec) -> Iterator[tuple[str, str]]:
    pretrained = spec.model.pretrained
    path = find_weights_file(pretrained)
    if path is not None:
        yield "model.pretrained", f"sha256 {file_digest(path)}"
    elif isinstance(pretrained, str) and pretrained.startswith(HUB):
        from fcn.published import find_hub_digest  # huggingface_hub takes a while to be imported

        digest = find_hub_digest(pretrained)
        if digest is not None:
            yield "model.pretrained", f"sha256 {digest}"


def _find_external(name: str) -> str | None:
    library, slash, _ = name.partition("/")
    if ":" in name:
        module = name.partition(":")[0]
        if _is_missing(module):
            raise InputError(
                f"{name!r}: Python finds no module {module!r}; correct its name, install its "
                "package, or put its folder on PYTHONPATH"
            )
        return _find_code(module)
    package = LIBRARIES.get(library) if slash else None
    if package is None:
        return None
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def _find_code(module: str | None) -> str | None:
    if module is None or module.partition(".")[0] in _OURS:
        return None
    return f"code {code_digest(module)}"


def _origin(registry: str, part: str) -> str | None:
    module, _, name = registry.rpartition(".")
    loaded = sys.modules.get(module)
    return getattr(loaded, name).origin(part) if loaded else None


def _backbone_origin(name: str) -> str | None:
    models = sys.modules.get("timm.models")
    if models is None or not models.is_model(name):
        return None
    return str(models.model_entrypoint(name.partition(".")[0]).__module__)


def _own_files(start: str) -> Iterator[tuple[str, Path]]:
    """Yield a module and its own modules, each once, with their files."""
    first = _file_of(start)
    package = start.partition(".")[0] if first and _is_installed(first) else None
    todo, seen = [start], {start}
    while todo:
        name = todo.pop()
        path = _file_of(name)
        is_own = name.partition(".")[0] == package if package else path and not _is_installed(path)
        if path is None or not is_own or name.partition(".")[0] in _OURS:
            continue
        yield name, path
        for other in _imports_of(name, path):
            # The packages around a module run with it; a name after `from` may be a module.
            parts = other.split(".")
            new = {".".join(parts[: i + 1]) for i in range(len(parts))} - seen
            seen |= new
            todo += sorted(new)


def _imports_of(name: str, path: Path) -> Iterator[str]:
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                module = resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _file_of(module: str) -> Path | None:
    """Find a module's file without running any of it."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return Path(file) if file else None
    spec = _spec_of(module)
    return Path(spec.origin) if spec and spec.has_location and spec.origin else None


def _spec_of(module: str) -> ModuleSpec | None:
    """Find a module that is not loaded without running any of it."""
    parent, _, name = module.rpartition(".")
    try:
        if not parent:
            return find_spec(module)
        folders = _folders_of(parent)
        # By its last name: for a folder without __init__.py Python asks a parent that is loaded.
        return PathFinder.find_spec(name, folders) if folders else None
    except (ImportError, ValueError):
        return None


def _is_missing(module: str) -> bool:
    """Say whether Python finds nothing of that name; of what it only finds by running it, no."""
    if module in sys.modules or _spec_of(module) is not None:
        return False
    parent, _, _ = module.rpartition(".")
    return not parent or bool(_folders_of(parent)) or _is_missing(parent)


def _folders_of(package: str) -> list[str]:
    loaded = sys.modules.get(package)
    if loaded is not None:
        return list(getattr(loaded, "__path__", ()))
    spec = _spec_of(package)
    return list(spec.submodule_search_locations or ()) if spec else []


@cache
def _standard_library() -> list[Path]:
    return [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]


def _is_installed(path: Path) -> bool:
    """Say whether a file is of the standard library or of an installed package."""
    resolved = path.resolve()
    return bool({"site-packages", "dist-packages"} & set(resolved.parts)) or any(
        resolved.is_relative_to(folder) for folder in _standard_library()
    )
