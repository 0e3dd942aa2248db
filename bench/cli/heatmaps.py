"""Heatmaps: a classifier slid over an image, and the map of one class drawn over it.

In: an image and a classification network. Out: a PNG, and the classes it sees most of.

Reference: Long et al., 2015, figure 2, arXiv:1411.4038.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image
from timm.data.imagenet_info import ImageNetInfo

from bench.data.files import read_image
from bench.outputs.drawing import Drawing
from bench.store.atomic import file_digest
from fcn.alignment import IMAGE_GRID, FixedUpsampling
from fcn.errors import InputError
from fcn.heatmap import compute_heatmap, create_heatmap_model

NUM_SHOWN = 5
OVERLAY = 0.6
"""Share of the map in the image that is drawn."""


def draw_heatmap(
    path: Path, backbone: str, pretrained: bool | str, label: int | None, out: Path
) -> list[dict[str, Any]]:
    """Draw the probability of a class at each window over an image; reads and writes disk.

    Args:
        path: The image.
        backbone: A network whose classifier can be made convolutional.
        pretrained: True, a timm tag, or the path of a weights file.
        label: Class to draw; None for the one with the highest mean probability.
        out: PNG to write, of the image's size.

    Returns:
        The classes with the highest mean probability over the windows, highest first.

    Raises:
        InputError: The image is too small or unreadable, the weights cannot be had, `out` is no
            PNG, or it is there and was not drawn of this image.
        OSError: `out` cannot be written.
    """
    image = read_image(path)
    drawing = Drawing(out, "heatmap", of=file_digest(path), source="image")
    drawing.require()
    try:
        model = create_heatmap_model(backbone, pretrained).eval()
    except InputError as error:  # it speaks of a spec's keys
        raise InputError(str(error).replace("model.pretrained", "--pretrained")) from None
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    scores, _ = compute_heatmap(model, tensor)
    if label is not None and not 0 <= label < len(scores):
        raise InputError(f"--class {label}: {backbone} has the classes 0 to {len(scores) - 1}")
    probabilities = scores.softmax(0)
    means = probabilities.mean((1, 2))
    highest = means.topk(NUM_SHOWN).indices.tolist()
    chosen = highest[0] if label is None else label

    upsample = FixedUpsampling(model.grid, IMAGE_GRID)
    size = (image.shape[0], image.shape[1])
    heat = upsample(probabilities[chosen][None, None], size)[0, 0].numpy()
    colours = colormaps["inferno"](heat / max(float(heat.max()), 1e-12))[..., :3]
    blend = (1 - OVERLAY) * image / 255 + OVERLAY * colours
    drawing.write(Image.fromarray((255 * blend).round().astype(np.uint8)))
    return [
        {
            "class": index,
            "name": describe_class(index, len(scores)),
            "mean probability": round(float(means[index]), 4),
            "highest": round(float(probabilities[index].max()), 4),
            "drawn": str(out) if index == chosen else None,
        }
        for index in dict.fromkeys([*highest, chosen])
    ]


def describe_class(index: int, num_classes: int) -> str | None:
    """Name a class of ImageNet-1k; None for other sets of classes."""
    if num_classes != 1000:
        return None
    return str(ImageNetInfo("imagenet-1k").index_to_description(index))
