"""Keys of settings: `model.skip`, or `skip` below `model`; two spellings, one meaning.

In: plain dictionaries with dotted keys, nested ones or both. Out: all dotted, or all nested.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fcn.errors import InputError


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


def overlap(key: str, other: str) -> bool:
    """Say whether two dotted keys are one, or one of them holds the other."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _leaves(
    differences: Mapping[Any, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each value below nested mappings with the keys that lead to it, as they are written."""
    for key, value in differences.items():
        path = (*above, str(key))
        if isinstance(value, Mapping) and value:
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
    both = isinstance(value, Mapping) and isinstance(inner, Mapping)
    return {**values, head: dict(inner) if both else value}
