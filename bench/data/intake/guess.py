"""What the values or colours of masks are: classes by name, and void, guessed and said.

In: pixels of each value or colour, and a table of names if there is one. Out: classes, void, and a
sentence for each guess.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.data.class_map import TRANSPARENT, Kind, colour_key, rgb_of, write_key
from bench.data.intake.instances import say_instances
from bench.data.intake.tables import VOID_NAMES, Table
from bench.text import number_of
from fcn.errors import InputError

VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
MOST_CLASSES = 254
RARE = 1e-4
"""Share of all pixels below which a value or colour may be an edge's."""
MANY_RARE = 8
VOC_BORDER = colour_key(224, 224, 192)


@dataclass(frozen=True)
class Guess:
    """Classes of masks."""

    kind: Kind
    classes: dict[str, list[int]]
    """Keys of each class, in the order of their indices."""
    void: list[int]
    said: list[str]
    """What was guessed, a sentence each."""
    shown: dict[str, int]
    """Colours in which classes are drawn, where something says one."""


def voc_colour(index: int) -> int:
    """Return the colour of an index in VOC's map: its bits, dealt out to red, green and blue."""
    red = green = blue = 0
    for shift in range(8):
        red |= (index >> 3 * shift & 1) << 7 - shift
        green |= (index >> 3 * shift + 1 & 1) << 7 - shift
        blue |= (index >> 3 * shift + 2 & 1) << 7 - shift
    return colour_key(red, green, blue)


VOC_INDEX = {voc_colour(index): index for index in range(256)}


def guess_classes(
    kind: Kind,
    masks: Sequence[Counter[int]],
    table: Table,
    palettes: set[tuple[int, ...]] = frozenset(),  # type: ignore[assignment]
    thin: Collection[int] = (),
) -> Guess:
    """Guess which values or colours are which class.

    Args:
        kind: What the keys are.
        masks: Of each mask, the pixels of each key.
        table: Names, if there are any.
        palettes: Of masks with one, red, green and blue of each index.
        thin: Keys that fill no area in any mask that was looked at for it.

    Raises:
        InputError: There are too many for classes, or too few.
    """
    pixels: Mapping[int, int] = sum(masks, Counter[int]())
    if len(pixels) > MOST_CLASSES + 1:
        raise InputError(
            f"the masks hold {len(pixels):,} different {kind}, and there are at most "
            f"{MOST_CLASSES} classes: they are photographs (see --images and --masks), or were "
            "resized with interpolation, drawn with smooth edges, or saved as JPEG before. "
            "`--snap auto` takes each pixel for the nearest of the frequent ones, `--snap table` "
            "for that of those that --classes FILE lists; it is said how many pixels that moves"
        )
    said = [*say_instances(kind, masks, pixels), *_say_mixed(kind, masks)]
    if kind == "values":
        table = _numbered(table, pixels, said)
    total = sum(pixels.values())
    rare = {key for key, number in pixels.items() if number < RARE * total}.union(thin)
    edges = rare if len(rare) >= MANY_RARE and 2 * len(rare) >= len(pixels) else set()
    if edges:
        said.append(
            f"{len(rare)} of {len(pixels)} {kind} fill no area, or hold less than {100 * RARE:g} % "
            "of all pixels each: if these are smooth edges, and no classes, `--snap auto` takes "
            "them for the nearest frequent ones"
        )
    names = _names(kind, pixels, table, palettes, said)
    if kind == "values" and set(names.values()) <= {"value_0", "value_1", "value_255"}:
        names = _one_foreground(masks, names, said)
    shown = {}
    if kind == "values" and len(palettes) == 1:
        (palette,) = palettes
        rgb = {k: palette[3 * k : 3 * k + 3] for k in pixels if len(palette) >= 3 * k + 3}
        shown = {names[k]: colour_key(*c) for k, c in rgb.items() if k in names}
    void = _void(kind, pixels, names, said, edges)
    ordered = [k for k in _ordered(kind, pixels, table, names) if k not in void]
    classes: dict[str, list[int]] = {}
    for key in ordered:
        classes.setdefault(names[key], []).append(key)
    said += [
        f"{table.source} calls {' and '.join(write_key(kind, k) for k in keys)} {name!r}: they are "
        "one class"
        for name, keys in classes.items()
        if name in table.order and len(keys) > 1
    ]
    classes = _with_absent(kind, classes, pixels, table, said)
    if len(classes) < 2:
        only = ", ".join(write_key(kind, key) for key in list(pixels)[:8])
        raise InputError(
            f"the masks hold {only} and nothing else that could be a second class; a question "
            "needs two: is this the right folder of masks?"
        )
    return Guess(
        kind, classes, sorted(void), said, {n: c for n, c in shown.items() if n in classes}
    )


