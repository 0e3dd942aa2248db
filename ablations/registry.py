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
from bench.settings.keys import (
    RENAMED,
    describe_renamed,
    flatten,
    rename_keys,
    require_one_name,
    set_keys,
)
from bench.settings.yaml_file import load_yaml
from bench.spec import RunSpec, override, parse
from bench.text import clean
from fcn.errors import InputError
from fcn.registry import suggest_name, unknown_name

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
    values, met = _read(path)
    if "question" not in values:
        raise InputError(f"{path} has no `question`: it is a base, not an ablation")
    overrides, met_in_set = _rename_overrides(overrides or {})
    flatten(overrides, where="--set")
    forced = {key: value for key, value in overrides.items() if key.split(".")[0] in _RUN_KEYS}
    own = {key: value for key, value in overrides.items() if key not in forced}
    written = parse(Ablation, {"name": _name_of(path), **values}, where=str(path))
    whole, notices = _with_base(written, path)
    notices = [*_tell(path, met), *notices, *_tell("--set", met_in_set)]
    if not overrides:
        return whole.with_notices(notices)
    asked = parse(Ablation, _on_top(written.model_dump(), own), where=f"{path} with --set")
    return _with_base(asked, path)[0].with_forced(forced, whole).with_notices(notices)


def _read(path: Path) -> tuple[dict[str, Any], set[str]]:
    """Read a file of settings under today's names; return what was met of those that have two."""
    values: dict[str, Any] = {}
    met: set[str] = set()
    for key, value in load_yaml(path).items():
        one: dict[str, Any] = {key: value}
        if key == "variants" and isinstance(value, Mapping):  # whose names are no keys
            found = {name: rename_keys(own) for name, own in value.items()}
            one = {key: {name: own for name, (own, _) in found.items()}}
            met |= {name for _, names in found.values() for name in names}
        else:
            one, own_met = rename_keys(one)
            met |= own_met
        values |= one
    require_one_name(met, where=str(path))
    return values, met


def _rename_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Give the keys of `--set` today's names: `KEY`, `common.KEY`, `grid.KEY`, `variants.X.KEY`."""
    renamed: dict[str, Any] = {}
    met: set[str] = set()
    for key, value in overrides.items():
        head, below = "", key
        if key.split(".")[0] not in _RUN_KEYS:
            ends = [f".{old}" for old in RENAMED if key.endswith(f".{old}")]
            head = key.removesuffix(ends[0][1:]) if ends else ""
            below = key.removeprefix(head)
        one, own_met = rename_keys({below: value})
        renamed |= {f"{head}{name}": inner for name, inner in one.items()}
        met |= own_met
    require_one_name(met, where="--set")
    return renamed, met


def _tell(where: object, met: set[str]) -> list[str]:
    return [f"{where}: {text}" for text in describe_renamed(met)]


def _on_top(values: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Put settings of the ablation itself on top: `seeds`, `score.KEY`, `common.KEY` and so on.

    `tune={}` is nothing to tune, and `grid={...}` more values.
    """
    for key, value in own.items():
        head, _, rest = key.partition(".")
        given = {rest: value} if rest else value
        is_added_to = head in ("grid", "score") or (head == "tune" and rest)
        if is_added_to and isinstance(given, Mapping):
            values[head] = values[head] | dict(given)  # keys of both are dotted, never nested
        elif head == "common" and isinstance(given, Mapping):
            values[head] = override(set_keys({}, values[head]), given)
        elif head == "variants" and isinstance(given, Mapping):
            values[head] = _change_variants(values[head], given)
        elif rest:
            known = {"common", "grid", "score", "tune", "variants"}
            reason = f"{head!r} has no keys of its own; give it whole, as --set {head}=..."
            where = reason if head in values else unknown_name("key", head, known | _RUN_KEYS)
            raise InputError(f"--set {key}: {where}")
        else:
            values[head] = value
    return values


def _change_variants(variants: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return variants with new settings, given by `NAME.KEY` or by name; a name may hold dots."""
    changed = dict(variants)
    for key, value in given.items():
        names = [name for name in variants if f"{key}.".startswith(f"{name}.")]
        name = max(names, key=len, default=key.partition(".")[0])
        rest = key[len(name) + 1 :]
        changed[name] = {rest: value} if rest else value
        if isinstance(changed[name], Mapping):
            changed[name] = override(set_keys({}, variants.get(name) or {}), changed[name])
    return changed


def _with_base(ablation: Ablation, path: Path) -> tuple[Ablation, list[str]]:
    """Return an ablation whose `common` has the settings of its base below its own, and notices."""
    base, notices = _load_base(ablation.base, path, seen=(path,)) if ablation.base else ({}, [])
    update: dict[str, Any] = {"common": override(base, ablation.common)}
    if ablation.spread_of and ablation.spread_of.endswith(".yaml"):
        update["spread_of"] = str(path.parent / ablation.spread_of)
    return ablation.model_copy(update=update), notices


def name_question(name: str) -> str:
    """Return what a question is remembered by: its registered name, or the path of its file."""
    path = _find(name, kind="ablation").resolve()
    registered = {known.resolve(): name for name, known in _named_files().items()}
    return registered.get(path, clean(path.as_posix()))


def _load_base(name: str, asker: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], list[str]]:
    """Read a base and the bases below it into one nested dictionary of settings, with notices."""
    path = asker.parent / name if name.endswith(".yaml") else _find(name, kind="base")
    if path in seen:
        cycle = " -> ".join(str(p) for p in (*seen, path))
        raise InputError(f"bases form a cycle: {cycle}; let one of them stand alone")
    values, met = _read(path)
    if "question" in values:
        raise InputError(f"{asker}: base {name!r} is an ablation; a base holds settings of a run")
    for key in values:
        if key.split(".")[0] not in _BASE_KEYS:
            raise InputError(f"{path}: {unknown_name('key', key, _BASE_KEYS)}")
    below = values.pop("base", None)
    values.pop("description", None)
    flatten(values, where=str(path))
    settings, notices = _load_base(str(below), path, (*seen, path)) if below else ({}, [])
    settings = override(settings, values)
    parse(RunSpec, settings, where=str(path))
    return settings, [*_tell(path, met), *notices]


def _find(name: str, *, kind: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            beside = [str(file) for file in path.parent.glob("*.y*ml")]
            near = suggest_name(str(path), beside, likeness=0.8)
            raise InputError(
                f"{path} does not exist{near} Give the path of a spec, or a registered name "
                "(`fcn-bench list`)"
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
