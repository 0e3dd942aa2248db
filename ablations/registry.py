"""Where specs are found: in this package, in a file, in installed packages.

In: a name or a path. Out: the ablation and its base's settings, or an `InputError` with the
nearest name. Installed packages offer folders of specs through the entry point group
`fcn_bench.ablations`, whose value is the importable name of the package that holds the files.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ablations.spec import Ablation
from bench.spec import RunSpec, override, parse, set_keys
from bench.yaml_file import load_yaml
from fcn.errors import InputError
from fcn.registry import unknown_name

ENTRY_POINTS = "fcn_bench.ablations"
_RUN_KEYS = set(RunSpec.model_fields)
_BASE_KEYS = {"base", "description"} | _RUN_KEYS


def list_ablations() -> dict[str, Path]:
    """Return the files of all ablations by name; bases are not among them."""
    return {name: path for name, path in _named_files().items() if "question" in load_yaml(path)}


def load_ablation(name: str, overrides: Mapping[str, Any] | None = None) -> Ablation:
    """Read an ablation and put its base's settings into `common`.

    Args:
        name: A registered name, or the path of a YAML file.
        overrides: New values by dotted key, of the ablation (`seeds`) or of every run
            (`train.steps`); these win over everything in the files.

    Raises:
        InputError: Nothing has that name, a key is unknown, or the bases form a cycle.
    """
    path = _find(name, kind="ablation")
    values = load_yaml(path)
    if "question" not in values:
        raise InputError(f"{path} has no `question`: it is a base, not an ablation")
    overrides = overrides or {}
    own = {key: value for key, value in overrides.items() if key.split(".")[0] not in _RUN_KEYS}
    values = {"name": _name_of(path), **set_keys(values, own)}
    ablation = parse(Ablation, values, where=str(path))
    base = _load_base(ablation.base, path, seen=(path,)) if ablation.base else {}
    forced = {key: value for key, value in overrides.items() if key not in own}
    common = override(override(base, ablation.common), forced)  # adjustments see what is forced
    everyone = {"when": {}, "set": forced}  # and cannot undo it
    return Ablation.model_validate(
        {**ablation.model_dump(), "common": common, "adjust": [*ablation.adjust, everyone]}
    )


def name_question(name: str) -> str:
    """Return what a question is remembered by: its registered name, or the path of its file."""
    path = _find(name, kind="ablation").resolve()
    registered = {known.resolve(): name for name, known in _named_files().items()}
    return registered.get(path, path.as_posix())


def _load_base(name: str, asker: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Read a base and the bases below it into one nested dictionary of settings."""
    path = asker.parent / name if name.endswith(".yaml") else _find(name, kind="base")
    if path in seen:
        cycle = " -> ".join(str(p) for p in (*seen, path))
        raise InputError(f"bases form a cycle: {cycle}; let one of them stand alone")
    values = load_yaml(path)
    if "question" in values:
        raise InputError(f"{asker}: base {name!r} is an ablation; a base holds settings of a run")
    for key in values:
        if key.split(".")[0] not in _BASE_KEYS:
            raise InputError(f"{path}: {unknown_name('key', key, _BASE_KEYS)}")
    below = values.pop("base", None)
    values.pop("description", None)
    settings = override(_load_base(str(below), path, (*seen, path)) if below else {}, values)
    parse(RunSpec, settings, where=str(path))
    return settings


def _find(name: str, *, kind: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise InputError(
                f"{path} does not exist; give the path of a spec, or a registered name"
            )
        return path
    files = _named_files()
    if name not in files:
        is_base = {n: "question" not in load_yaml(p) for n, p in files.items()}
        known = [n for n in files if is_base[n] == (kind == "base")]
        raise InputError(unknown_name(kind, name, known))
    return files[name]


def _name_of(path: Path) -> str:
    resolved = path.resolve()
    names = [name for name, known in _named_files().items() if known.resolve() == resolved]
    return names[0] if names else path.stem


def _named_files() -> dict[str, Path]:
    """Return every YAML file by its name; a name taken twice is refused."""
    files: dict[str, Path] = {}
    for folder in _folders():
        for path in sorted(folder.rglob("*.yaml")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in files:
                raise InputError(
                    f"spec {name!r} exists twice: {files[name]} and {path}; rename one"
                )
            files[name] = path
    return files


def _folders() -> Iterator[Path]:
    yield Path(__file__).parent
    for entry in entry_points(group=ENTRY_POINTS):
        found = find_spec(entry.value)
        yield from map(Path, (found and found.submodule_search_locations) or [])