def _numbered(table: Table, pixels: Mapping[int, int], said: list[str]) -> Table:
    """Return a table with the values of its names, where it has none or they begin at 1."""
    names = list((table.by_value or table.by_colour).values())  # one may stand there twice
    values = {key for key in pixels if key != 255}
    if table.by_colour and not table.by_value:
        if not values or max(values) >= len(names):
            said.append(f"{table.source} names colours, and the masks hold values: it is not used")
            return table
        said.append(f"{table.source} names colours, and the masks hold values: 0 is its first name")
        return replace(table, by_value=dict(enumerate(names)))
    if not table.is_list or not values or max(values) != len(names):
        return table
    hold = f"{table.source} has {len(names)} names, and the masks hold"
    if 0 in values:
        said.append(
            f"{hold} 0 to {len(names)}: the first name is taken for that of 0; if 0 is another "
            f"class, write its name above the first, and if {len(names)} is none, list it as void"
        )
        return table
    said.append(f"{hold} values up to {len(names)} and no 0: the first name is that of 1")
    return replace(table, by_value=dict(enumerate(names, start=1)))


def _say_mixed(kind: Kind, masks: Sequence[Counter[int]]) -> list[str]:
    """Say that some masks hold greys alone that no mask with colours has: of another export."""
    if kind != "colours":
        return []
    greys = [own for own in masks if all(len(set(rgb_of(key))) == 1 for key in own)]
    coloured = {key for own in masks if own not in greys for key in own}
    strange = sorted({key for own in greys for key in own} - coloured)
    if not coloured or not greys or not strange:
        return []
    return [
        f"{len(greys)} of {len(masks)} masks hold greys alone, and some that no coloured mask has, "
        f"such as {write_key(kind, strange[-1])}: if these are indices of the same classes, list "
        "them with the colours of their classes in classes.yaml"
    ]


def _with_absent(
    kind: Kind,
    classes: dict[str, list[int]],
    pixels: Mapping[int, int],
    table: Table,
    said: list[str],
) -> dict[str, list[int]]:
    """Give classes that never occur their place: those of a table, or of VOC."""
    known: Mapping[int, str] = table.by_value if kind == "values" else table.by_colour
    if not any(name in classes for name in known.values()) and set(classes) <= set(VOC):
        of_index = dict(enumerate(VOC))
        known = of_index if kind == "values" else {voc_colour(k): n for k, n in of_index.items()}
    absent = {
        name: [key]
        for key, name in known.items()
        if key not in pixels and name not in classes and not VOID_NAMES.fullmatch(name)
    }
    if not absent or len(classes) + len(absent) > 255:
        return classes
    number = number_of(len(absent), "class")
    said.append(f"in no mask, but with a place of their own: {number} of the table")
    whole = {**classes, **absent}
    order = dict.fromkeys(name for name in (table.order or VOC) if name in whole)
    return {name: whole[name] for name in [*order, *(n for n in whole if n not in order)]}


def _names(
    kind: Kind,
    pixels: Mapping[int, int],
    table: Table,
    palettes: set[tuple[int, ...]],
    said: list[str],
) -> dict[int, str]:
    """Name every key."""
    known = table.by_value if kind == "values" else table.by_colour
    named = {key: known[key] for key in pixels if key in known}
    if named:
        number = number_of(len(set(named.values())), "class")
        said.append(f"{number} named by {table.source}")
        missing = [key for key in pixels if key not in named and not _is_usual_void(kind, key)]
        if missing:
            shown = ", ".join(write_key(kind, key) for key in missing[:8])
            said.append(f"{table.source} does not name {shown}; they are classes of their own")
    elif table.by_value and kind == "colours":
        said.append(f"{table.source} names values, and the masks hold colours: it is not used")
    indices = _voc_indices(kind, pixels, palettes)
    if not named and indices:
        if all(index < len(VOC) or index == 255 for index in indices.values()):
            said.append("colours are those of VOC's map: classes have the names of PASCAL VOC")
            named = {key: VOC[i] for key, i in indices.items() if i < len(VOC)}
        elif kind == "colours":
            said.append("colours are those of VOC's map: classes are called by their index there")
            named = {k: "background" if i == 0 else f"class_{i}" for k, i in indices.items()}
    if not named and kind == "values" and set(pixels) in ({0, 255}, {0, 1}):
        said.append(
            f"masks of 0 and {max(pixels)}: two classes, {max(pixels)} is the second, not void"
        )
        named = {0: "background", max(pixels): "foreground"}
    taken = set(named.values())
    for key in pixels:
        if key not in named:
            name = _plain_name(kind, key)
            named[key] = name if name not in taken else f"{name}_"
    return named


