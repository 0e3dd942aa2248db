"""Names of classes, where a folder has a table: one name a line, CSV with values or colours.

In: a text file as people have it. Out: names by value and by colour.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.data.class_map import colour_key
from bench.data.files import read_lines
from fcn.errors import InputError

FILES = re.compile(
    r"(classes|class_?(names?|dict|list|colors?|table)|labels?|label_?(names?|colors?|map|list)|"
    r"names|categories|colors?|palette|_?classes_?)\.(txt|csv|tsv|json|names)",
    re.IGNORECASE,
)
VOID_NAMES = re.compile(
    r"_*(void|ignored?|no[ _-]?data|unlabel+ed|unlabel+ed_?area|unknown|un-?annotated|"
    r"out[ _-]of[ _-]roi|dont[ _-]?care|don't care|border)_*",
    re.IGNORECASE,
)
"""What tables call pixels that do not count."""
NAME_COLUMNS = ("name", "class", "class_name", "label", "category", "classname")
VALUE_COLUMNS = ("id", "value", "index", "idx", "label_id", "class_id", "trainid", "pixel", "grey")
COLOUR_COLUMNS = (("r", "g", "b"), ("red", "green", "blue"))
SAMPLE = "give name; name,value; or name,r,g,b on each line"


@dataclass(frozen=True)
class Table:
    """Names of classes."""

    source: str = ""
    """Its file."""
    by_value: Mapping[int, str] = field(default_factory=dict)
    by_colour: Mapping[int, str] = field(default_factory=dict)
    """By number of the colour, as `bench.data.class_map` has them."""
    order: tuple[str, ...] = ()
    """All names, as they stand there."""
    is_list: bool = False
    """They are names alone, in an order that need not begin at 0."""


def find_table(folders: Iterable[Path], said: list[str]) -> Table:
    """Return the first table of classes that lies in one of some folders; reads disk.

    Args:
        folders: Where one may lie.
        said: Gets a sentence for each that is called like one and cannot be read.
    """
    for folder in dict.fromkeys(folders):
        found = (
            sorted(p for p in folder.iterdir() if FILES.fullmatch(p.name))
            if folder.is_dir()
            else []
        )
        for path in found:
            try:
                return read_table(path)
            except InputError as error:  # it may be something else
                said.append(f"{path.name} is not used: {error}")
    return Table()


def read_table(path: Path) -> Table:
    """Read a table of classes.

    Raises:
        InputError: It cannot be understood.
    """
    is_json = path.suffix.lower() == ".json"
    rows = [*_in_files(_from_json(path) if is_json else _from_lines(path))]
    if not rows:
        raise InputError(f"{path} is no table of classes; {SAMPLE}")
    by_value = {row.value: row.name for row in rows if row.value is not None}
    by_colour = {row.colour: row.name for row in rows if row.colour is not None}
    order = tuple(dict.fromkeys(row.name for row in rows))
    is_list = False
    if not by_value and not by_colour:  # a name a line, in the order of the indices
        # labelme's lists open with __ignore__, which is -1 there and 255 in files.
        start = -1 if VOID_NAMES.fullmatch(rows[0].name) and rows[0].name.startswith("_") else 0
        by_value = {n % 256: row.name for n, row in enumerate(rows, start)}
        is_list = start == 0
    return Table(str(path), by_value, by_colour, order, is_list)


@dataclass(frozen=True)
class _Row:
    name: str
    value: int | None = None
    colour: int | None = None


def _in_files(rows: Iterable[_Row]) -> Iterator[_Row]:
    """Leave out rows of numbers below 0: files keep void as 255 then, and other names nowhere."""
    for row in rows:
        if row.value is None or row.value >= 0:
            yield row
        elif VOID_NAMES.fullmatch(row.name):
            yield replace(row, value=255)


def _from_lines(path: Path) -> Iterator[_Row]:
    lines = [line for line in read_lines(path) if not line.startswith("#")]
    if not lines:
        return
    delimiter = next((d for d in ("\t", ",", ";") if all(d in line for line in lines)), None)
    if all(line.count(":") >= 3 for line in lines):  # CVAT's labelmap: name:r,g,b:parts:actions
        for line in lines:
            title, rgb, *_ = line.split(":")
            yield _Row(title.strip(), colour=_colour(path, rgb.split(",")))
    elif delimiter is None or all(_COLOUR_FIRST.fullmatch(line) for line in lines):
        yield from map(_plain, lines)
    else:
        cells = csv.reader(lines, delimiter=delimiter)
        yield from _from_rows(path, [[cell.strip() for cell in row] for row in cells])


def _from_rows(path: Path, rows: Sequence[Sequence[str]]) -> Iterator[_Row]:
    """Read rows by the names of their columns, or by what their cells are."""
    head = [cell.lower() for cell in rows[0]]
    name = next((head.index(c) for c in NAME_COLUMNS if c in head), None)
    if name is None:
        yield from (_headless(path, row) for row in rows)
        return
    value = next((head.index(c) for c in VALUE_COLUMNS if c in head), None)
    trio = next((t for t in COLOUR_COLUMNS if set(t) <= set(head)), None)
    for row in rows[1:]:
        if len(row) < len(head):
            raise InputError(f"{path} has the line {','.join(row)!r}; {SAMPLE}")
        number = _whole(path, row[value]) if value is not None else None
        colour = _colour(path, [row[head.index(c)] for c in trio]) if trio else None
        yield _Row(row[name], number, colour)


_COLOUR_FIRST = re.compile(r"(\d+)\s+(\d+)\s+(\d+)\s+(\D.*)")
"""A line of CamVid's table: `128 64 128 road`."""


