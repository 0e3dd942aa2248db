"""An ONNX file as a network that predicts: of `fcn-bench export`, or of any other tool.

In: the file, and pixels. Out: the class of each pixel, by onnxruntime (extra `fcn-bench[onnx]`).
What the file takes is read off its input: uint8 (N, H, W, 3), or float32 (N, 3, H, W), normalised
as our own files say of themselves; of other tools', by ImageNet's statistics unless told.
"""

import json
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bench.data.augment import scaled_size, to_network
from bench.importing import importing
from bench.run.views import Views, average, largest, parts_of
from fcn.errors import InputError, foreign_code

METADATA = "fcn-bench"
"""Key under which our own files say what they take and give."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class OnnxNetwork:
    """A segmentation network in an ONNX file.

    Args:
        path: The file.
        num_classes: How many classes it must tell apart.
        input_scale: Resize of images for it; None for what the file says, or none.
        statistics: Mean and standard deviation of its channels; None for what the file says.
        device: `cuda` uses onnxruntime's provider for it, where that is installed.

    Raises:
        InputError: onnxruntime is missing, or the file is no such network.
    """

    def __init__(
        self,
        path: Path,
        num_classes: int,
        input_scale: float | None,
        statistics: tuple[Sequence[float], Sequence[float]] | None,
        device: torch.device,
    ) -> None:
        self._path, self._num_classes = path, num_classes
        self._session = _open_session(path, device)
        known = _read_metadata(self._session)
        self.class_names = tuple(known["class_names"]) if "class_names" in known else None
        """Where the file says them."""
        self.input_scale = input_scale or float(known.get("input_scale", 1.0))
        """Resize of images for the network."""
        given = self._session.get_inputs()
        wanted = given[0].shape if len(given) == 1 else []
        self._takes_bytes = len(wanted) == 4 and given[0].type == "tensor(uint8)"
        is_planar = len(wanted) == 4 and given[0].type == "tensor(float)" and wanted[1] == 3
        if not is_planar and not (self._takes_bytes and wanted[3] == 3):
            shown = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in given)
            raise InputError(
                f"{path} takes {shown}; a network that is scored takes one input, of float32 "
                "(N, 3, H, W) or uint8 (N, H, W, 3)"
            )
        self._name = given[0].name
        sides = wanted[1:3] if self._takes_bytes else wanted[2:4]
        self._size = (sides[0], sides[1]) if all(isinstance(s, int) for s in sides) else None
        known_statistics = (known["mean"], known["std"]) if {"mean", "std"} <= set(known) else None
        bytes_alone = ((0.0,) * 3, (1.0,) * 3)
        self.statistics: tuple[Sequence[float], Sequence[float]] = (
            bytes_alone if self._takes_bytes else statistics or known_statistics or IMAGENET
        )
        """Mean and standard deviation of the channels, by which images are normalised for it."""

    def require_sizes(self, views: Views, input_scale: float | None) -> None:
        """Refuse sizes and factors for a file of one size, of which it would see nothing.

        Args:
            views: How images are to be looked at.
            input_scale: Resize that was asked for; None for none.

        Raises:
            InputError: There are some.
        """
        if self._size is None:
            return
        given = [f"--tta {scale:g}" for scale in views.scales if scale != 1]
        if views.size is not None and views.size != self._size:
            given.append(f"--size {views.size[0]}x{views.size[1]}")
        if input_scale is not None:
            given.append(f"--input-scale {input_scale:g}")
        if given:
            raise InputError(
                f"{self._path} takes {self._size[0]}x{self._size[1]} pixels alone, to which each "
                f"image or tile is resized, so that {' and '.join(given)} would change nothing; "
                "leave it out, or give a file that takes images of any size (flip and --tile serve "
                "this one too)"
            )

    def predict_views(
        self, pixels: NDArray[np.uint8], views: Views
    ) -> dict[str, NDArray[np.uint8]]:
        """Return the most probable class of each pixel, (H, W), as `Segmenter.predict_views`."""
        pred = np.zeros(pixels.shape[:2], np.uint8)
        for part in parts_of(pixels.shape[:2], views):
            tile = np.ascontiguousarray(pixels[part.seen])
            found = average(tile, views, partial(self._look, views))
            pred[part.place] = largest(found[(slice(None), *part.kept)])
        return {"": pred}

    def _look(self, views: Views, pixels: NDArray[np.uint8], scale: float, flipped: bool) -> Tensor:
        """Return the probabilities of one view of one image, (C, H, W), turned back."""
        size = (pixels.shape[0], pixels.shape[1])
        at = scaled_size(views.size or size, scale * (1 if views.size else self.input_scale))
        mean, std = self.statistics
        cpu = torch.device("cpu")
        images = to_network(pixels, 1.0, mean=mean, std=std, device=cpu, size=self._size or at)
        images = images.flip(-1) if flipped else images
        if self._takes_bytes:
            images = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        where, way_out = f"{self._path} fails on an image: ", "; --size or --tile may fit it"
        with foreign_code(where, way_out):
            found = np.asarray(self._session.run(None, {self._name: images.numpy()})[0])
        probabilities = self._read_output(torch.from_numpy(found), size)
        return probabilities.flip(-1) if flipped else probabilities

    def _read_output(self, found: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn what the file gives into probabilities at the image's own size, (C, H, W)."""
        C = self._num_classes
        if found.ndim == 4 and found.shape[:2] == (1, C) and found.is_floating_point():
            at_size = F.interpolate(found.float(), size, mode="bilinear", align_corners=False)
            return at_size[0].softmax(0)
        classes = found.squeeze()
        if classes.ndim == 2 and not found.is_floating_point():  # the argmax is in the file
            if int(classes.max()) >= C or int(classes.min()) < 0:
                raise InputError(f"{self._path} gives class {int(classes.max())}; there are {C}")
            one_hot = F.one_hot(classes.long(), C).permute(2, 0, 1).float()
            return F.interpolate(one_hot[None], size, mode="nearest")[0]
        raise InputError(
            f"{self._path} gives {found.dtype} of shape {tuple(found.shape)}; its first output "
            f"must be logits of {C} classes, (1, {C}, H, W), or their argmax"
        )


def describe_network(
    mean: Sequence[float], std: Sequence[float], input_scale: float, class_names: Sequence[str]
) -> str:
    """Return what a file of ours says of itself, under `METADATA`."""
    facts = {"mean": list(mean), "std": list(std), "input_scale": input_scale}
    return json.dumps({**facts, "class_names": list(class_names)})


def _open_session(path: Path, device: torch.device) -> Any:
    if find_spec("onnxruntime") is None:
        raise InputError(f"{path}: scoring it needs onnxruntime: pip install 'fcn-bench[onnx]'")
    with importing():
        onnxruntime = import_module("onnxruntime")
    wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
    here = onnxruntime.get_available_providers()
    providers = [name for name in (*wanted, "CPUExecutionProvider") if name in here]
    with foreign_code(f"{path} cannot be loaded by onnxruntime: ", ""):
        return onnxruntime.InferenceSession(str(path), providers=providers)


def _read_metadata(session: Any) -> dict[str, Any]:
    try:
        known = json.loads(session.get_modelmeta().custom_metadata_map.get(METADATA, "{}"))
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}
