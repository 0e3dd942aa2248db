"""Prediction: a finished run's network on any pictures, as masks and overlays."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.data.augment import to_network
from bench.data.files import read_input
from bench.data.layers import COLOUR, Input, network_options
from bench.run.evaluate import predict_targets
from bench.run.weights import load_weights
from bench.store import Result, Store
from bench.text import our_command
from fcn.errors import InputError
from fcn.model import create_model

OVERLAY = 0.5
"""Share of the class colour in an overlay."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of one picture."""

    path: Path
    image: NDArray[np.uint8]
    """The picture, or the first input in its place, (H, W, 3)."""
    preds: dict[str, NDArray[np.uint8]]
    """Predicted classes (H, W) by label map, the first one's name empty."""


def predict(
    store: Store,
    run_id: str,
    paths: list[Path],
    device: torch.device,
    folders: Mapping[str, Path] = MappingProxyType({}),
) -> Iterator[Prediction]:
    """Predict each picture at its own size.

    Args:
        store: Where the run is.
        run_id: A finished run.
        paths: Pictures, any size and any format that Pillow reads: the first input of the run.
        device: Where to compute.
        folders: For each further input of the run, where files of the same stems are.

    Yields:
        The prediction of each.

    Raises:
        InputError: The run is not finished, or a picture cannot be read.
    """
    result = store.result(run_id)
    if result is None:
        listing = our_command("runs list", store.root)
        raise InputError(f"run {run_id} is not finished; {listing} shows which are")
    spec = store.run(run_id).spec
    inputs = _inputs_of(spec.data.inputs, result, folders)
    classes = [len(result.class_names), *(len(o["class_names"]) for o in result.others.values())]
    settings = spec.model.model_dump() | {"pretrained": False}  # all weights come from the run
    model = create_model(**settings, **network_options(inputs, classes))
    model.load_state_dict(load_weights(store, result))
    model.to(device).eval()
    for path in paths:
        layers = [read_input(_find(path, one, folders), one) for one in inputs]
        require_one_size(path, layers)
        size = (layers[0].shape[0], layers[0].shape[1])
        pixels = np.concatenate(layers, axis=2)
        x = to_network(pixels, spec.data.input_scale, mean=model.mean, std=model.std, device=device)
        with torch.inference_mode():
            found = predict_targets(model, x, size, classes)
        preds = [pred[0].to(torch.uint8).cpu().numpy() for pred in found]
        yield Prediction(
            path,
            layers[0] if layers[0].shape[2] == 3 else layers[0][..., :1].repeat(3, axis=2),
            dict(zip(["", *result.others], preds, strict=True)),
        )


def require_one_size(path: Path, layers: list[NDArray[np.uint8]]) -> None:
    """Refuse inputs of different sizes.

    Raises:
        InputError: They differ.
    """
    sizes = {layer.shape[:2] for layer in layers}
    if len(sizes) > 1:
        shown = ", ".join(f"{H}x{W}" for H, W in sorted(sizes))
        raise InputError(f"the inputs of {path} have different sizes ({shown}); make them one size")


def _inputs_of(
    names: Sequence[str], result: Result, folders: Mapping[str, Path]
) -> tuple[Input, ...]:
    """Return the run's inputs; InputError unless each but the first has its folder."""
    known = {one.name: one for one in (COLOUR, *map(Input.from_json, result.inputs))}
    if set(folders) != set(names[1:]):
        wanted = " ".join(f"--input {name}=FOLDER" for name in names[1:]) or "no --input"
        raise InputError(
            f"this run sees {', '.join(names)}: give its pictures of {names[0]}, and {wanted}"
        )
    return tuple(known[name] for name in names)


def _find(path: Path, wanted: Input, folders: Mapping[str, Path]) -> Path:
    if wanted.name not in folders:
        return path
    found = sorted(folders[wanted.name].glob(f"{glob.escape(path.stem)}.*"))
    if len(found) != 1:
        raise InputError(
            f"{folders[wanted.name]} has {len(found)} files with the stem {path.stem!r}, which "
            f"input {wanted.name!r} of {path} needs; one is right"
        )
    return found[0]


def save_prediction(
    stem: Path,
    image: NDArray[np.uint8],
    pred: NDArray[np.uint8],
    palette: tuple[tuple[int, int, int], ...],
) -> tuple[Path, Path]:
    """Write `<stem>-mask.png` (class indices with the palette) and `<stem>-overlay.png`."""
    colours = np.array(palette, dtype=np.uint8)
    mask = Image.fromarray(pred, mode="P")
    mask.putpalette(colours.tobytes())
    blend = (1 - OVERLAY) * image + OVERLAY * colours[pred]
    mask_path, overlay_path = (
        stem.with_name(f"{stem.name}-{kind}.png") for kind in ("mask", "overlay")
    )
    mask.save(mask_path)
    Image.fromarray(blend.round().astype(np.uint8)).save(overlay_path)
    return mask_path, overlay_path
