"""Prediction: a finished run's network on any images, as masks and overlays.

Images that follow each other and have one size go through the network together, as many as when a
split is scored: of the images of a split, in its order, the masks are those that were scored.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.data.bands import render
from bench.data.files import read_input
from bench.data.layers import Input
from bench.data.scoring_batches import groups_of_one_size
from bench.run.evaluate_split import BATCH_PIXELS, BATCH_SIZE
from bench.run.images import ImageFile, files_by_stem, find_beside
from bench.run.trained import Trained
from bench.run.views import Views, largest
from bench.store.runs import Store
from fcn.errors import InputError

OVERLAY = 0.5
"""Share of the class colour in an overlay."""

ENDINGS = ("-mask.png", "-overlay.png")
"""What is written of a prediction."""

WHOLE = Views()
"""Each image once and whole, as runs are scored."""

Listing = Callable[[Path], dict[str, list[Path]]]
"""Lists a folder's images by stem."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image."""

    path: Path
    image: NDArray[np.uint8]
    """The image, or the first input in its place, (H, W, 3)."""
    preds: dict[str, NDArray[np.uint8]]
    """Predicted classes (H, W) by target, the first one's name empty."""
    probabilities: NDArray[np.float32] | None = None
    """Of each class of the first target, (C, H, W), where they are asked for."""


@dataclass(frozen=True)
class _Read:
    """An image as it was read."""

    path: Path
    shown: NDArray[np.uint8]
    """(H, W, 3)."""
    pixels: NDArray[np.uint8]
    """All inputs side by side, (H, W, K)."""


def predict(
    store: Store,
    run_id: str,
    paths: Sequence[Path | ImageFile],
    device: torch.device,
    folders: Mapping[str, Path] = MappingProxyType({}),
    skip: Callable[[Path, InputError], None] | None = None,
    views: Views = WHOLE,
    keep_probabilities: bool = False,
) -> Iterator[Prediction]:
    """Predict each image at its own size; sets torch's algorithms and threads as the run did.

    Args:
        store: Where the run is.
        run_id: A finished run.
        paths: Images, any size and any format that Pillow reads: the first input of the run.
        device: Where to compute.
        folders: For each further input of the run, where files of the same stems are.
        skip: Is told of each image that cannot be predicted, and why; None has it raised.
        views: How each image is looked at; seen once and whole, it is seen as it was scored.
        keep_probabilities: Give the probabilities of the first target too.

    Yields:
        The prediction of each.

    Raises:
        InputError: The run is not finished or not what it was, a folder of an input is missing,
            two images have one file of an input in common, or an image cannot be read.
    """
    trained = Trained(store, run_id, device)
    _require_folders(trained.inputs, folders)
    images = [path if isinstance(path, ImageFile) else ImageFile(path) for path in paths]
    list_files = cache(files_by_stem)
    _require_apart(images, folders, list_files)

    def passed_over(path: Path, error: InputError) -> None:
        if skip is None:
            raise error
        skip(path, error)

    def readable() -> Iterator[tuple[_Read, tuple[int, int]]]:
        for image in images:
            try:
                read = _read(image, trained.inputs, folders, list_files)
            except InputError as error:
                passed_over(image.path, error)
            else:
                yield read, read.shown.shape[:2]

    for group in groups_of_one_size(readable(), trained.input_scale, BATCH_SIZE, BATCH_PIXELS):
        try:
            if not views.is_plain or keep_probabilities:
                for read in group:
                    yield _look(trained, read, views, keep_probabilities)
                continue
            found = trained.predict_batch(np.stack([read.pixels for read in group]))
        except InputError as error:  # all of one size: what one is too small for, all are
            for read in group:
                passed_over(read.path, error)
        else:
            for read, preds in zip(group, found, strict=True):
                yield Prediction(read.path, read.shown, preds)


def _look(trained: Trained, read: _Read, views: Views, keep_probabilities: bool) -> Prediction:
    """Predict one image by several views, or with its probabilities."""
    size = read.shown.shape[:2]
    preds = {name: np.zeros(size, np.uint8) for name in trained.targets}
    kept = np.zeros((trained.classes[0], *size), np.float32) if keep_probabilities else None
    for part, found in trained.predict_parts(read.pixels, views):
        for name, probabilities in found.items():
            preds[name][part.place] = largest(probabilities)
        if kept is not None:
            kept[(slice(None), *part.place)] = found[""].cpu().numpy()
    return Prediction(read.path, read.shown, preds, kept)


