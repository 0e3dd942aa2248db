"""A finished run's network in other programs' hands: ONNX, torch.export, safetensors, a hub folder.

In: a run. Out: a file or folder, over nothing else; a program is run on real images first, at two
sizes, and is only kept where its logits are the network's own. Exporting needs torch alone for
`torch-export`, and the extra `fcn-bench[onnx]` for `onnx`.
"""

import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.data.augment import to_network
from bench.data.layers import scale_statistics
from bench.importing import importing
from bench.run.model_card import require_card, write_card
from bench.run.onnx_network import METADATA, describe_network
from bench.run.trained import Trained
from bench.store.atomic import replacing
from bench.store.runs import Store
from bench.text import number_of
from fcn.errors import InputError, foreign_code
from fcn.hub import save_pretrained

FORMATS = ("onnx", "torch-export", "safetensors", "hf")
TOLERANCE = 1e-3
"""Largest difference of a logit, as a share of the largest: kernels add up in other orders."""
LEAST = (197, 229)
"""Height and width of the image by which a program of any size is made, at least: odd, unequal, and
several cells of the coarsest features."""
ONNX_EXTRA = ("onnx", "onnxruntime", "onnxscript")


class Exported(nn.Module):
    """A network as it is exported: images in, logits at the images' own size out.

    Args:
        model: The network.
        preprocess: Take uint8 images (N, H, W, K), and normalise them inside; else normalised
            float32 images (N, K, H, W).
    """

    def __init__(self, model: Any, *, preprocess: bool) -> None:
        super().__init__()
        self.model = model
        self.preprocess = preprocess
        shape = (1, -1, 1, 1)
        mean, std = (torch.tensor(list(values)).view(shape) for values in (model.mean, model.std))
        self.mean, self.std = nn.Buffer(mean, persistent=False), nn.Buffer(std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (N, sum of C, H, W) float32."""
        if self.preprocess:
            pixels = images.permute(0, 3, 1, 2).to(torch.float32)
            images = (pixels / 255 - self.mean) / self.std
        logits: Tensor = self.model(images)
        return logits


def export_run(
    store: Store,
    run_id: str,
    to: str,
    out: Path,
    images: Sequence[NDArray[np.uint8]],
    *,
    preprocess: bool = False,
    size: tuple[int, int] | None = None,
) -> str:
    """Export a finished run and return a sentence on how equal it is.

    Args:
        store: Where the run is.
        run_id: The run.
        to: One of `FORMATS`.
        out: File (`onnx`, `torch-export`) or folder; nothing of others is replaced.
        images: Real images, (H, W, K) uint8, on which programs are compared.
        preprocess: Have the program take uint8 images and normalise them itself.
        size: Height and width that the program takes; None for any.

    Raises:
        InputError: The run cannot be used, something is at `out`, a package is missing, or the
            program's logits are not the network's.
    """
    if to == "hf":
        require_card(out)
    trained = Trained(store, run_id, torch.device("cpu"))
    if to in ("safetensors", "hf"):
        if preprocess or size is not None:
            raise InputError(
                f"--to {to} writes weights, not a program: --preprocess and --size are for onnx "
                "and torch-export"
            )
        save_pretrained(
            trained.model,
            out,
            input_scale=trained.input_scale,
            class_names=trained.class_names,
        )
        if to == "hf":
            write_card(store, run_id, out)
        return f"fcn.from_pretrained({str(out)!r}) loads it"
    if os.path.lexists(out):
        raise InputError(f"{out} is there already; give --out another name, or move it away")
    if preprocess and trained.input_scale != 1:
        raise InputError(
            f"run {run_id} sees images resized by {trained.input_scale} (data.input_scale), which "
            "no program does as it was trained with; export it without --preprocess, and resize "
            "images outside, with antialiasing"
        )
    if preprocess and any(one.value_range for one in trained.inputs):
        raise InputError(
            f"run {run_id} sees images of more than 8 bits, which --preprocess does not take; "
            "export it without"
        )
    module = Exported(trained.model, preprocess=preprocess).eval()
    inputs = [_input(trained, image, preprocess, size) for image in images]
    example = (
        inputs[0] if size is not None else _input(trained, _grown(images[0]), preprocess, None)
    )
    with replacing(out) as temporary:
        about = describe_network(
            module.model.mean, module.model.std, trained.input_scale, trained.class_names
        )
        run = _WRITERS[to](module, example, temporary, size is None, about)
        worst = max(_difference(module, run, one) for one in inputs)
    sizes = " and ".join(dict.fromkeys("x".join(map(str, _size_of(i, preprocess))) for i in inputs))
    tried = number_of(len(inputs), "image")
    return f"logits equal to {worst:.1e} of the largest, on {tried} of {sizes}"


def _write_onnx(
    module: Exported, example: Tensor, path: Path, any_size: bool, about: str
) -> Callable[[Tensor], NDArray[np.float32]]:
    """Write an ONNX file and return what runs it, in onnxruntime."""
    missing = [name for name in ONNX_EXTRA if find_spec(name) is None]
    if missing:
        raise InputError(f"--to onnx needs {', '.join(missing)}: pip install 'fcn-bench[onnx]'")
    with importing():
        onnxruntime = import_module("onnxruntime")
    with warnings.catch_warnings(), foreign_code("torch.onnx cannot export this network: ", _WAY):
        warnings.simplefilter("ignore")  # of its own insides
        program = torch.onnx.export(
            _capture(module, example, any_size),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props[METADATA] = about
        program.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> NDArray[np.float32]:
        (found,) = session.run(["logits"], {"images": images.numpy()})
        return np.asarray(found)

    return run


def _write_torch_export(
    module: Exported, example: Tensor, path: Path, any_size: bool, about: str
) -> Callable[[Tensor], NDArray[np.float32]]:
    """Write a program of torch.export and return what runs it, as it was read back."""
    with warnings.catch_warnings(), foreign_code("torch.export cannot export this network: ", _WAY):
        warnings.simplefilter("ignore")
        program = _capture(module, example, any_size)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".pt2") as file:
            torch.export.save(program, file.name)
            path.write_bytes(Path(file.name).read_bytes())
            loaded = torch.export.load(file.name).module()

    def run(images: Tensor) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(loaded(images).numpy())

    return run


_WAY = "; fix the size with --size HEIGHTxWIDTH, or export the weights, with --to safetensors"
_WRITERS = {"onnx": _write_onnx, "torch-export": _write_torch_export}


def _capture(module: Exported, example: Tensor, any_size: bool) -> torch.export.ExportedProgram:
    """Return the network as a program; strictly: its caches take no length that is not known."""
    shapes = _dynamic(module, any_size)
    return torch.export.export(module, (example,), dynamic_shapes=shapes, strict=True)


def _dynamic(module: Exported, any_size: bool) -> tuple[dict[int, Any]] | None:
    """Return which axes of the images may have any length."""
    if not any_size:
        return None
    axes = (1, 2) if module.preprocess else (2, 3)
    return (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),)


def _input(
    trained: Trained,
    image: NDArray[np.uint8],
    preprocess: bool,
    size: tuple[int, int] | None,
) -> Tensor:
    """Return an image as the program takes it."""
    if size is not None:
        if image.shape[0] < size[0] or image.shape[1] < size[1]:
            repeats = (-(-size[0] // image.shape[0]), -(-size[1] // image.shape[1]), 1)
            image = np.tile(image, repeats)
        image = np.ascontiguousarray(image[: size[0], : size[1]])
    if preprocess:
        return torch.from_numpy(image.copy())[None]
    mean, std = scale_statistics(trained.inputs, trained.model.mean, trained.model.std)
    return to_network(
        image,
        1.0 if size is not None else trained.input_scale,
        mean=mean,
        std=std,
        device=torch.device("cpu"),
    )


def _grown(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image that is large enough to stand for all: features of one cell are special."""
    repeats = [-(-least // side) for least, side in zip(LEAST, image.shape[:2], strict=True)]
    return np.tile(image, (*repeats, 1))


def _size_of(images: Tensor, preprocess: bool) -> tuple[int, int]:
    axes = (1, 2) if preprocess else (2, 3)
    return images.shape[axes[0]], images.shape[axes[1]]


def _difference(
    module: Exported, run: Callable[[Tensor], NDArray[np.float32]], images: Tensor
) -> float:
    """Return the largest difference of a logit, as a share of the largest.

    Raises:
        InputError: It is more than kernels explain.
    """
    with torch.no_grad():
        own = module(images).numpy()
    with foreign_code("the exported program fails on an image of its run: ", _WAY):
        found = run(images)
    if found.shape != own.shape:
        raise InputError(
            f"the exported program gives logits of shape {found.shape}, not {own.shape}{_WAY}"
        )
    difference = float(np.abs(found - own).max() / max(1e-12, float(np.abs(own).max())))
    if not difference <= TOLERANCE:
        raise InputError(
            f"the exported program's logits differ by {difference:.1e} of the largest, more than "
            f"{TOLERANCE:g}: it was not kept{_WAY}"
        )
    return difference


def describe_io(preprocess: bool) -> str:
    """Say what a program takes and gives."""
    if preprocess:
        return "images: uint8 (1, H, W, 3), RGB -> logits: float32 (1, C, H, W)"
    return "images: float32 (1, 3, H, W), normalised -> logits: float32 (1, C, H, W)"
