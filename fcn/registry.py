"""Registries: small named tables of parts, filled by a decorator.

In: a name and a part. Out: the part, or an `InputError` that names the nearest known name.
Free of torch, so that specs can be read, planned and reported without loading it.
"""

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from fcn.errors import InputError

T = TypeVar("T")

BROKEN_PLUGINS: dict[str, str] = {}
"""Module -> why it could not be imported. Whoever misses a part is told; see `bench.plugins`."""


_REGISTRIES: "WeakSet[Registry[Any]]" = WeakSet()


class Registry(Generic[T]):
    """A named table of one kind of part.

    Args:
        kind: What the parts are, in the singular, for messages ("skip", "dataset").
        names: What a name may be made of: a regular expression, and that in words; any by default.
    """

    def __init__(self, kind: str, names: tuple[str, str] = (".*", "any text")) -> None:
        self.kind = kind
        self._pattern, self._allowed = names
        self._parts: dict[str, T] = {}
        self._origins: dict[str, str] = {}
        _REGISTRIES.add(self)

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that stores a part as `name`.

        Raises:
            ValueError: The name is taken (parts are never replaced silently), or cannot be one.
        """
        if not re.fullmatch(self._pattern, name):
            raise ValueError(f"{name!r} is no name of a {self.kind}, which is {self._allowed}")
        origin = sys._getframe(1).f_globals["__name__"]  # a part may be any value, of any module

        def store(part: T) -> T:
            if name in self._parts:
                raise ValueError(f"{self.kind} {name!r} is registered already; choose another name")
            self._parts[name] = part
            self._origins[name] = origin
            return part

        return store

    def __getitem__(self, name: str) -> T:
        if name not in self._parts:
            raise InputError(unknown_part(self.kind, name, self._parts))
        return self._parts[name]

    def origin(self, name: str) -> str | None:
        """Return the module that registered a part; None if there is no such part."""
        return self._origins[name] if name in self._parts else None

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._parts))

    def __len__(self) -> int:
        return len(self._parts)


@contextmanager
def undone_on_error() -> Iterator[None]:
    """Take back all that the block registers, in every registry, if it raises."""
    with ExitStack() as undo:
        for registry in _REGISTRIES:
            undo.callback(setattr, registry, "_parts", dict(registry._parts))
        yield
        undo.pop_all()


def unknown_part(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that a part's name is unknown, and which plugins could not be asked for it."""
    broken = (
        f" Plugin {module!r} was not imported: {why}." for module, why in BROKEN_PLUGINS.items()
    )
    return unknown_name(kind, name, known) + "".join(broken)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that `name` is unknown, with the nearest known name and, if few, all of them."""
    known = sorted(known)
    names = f" Known: {', '.join(known)}." if len(known) <= 30 else ""
    return f"unknown {kind} {name!r}{suggest_name(name, known)}{names}"


def suggest_name(name: str, known: Iterable[str], *, likeness: float = 0.5) -> str:
    """End a sentence about a name that is none: with the nearest known one, or with a full stop.

    Args:
        name: What was given.
        known: What there is.
        likeness: From which on two names are near, in [0, 1]; more where all share an ending.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=likeness)
    if not near:  # SGD for sgd
        lower = {one.lower(): one for one in reversed(known)}
        same = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=likeness)
        near = [lower[one] for one in same]
    return f"; did you mean {near[0]!r}?" if near else "."
