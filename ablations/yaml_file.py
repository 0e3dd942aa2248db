"""YAML as specs need it: safe, small, and without the surprises of YAML 1.1.

`1e-3` is a number, `no` is a word, a key stands once, and there are no aliases to blow a file up.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from fcn.errors import InputError

MAX_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML's core schema; duplicate keys and aliases are errors."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"key {key!r} stands twice; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_DIGITS = list("-+0123456789.")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""]
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?\d+$"), _DIGITS)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?$"),
    _DIGITS,
)


def parse_yaml(text: str, *, where: str) -> Any:
    """Parse YAML text.

    Raises:
        InputError: The text is not YAML, too large or too deep; the message has `where` and line.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{where} has {len(text)} characters; a spec has at most {MAX_BYTES}")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{where}{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None
    except RecursionError:
        raise InputError(f"{where} is nested too deeply for a spec") from None


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        InputError: The file cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    values = parse_yaml(text, where=str(path))
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"{path} must hold keys with values, such as `question: ...`")
    return values
