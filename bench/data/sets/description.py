"""`classes.yaml`: what the files of a folder mean, so that none of them has to be rewritten.

In: the file, as a person or `fcn-bench init` wrote it. Out: a `Description`: where images and masks
lie, which values or colours are which class, and how the files are read.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bench.data.class_map import (
    NUM_KEYS,
    TRANSPARENT,
    ClassMap,
    Kind,
    colour_key,
    rgb_of,
    write_key,
)
from bench.data.dataset import spread_colours
from bench.data.layers import Input, Palette
from bench.data.raw_masks import Channel
from bench.settings.yaml_file import load_yaml
from bench.spec import Name, Schema, parse

FILE = "classes.yaml"
BANDS = "bands"
"""Name of the input that images of more than 8 bits, or of other bands, are."""
Byte = Annotated[int, Field(ge=0, le=255)]
Value = Annotated[int, Field(ge=0, lt=NUM_KEYS["values"])]
Colour = (
    tuple[Byte, Byte, Byte]
    | Literal["transparent"]
    | Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
)


class ClassEntry(Schema):
    """One class."""

    values: list[Value] = []
    """What it is in masks of values."""
    colours: list[Colour] = []
    """What it is in masks of colours, each [red, green, blue], "#rrggbb" or transparent."""
    shown: tuple[Byte, Byte, Byte] | None = None
    """Colour in which reports draw it; none for its first colour, or one of our own."""


class BandsEntry(Schema):
    """Images of 16 bits, or of other bands than red, green and blue."""

    number: Annotated[int, Field(ge=1, le=512)] = 1
    """Bands of each image."""
    range: tuple[float, float]
    """Values that are 0 and 1 for the network; `fcn-bench init` measures them on train."""
    mean: tuple[float, ...] = ()
    """Of each band, once the range is 0..1; none for that of the weights."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Likewise."""

    @model_validator(mode="after")
    def _fits(self) -> "BandsEntry":
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range {list(self.range)} must rise from black to white")
        if any(given and len(given) != self.number for given in (self.mean, self.std)):
            raise ValueError(f"mean and std have a number for each of {self.number} bands")
        return self

    @property
    def layer(self) -> Input:
        """The input that a network sees."""
        return Input(BANDS, self.number, self.mean, self.std, value_range=self.range)


class Description(Schema):
    """What the files of a folder mean."""

    images: str = "images"
    """Folder of the images, relative to this file, or a pattern such as photos/{stem}.jpg."""
    masks: str = "masks"
    """The same of the masks, such as photos/{stem}_mask.png."""
    pairs: str = ""
    """CSV file with `name,image,mask` of each image, in place of the two, where no pattern fits."""
    classes: Annotated[dict[Name, ClassEntry], Field(min_length=2, max_length=255)]
    """Classes by name, in the order of their indices."""
    void: list[Value | Colour] = []
    """Values or colours that are neither trained on nor scored."""
    others: Literal["refuse", "void"] = "refuse"
    """What values and colours are that stand nowhere here."""
    channel: Channel = "colour"
    """Where files hold the mask: alpha, in how transparent they are."""
    bands: BandsEntry | None = None
    """What images of more than 8 bits, or of other bands, hold; none for 8 bits and RGB."""
    exif: Literal["apply", "ignore"] = "apply"
    """Whether images and masks are turned upright as their EXIF orientation says; ignore leaves
    both as they are stored."""
    snap: Literal["none", "lossy", "all"] = "none"
    """Masks of which each pixel is taken for the nearest of the values or colours listed here:
    JPEGs, or all."""
    duplicates: Literal["say", "refuse"] = "say"
    """Whether images that several splits have in common are said, or an error."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        """Let `road: 7` and `road: [7, 8]` stand for values."""
        if not isinstance(given, dict) or not isinstance(given.get("classes"), dict):
            return given
        entries = {}
        for name, entry in given["classes"].items():
            if isinstance(entry, int) and not isinstance(entry, bool):
                entry = {"values": [entry]}
            elif isinstance(entry, list):
                entry = {"values": entry}
            elif isinstance(entry, dict) and isinstance(entry.get("values"), int):
                entry = {**entry, "values": [entry["values"]]}
            entries[name] = entry
        return {**given, "classes": entries}

    @model_validator(mode="after")
    def _one_meaning(self) -> "Description":
        kinds = {
            kind: [name for name, entry in self.classes.items() if getattr(entry, kind)]
            for kind in ("values", "colours")
        }
        if kinds["values"] and kinds["colours"]:
            raise ValueError(
                f"classes: {kinds['values'][0]!r} has values and {kinds['colours'][0]!r} colours; "
                "give all classes the one or the other"
            )
        known = kinds["values"] or kinds["colours"]
        if empty := [name for name in self.classes if name not in known]:
            raise ValueError(
                f"classes.{empty[0]}: give it `values: [...]` or `colours: [[r, g, b], ...]`, what "
                "its pixels are in the masks"
            )
        if self.kind == "colours" and self.channel == "alpha":
            raise ValueError("channel: alpha holds values, 0 to 255; give classes `values`")
        if wrong := [v for v in self.void if isinstance(v, int) != (self.kind == "values")]:
            raise ValueError(f"void: {wrong[0]!r} is none of the {self.kind} that classes have")
        owners: dict[int, str] = {}
        groups = [*self.classes, "void"]
        mapping = self.class_map
        for name, keys in zip(groups, [*mapping.classes, mapping.void], strict=True):
            for key in keys:
                if owners.setdefault(key, name) != name:
                    shown = write_key(self.kind, key)
                    raise ValueError(f"classes: {shown} is both {owners[key]!r} and {name!r}")
        return self

    @property
    def kind(self) -> Kind:
        """Whether masks hold values or colours."""
        first = next(iter(self.classes.values()))
        return "values" if first.values else "colours"

    @property
    def class_map(self) -> ClassMap:
        """What the masks hold, as classes."""
        rows = [entry.values or entry.colours for entry in self.classes.values()]
        return ClassMap(
            self.kind,
            tuple(tuple(dict.fromkeys(map(_key, row))) for row in rows),
            tuple(dict.fromkeys(map(_key, self.void))),
            self.others == "void",
        )

    @property
    def palette(self) -> Palette:
        """Colour in which each class is shown."""
        palette = []
        for entry, ours in zip(
            self.classes.values(), spread_colours(len(self.classes)), strict=True
        ):
            keys = [_key(colour) for colour in entry.colours]
            own = next((key for key in keys if key != TRANSPARENT), None)
            from_mask = ours if own is None else rgb_of(own)
            palette.append(entry.shown or from_mask)
        return tuple(palette)


def read_description(path: Path) -> Description:
    """Read `classes.yaml`.

    Raises:
        InputError: It cannot be read or understood; the message has its key.
    """
    return parse(Description, load_yaml(path), where=str(path))


def _key(given: object) -> int:
    """Return the key of a value or colour."""
    if isinstance(given, int):
        return given
    if given == "transparent":
        return TRANSPARENT
    if isinstance(given, str):
        return int(given.removeprefix("#"), 16)
    assert isinstance(given, tuple)
    return colour_key(*given)
