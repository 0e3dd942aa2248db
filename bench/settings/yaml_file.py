"""YAML as specs and stores need it: safe, small, and without the surprises of YAML 1.1.

`1e-3` is a number, `010` is ten, `no` is a word, a key stands once, and there are no aliases to
blow a file up. `parse_yaml` reads what people write, `parse_stored` what `dump_yaml` wrote.
"""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from fcn.errors import InputError

MAX_BYTES = 1_000_000
MAX_STORED_BYTES = 100_000
"""A run's spec takes two thousand."""
MAX_DEPTH = 32


_CORE = {"null", "bool", "int", "float", "str", "seq", "map"}
"""Kinds of values that specs have; YAML's others (sets, dates, bytes) are refused by their tag."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML's core schema; duplicate keys, aliases and other tags are errors."""

    yaml_implicit_resolvers: dict[str, Any] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in _CORE
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError) as error:  # such as !!bool maybe, or 5000 digits
            problem = f"this is no {node.tag.rpartition(':')[2]}: {error}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key_node, yaml.ScalarNode):
                problem = f"key {key!r} is no word; write it in quotes if it is meant as one"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                problem = f"key {key!r} stands twice; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_decimal(self, node: yaml.ScalarNode) -> int:
        return int(node.value)  # YAML 1.1 takes a leading zero for octal


_DIGITS = list("-+0123456789.")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""]
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), _DIGITS)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$"),
    _DIGITS,
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_decimal)

# The same language, and safe too; written in C where PyYAML was built with it.
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_STORED_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str, *, where: str) -> Any:
    """Parse YAML text that a person wrote.

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
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two of an escape
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


def parse_setting(text: str, *, option: str) -> tuple[str, Any]:
    """Parse `key=value` of a command's option.

    Raises:
        InputError: It is no such pair, or its value no YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"{option} {text}: write key=value, such as {_EXAMPLES[option]}")
    return key, parse_yaml(value, where=f"{option} {key}")


def write_setting(key: str, value: Any) -> str:
    """Write `key=value` as `parse_setting` reads it back.

    Raises:
        InputError: The value is none that YAML has.
    """
    if isinstance(value, str) and _WORD.fullmatch(value) and parse_yaml(value, where=key) == value:
        return f"{key}={value}"
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{key}: {value!r} cannot be written in a spec ({error}); give text, numbers, true, "
            "false, None, and lists and mappings of these"
        ) from None
    # JSON is YAML, but for characters that end a line in YAML alone.
    return f"{key}=" + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)


_WORD = re.compile(r"[A-Za-z0-9][\w./-]*")
_EXAMPLES = {"--set": "--set train.steps=200", "--option": "--option size=64"}


def dump_yaml(values: dict[str, Any]) -> str:
    """Write plain values as YAML, keys in their order."""
    text: str = yaml.dump(values, Dumper=_DUMPER, sort_keys=False)
    return text


def parse_stored(content: bytes) -> Any:
    """Parse what `dump_yaml` wrote: thousands of files, so by a parser in C.

    Raises:
        ValueError: It is no YAML, or has what `dump_yaml` never writes: a file may be anybody's,
            and a few bytes of aliases or brackets can take a machine's memory or its stack.
    """
    if len(content) > MAX_STORED_BYTES:
        raise ValueError(f"{len(content)} bytes are too many")
    try:
        text = content.decode()
        depth = 0
        for event in yaml.parse(text, Loader=_STORED_LOADER):  # as a stream: nothing is built
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH or isinstance(event, yaml.AliasEvent):
                raise ValueError("it has aliases, or is nested too deeply")
        return yaml.load(text, Loader=_STORED_LOADER)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
