"""COCO: JSON of panoptic segments, or of stuff and things as polygons and run lengths.

Panoptic files name a PNG for each image whose colours are numbers of segments. Polygons and run
lengths are read by pycocotools (extra `fcn-bench[coco]`), large areas first, so that small ones lie
over them.

Reference: https://cocodataset.org/#format-data.
"""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.formats import opened, require_exact
from bench.data.intake.drawing import (
    VOID,
    Finder,
    Imported,
    find_json,
    keep_masks,
    number_classes,
    read_json,
)
from bench.data.intake.named import Named
from bench.data.raw_masks import read_raw_mask
from bench.text import number_of
from fcn.errors import InputError


def import_coco(images: Named, where: Path, folder: Path) -> Imported:
    """Draw the masks of COCO's annotations; reads and writes disk.

    Raises:
        InputError: They cannot be understood, or pycocotools is wanted and not there.
    """
    masks: dict[str, NDArray[np.uint8]] = {}
    said: list[str] = []
    finder = Finder(images)
    found = [(path, v) for path in find_json(where) if _is_coco(v := read_json(path))]
    if not found:
        raise InputError(
            f"{where} has no JSON of COCO (with `images`, `annotations`, `categories`)"
        )
    categories = {int(c["id"]): str(c["name"]) for _, v in found for c in v["categories"]}
    names = [categories[key] for key in sorted(categories)]
    numbers, table = number_classes(names, str(where))
    classes = {key: numbers[name] for key, name in categories.items()}
    for path, values in found:
        is_panoptic = any("segments_info" in one for one in values["annotations"])
        draw = _panoptic if is_panoptic else _parts
        told = {int(one["id"]): one for one in values["images"]}
        missing = 0
        for number, annotations in _by_image(values["annotations"]).items():
            image = finder.find(str(told[number]["file_name"])) if number in told else None
            if image is None:
                missing += 1
                continue
            masks[image.with_suffix("").as_posix()] = draw(path, told[number], annotations, classes)
        what, how = ("panoptic segments", "") if is_panoptic else ("areas", ", the largest first")
        said.append(f"masks were drawn from {what} of {path}{how}")
        if missing:
            said.append(f"passed over: {number_of(missing, 'image')} of {path}, not among --images")
    if not masks:
        raise InputError(
            f"{where} is about none of the images below {images.base}: it has file names such as "
            f"{found[0][1]['images'][0].get('file_name')!r}"
        )
    return Imported(keep_masks(masks, folder), table, tuple(said))


def _is_coco(values: Any) -> bool:
    return isinstance(values, dict) and all(
        isinstance(values.get(key), list) for key in ("images", "annotations", "categories")
    )


def _by_image(annotations: Iterable[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    for one in annotations:
        found.setdefault(int(one["image_id"]), []).append(one)
    return found


def _panoptic(
    path: Path,
    image: Mapping[str, Any],
    annotations: list[Mapping[str, Any]],
    classes: Mapping[int, int],
) -> NDArray[np.uint8]:
    """Turn numbers of segments into classes; what is in none is void."""
    (one,) = annotations
    places = [path.with_suffix("") / one["file_name"], path.parent / one["file_name"]]
    png = next((place for place in places if place.is_file()), places[0])
    with opened(png) as file:
        require_exact(file, png, "segments")
    keys, _ = read_raw_mask(png, "colours")
    # Its number is red + 256 green + 65536 blue; a key has red first.
    segments = (keys >> 16) | (keys & 0xFF00) | (keys & 255) << 16
    mask = np.full(keys.shape, VOID, dtype=np.uint8)
    for segment in one["segments_info"]:
        mask[segments == int(segment["id"])] = classes[int(segment["category_id"])]
    return mask


def _parts(
    path: Path,
    image: Mapping[str, Any],
    annotations: list[Mapping[str, Any]],
    classes: Mapping[int, int],
) -> NDArray[np.uint8]:
    """Draw polygons and run lengths, the largest first; what is in none is background."""
    try:
        from pycocotools import mask as masks
    except ImportError:
        raise InputError(
            f"{path} has polygons or run lengths, which pycocotools reads; install it with "
            "`pip install 'fcn-bench[coco]'`"
        ) from None
    height, width = int(image["height"]), int(image["width"])
    mask = np.zeros((height, width), dtype=np.uint8)
    parts = []
    for one in annotations:
        given = one.get("segmentation")
        if not given:
            continue  # a box alone has no area of its own
        if isinstance(given, list):
            runs = masks.merge(masks.frPyObjects(given, height, width))
        else:
            is_text = isinstance(given["counts"], str | bytes)
            runs = given if is_text else masks.frPyObjects(given, height, width)
        with warnings.catch_warnings():  # pycocotools knows no numpy 2, and works with it
            warnings.simplefilter("ignore", DeprecationWarning)
            area = masks.decode(runs).astype(bool)
        if area.shape != mask.shape:
            raise InputError(
                f"{path}: an area of image {image['file_name']!r} is {area.shape[1]}x"
                f"{area.shape[0]}, and the image {width}x{height} pixels"
            )
        parts.append((int(area.sum()), classes[int(one["category_id"])], area))
    for _, value, area in sorted(parts, key=lambda part: -part[0]):
        mask[area] = value
    return mask