def _require_folders(inputs: Sequence[Input], folders: Mapping[str, Path]) -> None:
    """See that each input of a run but the first has its folder."""
    names = [one.name for one in inputs]
    if set(folders) != set(names[1:]):
        wanted = " ".join(f"--input {name}=FOLDER" for name in names[1:]) or "no --input"
        raise InputError(
            f"this run sees {', '.join(names)}: give its images of {names[0]}, and {wanted}"
        )
    for name, folder in folders.items():
        if not folder.is_dir():
            raise InputError(f"--input {name}={folder} is no folder; give that of its images")


def _require_apart(
    images: Sequence[ImageFile], folders: Mapping[str, Path], list_files: Listing
) -> None:
    """Refuse images that would be seen beside one file of a further input."""
    for name, folder in folders.items():
        seen: dict[Path, Path] = {}
        for image in images:
            for file in find_beside(image.path, list_files(folder), image.inside):
                if (other := seen.setdefault(file, image.path)) != image.path:
                    raise InputError(
                        f"{other} and {image.path} would both be seen with {file}, of input "
                        f"{name!r}; give them to two commands, each with its own --input"
                    )


def _read(
    image: ImageFile, inputs: Sequence[Input], folders: Mapping[str, Path], list_files: Listing
) -> _Read:
    """Read every input of an image; InputError if one is missing or not what it should be."""
    if image.frame is not None:
        return _read_frame(image, inputs)
    if not image.path.is_file():
        raise InputError(f"{image.path} is no file; give images, or folders of them")
    layers = [
        read_input(_find(image.path, one, folders, image.inside, list_files), one) for one in inputs
    ]
    require_one_size(image.path, layers)
    shown = render(layers[0], *(inputs[0].value_range or (0, 255)))
    return _Read(image.path, shown, np.concatenate(layers, axis=2))


def _read_frame(image: ImageFile, inputs: Sequence[Input]) -> _Read:
    """Read a frame of a video; it is all that the network may want to see."""
    assert image.frame is not None
    frames, number = image.frame
    if len(inputs) > 1 or inputs[0].channels != 3 or inputs[0].value_range:
        names = ", ".join(one.name for one in inputs)
        raise InputError(
            f"{frames.path} is a video, of red, green and blue; this run sees {names}: give images"
        )
    pixels = frames.read(number)
    return _Read(image.path, pixels, pixels)


def require_one_size(path: Path, layers: list[NDArray[np.uint8]]) -> None:
    """Refuse inputs of different sizes.

    Raises:
        InputError: They differ.
    """
    sizes = {layer.shape[:2] for layer in layers}
    if len(sizes) > 1:
        shown = ", ".join(f"{H}x{W}" for H, W in sorted(sizes))
        raise InputError(f"the inputs of {path} have different sizes ({shown}); make them one size")


def _find(
    path: Path,
    wanted: Input,
    folders: Mapping[str, Path],
    inside: int = 1,
    list_files: Listing = files_by_stem,
) -> Path:
    """Return the file of an input for an image: as in a dataset, that of the same path and stem.

    Args:
        path: The image.
        wanted: The input.
        folders: Where files of inputs are; the image itself stands for one without.
        inside: How many parts of the path the file has in common with it at least.
        list_files: Lists a folder, by stem.

    Raises:
        InputError: There is none, or more than one.
    """
    if wanted.name not in folders:
        return path
    folder = folders[wanted.name]
    found = find_beside(path, list_files(folder), inside)
    if len(found) != 1:
        shown = "" if not found else f" ({', '.join(file.name for file in found[:3])})"
        stem = Path(*path.parts[-inside:]).with_suffix("").as_posix()
        raise InputError(
            f"{folder} has {len(found)} files with the stem {stem!r}{shown}, which input "
            f"{wanted.name!r} of {path} needs; one is right"
        )
    return found[0]


def save_prediction(
    stem: Path,
    image: NDArray[np.uint8],
    pred: NDArray[np.uint8],
    palette: tuple[tuple[int, int, int], ...],
    write: Callable[[Path, bytes], object] = Path.write_bytes,
    *,
    overlay: bool = True,
) -> tuple[Path, ...]:
    """Write `<stem>-mask.png` (class indices with the palette) and `<stem>-overlay.png`."""
    colours = np.array(palette, dtype=np.uint8)
    mask = Image.fromarray(pred, mode="P")
    mask.putpalette(colours.tobytes())
    mask_path, overlay_path = (stem.with_name(stem.name + ending) for ending in ENDINGS)
    write(mask_path, _as_png(mask))
    if not overlay:
        return (mask_path,)
    blend = (1 - OVERLAY) * image + OVERLAY * colours[pred]
    write(overlay_path, _as_png(Image.fromarray(blend.round().astype(np.uint8))))
    return mask_path, overlay_path


def _as_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
