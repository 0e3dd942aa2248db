"""labelme: polygons in a JSON file beside each image, drawn one over the other as labelme does.

Reference: `shapes_to_label` of labelme, https://github.com/wkentaro/labelme: a later shape lies
over an earlier one, and a polygon's outline belongs to it.
"""

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.data.files import read_lines
from bench.data.intake.drawing import (
    Finder,
    Imported,
    find_json,
    keep_masks,
    number_classes,
    read_json,
)
from bench.data.intake.named import Named
from bench.text import number_of
from fcn.errors import InputError

LABELS = "labels.txt"


def import_labelme(images: Named, where: Path, folder: Path) -> Imported:
    """Draw the masks of labelme's files; reads and writes disk.

    Raises:
        InputError: There is none, or one cannot be understood.
    """
    found = {path: values for path in find_json(where) if _is_labelme(values := read_json(path))}
    if not found:
        raise InputError(f"{where} has no JSON file of labelme (with `shapes` and `imagePath`)")
    labels = next((p for p in (where / LABELS, images.base / LABELS) if p.is_file()), None)
    used = sorted({str(shape["label"]) for v in found.values() for shape in v["shapes"]})
    names = [*(read_lines(labels) if labels else ()), *used]
    numbers, table = number_classes(dict.fromkeys(names), str(labels or where))
    finder, beside = Finder(images), {one.stem: one for one in images.paths}
    masks, lone = {}, []
    for path, values in found.items():
        image = finder.find(values["imagePath"]) or beside.get(path.stem)
        if image is None:
            lone.append(path)
            continue
        masks[image.with_suffix("").as_posix()] = _draw(path, values, numbers)
    said = [f"{number_of(len(masks), 'mask')} drawn from labelme's shapes, later over earlier"]
    if labels is None:
        said.append(f"there is no {LABELS}: classes are the labels in use, by the alphabet")
    if lone:
        said.append(f"JSON of no image: {number_of(len(lone), 'file')}, such as {lone[0]}")
    return Imported(keep_masks(masks, folder), table, tuple(said))


def _is_labelme(values: Any) -> bool:
    return (
        isinstance(values, dict)
        and isinstance(values.get("shapes"), list)
        and isinstance(values.get("imagePath"), str)
        and all(isinstance(s, dict) and "label" in s for s in values["shapes"])
    )


def _draw(path: Path, values: dict[str, Any], numbers: dict[str, int]) -> NDArray[np.uint8]:
    width, height = values.get("imageWidth"), values.get("imageHeight")
    if not (isinstance(width, int) and isinstance(height, int)):
        raise InputError(f"{path} lacks imageWidth and imageHeight; save it with labelme once more")
    mask = Image.new("L", (width, height))
    for number, shape in enumerate(values["shapes"]):
        try:
            _paint(mask, shape, numbers[str(shape["label"])])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}, shape {number + 1}: {error}; mend it with labelme") from None
    return np.asarray(mask)


def _paint(mask: Image.Image, shape: dict[str, Any], value: int) -> None:
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    draw = ImageDraw.Draw(mask)
    if kind == "polygon":
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points")
        draw.polygon(points, outline=value, fill=value)
    elif kind == "rectangle":
        (x0, y0), (x1, y1) = points
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        draw.rectangle(box, outline=value, fill=value)
    elif kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=value, fill=value)
    elif kind == "mask":
        part = Image.open(io.BytesIO(base64.b64decode(shape["mask"])), formats=["PNG"]).convert("L")
        corner = (round(points[0][0]), round(points[0][1]))
        mask.paste(value, corner, part.point(lambda grey: 255 if grey else 0))
    # Points and lines have no area, and labelme draws lines ten pixels wide for looks alone.
    elif kind not in ("point", "points", "line", "linestrip"):
        raise ValueError(f"unknown shape {kind!r}")
