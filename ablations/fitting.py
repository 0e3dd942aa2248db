"""Which variants are meant: by their values, read as the schema of a run reads them.

In: values by key, as a spec writes them under `exclude` and `adjust.when`. Out: whether they are a
variant's; where they are nobody's, words that name the nearest value that occurs.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.settings.keys import flatten
from bench.spec import RunSpec, Schema, parse_value
from fcn.errors import InputError
from fcn.registry import unknown_name

_LIKE_NO_WORD = re.compile(r"true|false|null|~?|[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def read_choices(key: str, wanted: Any, *, where: str) -> list[Any]:
    """Return the values that are meant: one, or each of a list that is not a value itself.

    Raises:
        InputError: There is no such key, or it never has such a value.
    """
    if isinstance(wanted, list):
        try:
            return [parse_value(key, wanted, where=where)]
        except InputError:  # no pair of numbers, no list of names: values to choose from
            return [parse_value(key, value, where=where) for value in wanted]
    return [parse_value(key, wanted, where=where)]


def fits(spec: RunSpec, when: Mapping[str, Any], *, where: str) -> bool:
    """Say whether a variant has the values of `when`.

    Raises:
        InputError: As `read_choices`.
    """
    wanted = {key: read_choices(key, value, where=where) for key, value in flatten(when).items()}
    return all(_get(spec, key) in choices for key, choices in wanted.items())


def fits_none(specs: Iterable[RunSpec], when: Mapping[str, Any], *, where: str) -> str:
    """Say that no variant has the values of `when`, and which values occur."""
    specs = list(specs)
    for key, wanted in flatten(when).items():
        occurring = [_get(spec, key) for spec in specs]
        choices = read_choices(key, wanted, where=where)
        if not any(value in choices for value in occurring):
            given = ", ".join(map(spelled, choices))
            known = {spelled(value) for value in occurring}
            return f"{where} fits no variant: {unknown_name(f'value of {key}', given, known)}"
    return f"{where} fits no variant: none has all of these values ({spelled(when)}) together"


def list_unused(specs: Iterable[RunSpec], when: Mapping[str, Any], *, where: str) -> Iterator[str]:
    """Yield, for each value of a list in `when` that no variant has, a sentence that names it."""
    specs = list(specs)
    for key, wanted in flatten(when).items():
        choices = read_choices(key, wanted, where=where)
        occurring = [_get(spec, key) for spec in specs]
        for choice in choices if len(choices) > 1 else ():
            if choice not in occurring:
                known = {spelled(value) for value in occurring}
                yield f"{where}: {unknown_name(f'value of {key}', spelled(choice), known)}"


def spelled(value: Any) -> str:
    """Write a value as a spec does: a word that looks like a number is in quotes."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(spelled, value))}]"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {spelled(one)}" for key, one in value.items())
    return f'"{value}"' if isinstance(value, str) and _LIKE_NO_WORD.fullmatch(value) else str(value)


def _get(spec: RunSpec, key: str) -> Any:
    """Return the value of a dotted key that exists; None for an option that is not set."""
    value: Any = spec
    for part in key.split("."):
        value = getattr(value, part) if isinstance(value, Schema) else value.get(part)
    return value