def _one_foreground(
    masks: Sequence[Counter[int]], names: dict[int, str], said: list[str]
) -> dict[int, str]:
    """Name 1 and 255 alike where some masks have the one, and others the other."""
    if set(names) != {0, 1, 255} or any(own.keys() >= {1, 255} for own in masks):
        return names
    said.append("some masks hold 0 and 1, others 0 and 255: 1 and 255 are one class, not void")
    return {0: "background", 1: "foreground", 255: "foreground"}


def _plain_name(kind: Kind, key: int) -> str:
    if kind == "values":
        return f"value_{key}"
    return "background" if key == TRANSPARENT else f"colour_{key:06x}"


def _voc_indices(
    kind: Kind, pixels: Mapping[int, int], palettes: set[tuple[int, ...]]
) -> dict[int, int]:
    """Return each key's index in VOC's map, if all are of it; nothing if not."""
    if kind == "colours":
        # Black, white and single pure colours are in every map.
        special = {VOC_BORDER: 255, TRANSPARENT: 0}
        found = {key: special.get(key, VOC_INDEX.get(key)) for key in pixels}
        telling = [k for k in pixels if k != TRANSPARENT and not set(rgb_of(k)) <= {0, 255}]
        is_voc = None not in found.values() and len(telling) >= 1
        return {key: index for key, index in found.items() if index is not None} if is_voc else {}
    if len(palettes) != 1:
        return {}
    (palette,) = palettes
    used = [key for key in pixels if key < len(VOC)]
    rgb = {key: palette[3 * key : 3 * key + 3] for key in used}
    is_voc = all(len(c) == 3 and colour_key(*c) == voc_colour(k) for k, c in rgb.items())
    return {key: key for key in pixels} if is_voc and len(used) > 1 else {}


def _void(
    kind: Kind,
    pixels: Mapping[int, int],
    names: Mapping[int, str],
    said: list[str],
    edges: Collection[int],
) -> set[int]:
    """Return the keys that are void: by their names, or as 255 usually is beside indices.

    What smooth edges mix of 0 and 255 makes no indices of the two.
    """
    void = {key for key in pixels if VOID_NAMES.fullmatch(names[key])}
    total = sum(pixels.values())
    for key in sorted(void):
        share = 100 * pixels[key] / total
        said.append(
            f"{write_key(kind, key)} is void, by its name {names[key]!r} ({share:.3g} % of all "
            "pixels)"
        )
    if kind == "colours":
        if VOC_BORDER in pixels and VOC_BORDER not in void and len(pixels) - len(void) > 2:
            said.append(f"{write_key(kind, VOC_BORDER)} is void: VOC's border")
            void.add(VOC_BORDER)
        if TRANSPARENT in pixels and names[TRANSPARENT] == "background":
            share = 100 * pixels[TRANSPARENT] / total
            said.append(
                f"transparent pixels ({share:.3g} % of all) are class background; list "
                "`transparent` under void if nobody knows what they show"
            )
        return void
    if 255 in pixels and 255 not in void and names[255] == "value_255":
        others = sorted(k for k in pixels if k < 255 and k not in void and k not in edges)
        if len(others) >= 2 and not _is_next(others):
            share = 100 * pixels[255] / total
            said.append(f"255 is void, as is usual beside indices ({share:.3g} % of all pixels)")
            void.add(255)
        elif len(others) >= 2:
            said.append("255 is a class: values are spread evenly over 0 to 255")
    return void


def _is_next(others: list[int]) -> bool:
    """Say whether 255 goes on a row of evenly spread greys, such as 0, 128, 255."""
    row = [*others, 255]
    steps = [b - a for a, b in itertools.pairwise(row)]
    return min(steps) > 16 and max(steps) - min(steps) <= 2


def _is_usual_void(kind: Kind, key: int) -> bool:
    return key == 255 if kind == "values" else key in (VOC_BORDER, TRANSPARENT)


def _ordered(
    kind: Kind, pixels: Mapping[int, int], table: Table, names: Mapping[int, str]
) -> list[int]:
    """Return keys in the order of the classes: the table's, VOC's, or their own."""
    place = {name: n for n, name in enumerate(table.order)}
    indices = _voc_indices(kind, pixels, set()) if kind == "colours" else {}
    indices.setdefault(TRANSPARENT, -1)  # the background, as a rule
    return sorted(
        pixels, key=lambda key: (place.get(names[key], len(place)), indices.get(key, key), key)
    )
