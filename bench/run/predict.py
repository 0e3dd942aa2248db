"""Prediction: a finished run's network on any pictures, as masks and overlays."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.data.augment import to_network
from bench.data.files import read_image
from bench.run.evaluate import predict_classes
from bench.run.weights import load_weights
from bench.store import Store
from fcn.errors import InputError
from fcn.model import create_model

OVERLAY = 0.5
"""Share of the class colour in an overlay."""


def predict(
    store: Store, run_id: str, paths: list[Path], device: torch.device
) -> Iterator[tuple[Path, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Predict each picture at its own size.

    Args:
        store: Where the run is.
        run_id: A finished run.
        paths: Pictures, any size and any format that Pillow reads.
        device: Where to compute.

    Yields:
        Path, picture (H, W, 3) and predicted classes (H, W).

    Raises:
        InputError: The run is not finished, or a picture cannot be read.
    """
    result = store.result(run_id)
    if result is None:
        raise InputError(f"run {run_id} is not finished; `fcn-bench runs list` shows which are")
    spec = store.run(run_id).spec
    settings = spec.model.model_dump() | {"pretrained": False}  # all weights come from the run
    model = create_model(**settings, num_classes=len(result.class_names))
    model.load_state_dict(load_weights(store.run_dir(run_id) / "model.safetensors"))
    model.to(device).eval()
    for path in paths:
        image = read_image(path)
        x = to_network(image, spec.data.input_scale, mean=model.mean, std=model.std, device=device)
        with torch.inference_mode():
            pred = predict_classes(model, x, (image.shape[0], image.shape[1]))
        yield path, image, pred[0].to(torch.uint8).cpu().numpy()


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
