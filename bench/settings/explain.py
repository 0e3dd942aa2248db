"""Errors of a schema in words: the key's path, the nearest valid name, the way out.

In: an error as pydantic reports it. Out: a sentence.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from fcn.registry import unknown_name


def explain(schema: type[BaseModel], error: Any, at: Iterable[str] = ()) -> str:
    """Turn one pydantic error into words, with the key's path and the nearest valid name."""
    loc = (*at, *error["loc"])
    path = ".".join(_place(loc))
    if error["type"] == "extra_forbidden":
        parent, name = loc[:-1], str(loc[-1])
        return f"{path}: {unknown_name('key', name, _fields_at(schema, parent))}"
    if error["type"] == "model_type":
        keys = ", ".join(_fields_at(schema, loc))
        return f"{path}: {error['input']!r} is no mapping; write one, of these keys: {keys}"
    message = say_fault(error)
    return f"{path}: {message}" if path else message


def say_fault(error: Any) -> str:
    """Turn what pydantic says of one value into words, without the value's place."""
    message: str = error["msg"].removeprefix("Value error, ").replace("valid tuple", "valid list")
    if error["type"] == "missing" and isinstance(error["loc"][-1], int):
        return "the list is too short"
    if error["type"] in ("value_error", "missing"):
        return message
    if error["type"] == "too_long":
        return f"the list is too long, {error['input']!r}; give {error['ctx']['max_length']}"
    if "Sequence" in message:
        message = "Input should be a valid list"
    return f"{message}, not {error['input']!r}{_way_out(error)}"


def drop_idle(errors: Sequence[Any]) -> list[Any]:
    """Leave out what a union says of the forms that a value does not have, where it has another.

    A mapping with a fault inside is no word and no list either; that says nothing.
    """
    places = [_place(error["loc"]) for error in errors]
    return [
        error
        for error, place in zip(errors, places, strict=True)
        if not error["type"].endswith("_type")
        or not any(other[: len(place)] == place and other != place for other in places)
    ]


def truths_for_numbers(given: Any, taken: Any, path: str = "") -> Iterator[str]:
    """Yield, in words, each true or false that a schema took for a number, 1 or 0.

    Args:
        given: Plain values.
        taken: What the schema made of them.
        path: Where they are.
    """
    if isinstance(given, bool) and isinstance(taken, int | float) and not isinstance(taken, bool):
        yield f"{path}: {json.dumps(given)} is no number"
    elif isinstance(given, Mapping):
        for key, value in given.items():
            inner = taken.get(key) if isinstance(taken, Mapping) else getattr(taken, key, None)
            yield from truths_for_numbers(value, inner, f"{path}.{key}" if path else key)
    elif isinstance(given, list | tuple) and isinstance(taken, list | tuple):
        for number, (value, inner) in enumerate(zip(given, taken, strict=True)):
            yield from truths_for_numbers(value, inner, f"{path}.{number}")


def _way_out(error: Any) -> str:
    """Say how a word is written that was read as something else, or the other way round."""
    value = error["input"]
    if error["type"] == "string_type" and isinstance(value, bool | int | float | None):
        return f"; a word that looks like this is written in quotes: '{json.dumps(value)}'"
    if isinstance(value, str) and value.lower() == "none":
        return "; nothing is written null"
    if error["type"] in ("list_type", "tuple_type"):
        return _as_list(value, error["loc"])
    return ""


def _as_list(value: Any, loc: tuple[int | str, ...]) -> str:
    """Say how one value is written as a list, or keys below another as one with dots."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return f"; write [{value}]"
    if isinstance(value, Mapping) and value and loc:
        return f"; write one key with dots, as in {loc[-1]}.{next(iter(value))}"
    return ""


def _place(loc: Iterable[int | str]) -> tuple[str, ...]:
    """Return the keys that lead to an error."""
    return tuple(str(part) for part in loc if not _is_branch_label(part))


def _is_branch_label(part: object) -> bool:
    """Tell pydantic's labels of union branches ('bool', 'tuple[float, ...]') from our keys."""
    text = str(part)
    return text in {"bool", "int", "float", "str"} or any(c in text for c in "[(")


def _fields_at(schema: type[BaseModel], path: Iterable[int | str]) -> list[str]:
    """List the keys allowed at a path into a schema."""
    fields = schema
    for part in path:
        field = fields.model_fields.get(str(part))
        kinds = (
            [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        )
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if inner:
            fields = inner[0]
    return [field.alias or name for name, field in fields.model_fields.items()]
