"""Predictions as files: masks and overlays of any images, below a folder, over nothing else.

In: image files and folders of them. Out: the paths that were written, and the images that could
not be predicted, as they come.
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.outputs.stream import Manifest
from bench.run.images import find_images, name_results, require_room
from bench.run.predict import ENDINGS, WHOLE, predict, save_prediction
from bench.run.views import Views
from bench.run.weights import finished_result
from bench.store.runs import Store
from fcn.errors import InputError

PROBABILITIES = ("float", "16", "8")
"""Forms in which probabilities are kept."""
PROBABILITY_FILE = "-probabilities.npz"


def predict_files(
    store: Store,
    run_id: str,
    given: Sequence[Path],
    out: Path,
    device: torch.device,
    folders: Mapping[str, Path],
    views: Views = WHOLE,
    probabilities: str = "",
    *,
    overlays: bool = True,
) -> Iterator[Path | InputError]:
    """Predict images and the images in folders; write a mask and an overlay of each target.

    Args:
        store: Where the run is.
        run_id: A finished run.
        given: Image files, and folders of them, whose structure is kept.
        out: Folder of what is written.
        device: Where to compute.
        folders: For each further input of the run, where files of the same stems are.
        views: How each image is looked at.
        probabilities: One of `PROBABILITIES`, to write them too; empty for none.
        overlays: Write overlays beside the masks.

    Yields:
        Each path that was written, and why an image could not be predicted.

    Raises:
        InputError: The run cannot be used, or something would be overwritten: nothing was written.
    """
    result = finished_result(store, run_id)
    palettes = {name: other["palette"] for name, other in result.others.items()}
    palettes = {"": result.palette, **{f"-{name}": own for name, own in palettes.items()}}
    kinds = ENDINGS if overlays else ENDINGS[:1]
    endings = [f"{target}{ending}" for target in palettes for ending in kinds]
    endings += [PROBABILITY_FILE] if probabilities else []
    images = find_images(given, out)
    stems = name_results(images, endings)
    manifest = Manifest(out, f"run-{run_id}")
    require_room(out, stems, endings, lambda path, i: manifest.may_write(path, _source(i, out)))
    skipped: list[InputError] = []

    def skip(path: Path, error: InputError) -> None:
        named = str(path) in str(error)
        skipped.append(error if named else InputError(f"{path}: {error}"))

    keep = bool(probabilities)
    for found in predict(store, run_id, images, device, folders, skip, views, keep):
        yield from skipped
        skipped.clear()
        write = partial(manifest.write, of=_source(found.path, out))
        for target, pred in zip(palettes, found.preds.values(), strict=True):
            stem = out / stems[found.path]
            stem = stem.with_name(stem.name + target)
            try:
                written = save_prediction(
                    stem, found.image, pred, palettes[target], write, overlay=overlays
                )
            except OSError as error:
                raise InputError(
                    f"{stem}-mask.png cannot be written: {error.strerror or error}; choose another "
                    "--out, or make room there"
                ) from error
            yield from written
        if found.probabilities is not None:
            path = out / stems[found.path]
            path = path.with_name(path.name + PROBABILITY_FILE)
            write(path, pack_probabilities(found.probabilities, probabilities))
            yield path
    yield from skipped


def pack_probabilities(values: NDArray[np.float32], form: str) -> bytes:
    """Return the probabilities of an image as a compressed .npz: `probabilities`, (C, H, W).

    Args:
        values: (C, H, W), fractions.
        form: "float" keeps them; "16" and "8" are whole numbers, the largest one for 1.
    """
    if form != "float":
        kind = np.uint16 if form == "16" else np.uint8
        scaled = (values * np.iinfo(kind).max).round().astype(kind)
        return _as_npz(scaled)
    return _as_npz(values)


def _as_npz(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, probabilities=values)
    return file.getvalue()


def _source(image: Path, out: Path) -> str:
    """Name an image as seen from the folder of results, wherever both are moved."""
    return Path(os.path.relpath(image, out)).as_posix()
