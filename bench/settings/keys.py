"""Keys of settings: `model.skip`, or `skip` below `model`; two spellings, one meaning.

In: plain dictionaries with dotted keys, nested ones or both. Out: all dotted, or all nested; keys
under an earlier name have today's.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fcn.errors import InputError

RENAMED = {
    "train.accumulate": "train.grad_accum_steps",
    "evaluate.watch_every": "evaluate.eval_every",
    "evaluate.watch_split": "evaluate.eval_split",
}
"""Today's name of each key that had another one. Ids are made of the earlier names, for good."""
_TWO_NAMES = {*RENAMED, *RENAMED.values()}
_ABOVE_THEM = {f"{old.partition('.')[0]}." for old in RENAMED}


WHOLE = tuple(
    f"train.{key}"
    for key in (
        "loss",
        "aux",
        "optimizer",
        "schedule",
        "select",
        "groups",
        "freeze",
        "class_weights",
    )
)
"""Keys whose value may be a mapping that is one value: a later one takes its place, whole."""


def flatten(differences: Mapping[str, Any], *, where: str = "") -> dict[str, Any]:
    """Return values by dotted key, whether they are written dotted or nested.

    Raises:
        InputError: A key is given twice, in two spellings.
    """
    found: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for path, value in _leaves(differences):
        key = ".".join(path)
        spelling = ": {".join(path) + "}" * (len(path) - 1)
        twice = next((other for other in found if overlap(key, other)), None)
        if twice is not None:
            raise InputError(
                f"{where}{': ' if where else ''}{spelled[twice]!r} and {spelling!r} are one key in "
                "two spellings; keep one of them"
            )
        found[key], spelled[key] = value, spelling
    return found


def set_keys(values: Mapping[str, Any], differences: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested `values` in which keys, dotted or nested, have new values.

    Raises:
        InputError: A dotted key passes through a value that has no keys of its own, or one key is
            given in two spellings.
    """
    result = dict(values)
    for key, value in flatten(differences).items():
        result = _put(result, key.split("."), value, key)
    return result


def rename_keys(values: Any, above: str = "") -> tuple[Any, set[str]]:
    """Give keys that have an earlier name today's, at any depth of plain values.

    Args:
        values: Settings of a run, dotted or nested, or anything that holds such settings.
        above: What stands before the keys of `values`: "train." within `train`.

    Returns:
        The values, and the names that were met of keys that have two: earlier ones, today's. Of a
        key under both, one is kept: see `require_one_name`.
    """
    if isinstance(values, list):
        parts = [rename_keys(one) for one in values]
        return [one for one, _ in parts], {name for _, met in parts for name in met}
    if not isinstance(values, Mapping):
        return values, set()
    renamed: dict[Any, Any] = {}
    met: set[str] = set()
    for key, value in values.items():
        full = f"{above}{key}"
        if full in _TWO_NAMES:
            met.add(full)
        if isinstance(value, dict | list):
            within = f"{full}."
            value, met_below = rename_keys(value, within if within in _ABOVE_THEM else "")
            met |= met_below
        renamed[RENAMED[full][len(above) :] if full in RENAMED else key] = value
    return renamed, met


def require_one_name(met: set[str], where: str) -> None:
    """Refuse a key that is given under its earlier name and today's.

    Raises:
        InputError: There is one among the names that were met.
    """
    for old, new in RENAMED.items():
        if {old, new} <= met:
            raise InputError(
                f"{where}: {old!r} is the earlier name of {new!r}, and both are given; keep {new!r}"
            )


def describe_renamed(met: set[str]) -> list[str]:
    """Say of each earlier name among those met what the key is called today."""
    return [
        f"{old} is called {new} today; the earlier name is still read"
        for old, new in RENAMED.items()
        if old in met
    ]


def overlap(key: str, other: str) -> bool:
    """Say whether two dotted keys are one, or one of them holds the other."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _leaves(
    differences: Mapping[Any, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each value below nested mappings with the keys that lead to it, as they are written."""
    for key, value in differences.items():
        path = (*above, str(key))
        if isinstance(value, Mapping) and value and ".".join(path) not in WHOLE:
            yield from _leaves(value, path)
        else:
            yield path, value


def _put(values: Mapping[str, Any], path: list[str], value: Any, key: str) -> dict[str, Any]:
    head, *rest = path
    inner = values.get(head, {})
    if rest and not isinstance(inner, Mapping):
        raise InputError(f"key {key!r}: {head!r} has no keys of its own")
    if rest:
        return {**values, head: _put(inner, rest, value, key)}
    # An empty mapping changes nothing in one; all others are values below it.
    both = isinstance(value, Mapping) and isinstance(inner, Mapping) and key not in WHOLE
    return {**values, head: dict(inner) if both else value}
