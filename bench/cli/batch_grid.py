"""A batch as an image: each training image as the network sees it, its masks below it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bench.data.batches import Batches
from bench.data.layers import Target
from bench.data.masking import masked
from bench.data.packs.pack import Pack
from bench.data.roles import trained_on
from bench.spec import RunSpec
from fcn.model import coarsest_stride, create_model
from fcn.settings import without_weights

GAP = 4
"""Pixels between images."""

VOID = (128, 128, 128)
"""Display colour of pixels without a label."""


def draw_batch(pack: Pack, spec: RunSpec, number: int) -> Image.Image:
    """Draw a batch of a run: a column for each image, the colours above, then each target.

    Args:
        pack: Packed data.
        spec: Settings of the run, with its seed.
        number: Number of the batch, from 0.

    Raises:
        InputError: The run has no such batches, or its network cannot be built.
    """
    chosen = trained_on(pack, spec)
    with torch.device("meta"):
        settings = without_weights(spec.model.model_dump())
        model = create_model(**settings, **chosen.network_options())
    batches = Batches(
        masked(chosen, spec.data.mask, spec.data, model.mean, model.std),
        spec.train,
        input_scale=spec.data.input_scale,
        seed=spec.seed,
        mean=model.mean,
        std=model.std,
        device=torch.device("cpu"),
        cell=coarsest_stride(model),
    )
    images, target = batches.batch(number)
    channels = _colour_channels(chosen)
    mean, std = (torch.tensor(v)[channels].view(1, -1, 1, 1) for v in (model.mean, model.std))
    colours = ((images[:, channels] * std + mean) * 255).round().clamp(0, 255).byte()
    rows = [colours.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()]
    labels = target[:, None] if target.ndim == 3 else target
    rows += [_paint(labels[:, k], one) for k, one in enumerate(chosen.targets)]
    return Image.fromarray(_lay_out(rows))


def _colour_channels(pack: Pack) -> slice:
    """Return which channels to show: the colours, or three bands, or one, of the first input."""
    first = 0
    for one in pack.inputs:
        if one.name == "rgb":
            return slice(first, first + 3)
        first += one.channels
    return slice(3 if pack.inputs[0].channels >= 3 else 1)


def _paint(labels: Tensor, target: Target) -> NDArray[np.uint8]:
    """Return labels (N, h, w) in their display colours, (N, h, w, 3) uint8."""
    colours = np.full((256, 3), VOID, np.uint8)
    colours[: len(target.palette)] = target.palette
    colours[target.ignore_index] = VOID
    painted: NDArray[np.uint8] = colours[labels.numpy()]
    return painted


def _lay_out(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put rows of N images of one size below one another, with gaps."""
    N, h, w, _ = rows[0].shape
    sheet = np.full((len(rows) * (h + GAP) - GAP, N * (w + GAP) - GAP, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for n, image in enumerate(row):
            top, left = r * (h + GAP), n * (w + GAP)
            sheet[top : top + h, left : left + w] = image
    return sheet
