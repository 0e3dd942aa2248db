"""Calls: how a setting names a part with its arguments, `focal(gamma=3)`.

In: that text, a bare name, or the same as a mapping, `{name: focal, gamma: 3}`. Out: one spelling
of each, by which ids are made; and a `Call` with the arguments as plain values.
"""

import ast
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from bench.settings.explain import say_fault
from fcn.errors import InputError
from fcn.registry import unknown_name

Plain = int | float | str | bool | None
"""What an argument may be, or a list of it."""

_WORDS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Call:
    """A part by its name, and what it is given."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the one spelling: arguments in order of their names, values as JSON has them."""
        if not self.arguments:
            return self.name
        pairs = (f"{key}={json.dumps(self.arguments[key])}" for key in sorted(self.arguments))
        return f"{self.name}({', '.join(pairs)})"


def read_call(value: Any) -> Call:
    """Read a call as a spec writes it.

    Raises:
        ValueError: It is no name, or what it is given is no plain value with a name.
    """
    if isinstance(value, Mapping):
        arguments = {str(key): one for key, one in value.items()}
        name = arguments.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f"{value!r} has no `name`; write {{name: NAME, ARGUMENT: VALUE}}")
        inner = read_call(name)
        if twice := sorted(inner.arguments.keys() & arguments.keys()):
            raise ValueError(f"{name!r} is given {twice[0]} twice; keep one of them")
        arguments = {**inner.arguments, **{k: _require_plain(k, v) for k, v in arguments.items()}}
        return Call(inner.name, arguments)
    if isinstance(value, list | tuple):
        raise ValueError(
            f"{list(value)!r} is a list, and this is one name; several are compared under `grid`, "
            "or as variants"
        )
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no name; write NAME, or NAME(ARGUMENT=VALUE)")
    name, opened, rest = value.strip().partition("(")
    if not opened:
        return Call(name)
    if not name.strip() or not rest.endswith(")"):
        raise ValueError(f"{value!r} is no call; write NAME(ARGUMENT=VALUE, ...)")
    return Call(name.strip(), _read_arguments(rest[:-1], value))


def spell_call(value: Any) -> str:
    """Return a call as it is kept; see `read_call`."""
    return str(read_call(value))


def spell_call_or_list(value: Any) -> Any:
    """Return a call as it is kept, or a list as it is.

    Raises:
        ValueError: It is neither.
    """
    return value if isinstance(value, list | tuple) else spell_call(value)


def spell_weighted(value: Any) -> str | dict[str, Any]:
    """Return a call, or a mapping from calls to their weights, as it is kept.

    Raises:
        ValueError: It is neither, or holds one call twice.
    """
    if isinstance(value, list | tuple):
        raise ValueError(
            f"{list(value)!r} is a list; of several each has a weight: {{NAME: 1.0, OTHER: 0.5}}"
        )
    if not isinstance(value, Mapping) or "name" in value:
        return spell_call(value)
    if not value:
        raise ValueError("it is empty; give a name, or names with their weights")
    weights: dict[str, Any] = {}
    for key, weight in value.items():
        text = spell_call(key)
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise ValueError(f"{text} has weight {weight!r}; give a number above 0")
        if text in weights:
            raise ValueError(f"{text} is given twice; keep one of them")
        weights[text] = float(weight)
    # One with weight 1 is that one; and order says nothing.
    return text if weights == {text: 1.0} else dict(sorted(weights.items()))


def require_arguments(
    what: str, function: Callable[..., Any], arguments: Mapping[str, Any], *, given: int
) -> None:
    """See that a function takes the arguments that a setting gives it, as far as it says its types.

    A type may have limits, as those of a schema: `Annotated[float, Field(ge=0)]`.

    Args:
        what: How messages begin; {} stands for the argument.
        function: What will be called.
        arguments: By name.
        given: Number of its first parameters, which are ours to give.

    Raises:
        InputError: One has no such name, is left out, is of another type or beyond its limits.
    """
    parameters = list(inspect.signature(function).parameters.values())[given:]
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return  # what takes anything checks for itself
    types = get_type_hints(function, include_extras=True)
    allowed = [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_POSITIONAL]
    for key, value in arguments.items():
        if key not in allowed:
            reason = unknown_name("option", key, allowed) if allowed else "it has no options"
            raise InputError(f"{what.format(key)}: {reason}")
        if fault := _find_fault(value, types.get(key, object)):
            raise InputError(f"{what.format(key)}{fault}")
    for p in parameters:
        is_free = p.default is not p.empty or p.kind is inspect.Parameter.VAR_POSITIONAL
        if not is_free and p.name not in arguments:
            raise InputError(f"{what.format(p.name)} is missing; give it a value")


def _find_fault(value: Any, wanted: Any) -> str | None:
    """Say in what a value is none of a type; None where it is, or the type is no plain one."""
    plain = get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted
    if plain in (int, float, str, bool):
        # To Python, true is an int; to a person who sets `size: true` it is a slip.
        is_slip = isinstance(value, bool) and plain in (int, float)
        is_whole = isinstance(value, int) and plain is float
        if is_slip or not (isinstance(value, plain) or is_whole):
            return f" must be {plain.__name__}, not {value!r}"
    if not _is_plain(wanted):
        return None  # of a library of arrays, say; what is called will tell
    adapter: TypeAdapter[Any] = TypeAdapter(wanted)
    faults = []
    for one in (value, tuple(value)) if isinstance(value, list) else (value,):
        try:  # a list of a spec is as good as a tuple
            adapter.validate_python(one, strict=True)
            return None
        except ValidationError as error:
            faults.append(error.errors(include_url=False)[0])
    fault = next((one for one in faults if one["loc"]), faults[-1])
    return f": {say_fault(fault)}"


def _is_plain(wanted: Any) -> bool:
    """Say whether a type is made of what a spec can say."""
    origin, parts = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return _is_plain(parts[0])
    if origin in (Union, UnionType, list, tuple, Sequence):
        return all(_is_plain(part) for part in parts)
    return origin is Literal or wanted in (int, float, str, bool, None, NoneType, Ellipsis)


def _read_arguments(text: str, whole: str) -> dict[str, Any]:
    try:
        call = ast.parse(f"_({text})", mode="eval").body
    except SyntaxError:
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ValueError(f"{whole!r} is no call; each argument has a name: NAME(ARGUMENT=VALUE)")
    arguments: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise ValueError(f"{whole!r} gives {keyword.arg or '**'} twice or without a name")
        try:
            value = ast.literal_eval(_Words().visit(keyword.value))
        except (ValueError, TypeError):
            raise ValueError(
                f"{whole!r}: {keyword.arg} is no plain value; give a number, true, false, null, "
                'a word in quotes ("..."), or a list of these'
            ) from None
        arguments[keyword.arg] = _require_plain(keyword.arg, value)
    return arguments


class _Words(ast.NodeTransformer):
    """Has YAML's words for values that Python spells in another way."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(_WORDS[node.id]) if node.id in _WORDS else node


def _require_plain(key: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_require_plain(key, one) for one in value]
    if not isinstance(value, Plain) or (isinstance(value, float) and value - value != 0):
        raise ValueError(f"{key} is {value!r}; give a number, a word, true, false, null or a list")
    return value