def _plain(line: str) -> _Row:
    """Read `road`, `7 road`, `7: road`, or `128 64 128 road`."""
    if match := _COLOUR_FIRST.fullmatch(line):
        return _Row(match[4].strip(), colour=colour_key(*map(int, match.groups()[:3])))
    if match := re.fullmatch(r"(\d+)\s*[:=\s]\s*(\D.*)", line):
        return _Row(match[2].strip(), value=int(match[1]))
    return _Row(line)


def _headless(path: Path, row: Sequence[str]) -> _Row:
    """Read a line by what its cells are: one name, and one number or three."""
    names = [cell for cell in row if cell and not re.fullmatch(r"-?\d+", cell)]
    numbers = [cell for cell in row if re.fullmatch(r"-?\d+", cell)]
    if len(names) != 1 or len(numbers) not in (0, 1, 3, 4):
        raise InputError(f"{path} has the line {','.join(row)!r}; {SAMPLE}")
    value = _whole(path, numbers[0]) if len(numbers) in (1, 4) else None
    colour = _colour(path, numbers[-3:]) if len(numbers) >= 3 else None
    return _Row(names[0], value, colour)


def _from_json(path: Path) -> Iterator[_Row]:
    """Read {"road": 7}, {"7": "road"}, {"road": [r, g, b]}, or a list of mappings with names."""
    try:
        given = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {str(error)[:200]}") from None
    if isinstance(given, dict):  # a list of classes may lie under a key of its own
        lists = [v for v in given.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        given = lists[0] if len(lists) == 1 else given
    items: Iterable[tuple[object, object]] = ()
    if isinstance(given, dict | list):
        items = given.items() if isinstance(given, dict) else enumerate(given)
    for key, value in items:
        if isinstance(value, dict):
            lower = {str(k).lower(): v for k, v in value.items()}
            name = next((lower[c] for c in NAME_COLUMNS if isinstance(lower.get(c), str)), None)
            number = next((lower[c] for c in VALUE_COLUMNS if isinstance(lower.get(c), int)), None)
            colour = next((lower[c] for c in ("color", "colour", "rgb") if c in lower), None)
            if name:
                rgb = _colour(path, colour) if isinstance(colour, list) else None
                yield _Row(name, number, rgb)
        elif isinstance(value, str):
            yield _Row(value, int(str(key)) if str(key).isdigit() else None)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield _Row(str(key), value)
        elif isinstance(value, list):
            yield _Row(str(key), colour=_colour(path, value))


def _whole(path: Path, text: object) -> int:
    try:
        return int(str(text))
    except ValueError:
        raise InputError(f"{path} has {text!r} where a whole number is wanted; {SAMPLE}") from None


def _colour(path: Path, channels: Sequence[object]) -> int:
    values = [_whole(path, channel) for channel in channels[:3]]
    if len(values) != 3 or min(values) < 0 or max(values) > 255:
        raise InputError(f"{path} has the colour {list(channels)}; {SAMPLE}")
    return colour_key(*values)
