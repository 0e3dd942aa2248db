"""The range of images of 16 bits or many bands, measured on the images that are trained on.

In: those images. Out: how `classes.yaml` says it: the least and greatest value, and mean and
deviation of each band on the scale that they give.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.data.bands import read_bands


def measure_bands(images: Sequence[Path], upright: bool, said: list[str]) -> str:
    """Measure images; reads them all.

    Args:
        images: Those of `train`.
        upright: Turn them as their EXIF orientations say.
        said: Gets a sentence on what was measured.
    """
    low, high, count = 65535, 0, 0
    total: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.zeros(1)
    squares = total
    for path in images:
        bands = read_bands(path, upright=upright)
        values = bands.reshape(-1, bands.shape[2]).astype(np.float64)
        low, high = min(low, int(bands.min())), max(high, int(bands.max()))
        count += len(values)
        total = total + values.sum(0)
        squares = squares + (values**2).sum(0)
    high = max(high, low + 1)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    said.append(
        f"images have {len(mean)} bands of up to 16 bits: what is trained on reaches from {low} to "
        f"{high}, which becomes 0 to 1"
    )
    means = [round(float(value), 4) for value in (mean - low) / (high - low)]
    stds = [max(round(float(value), 4), 1e-4) for value in std / (high - low)]
    return f"{{number: {len(means)}, range: [{low}, {high}], mean: {means}, std: {stds}}}"
