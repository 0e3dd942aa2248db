"""The range of images of 16 bits or many bands, measured on the images that are trained on.

In: those images. Out: how `classes.yaml` says it: the least and greatest value, and mean and
deviation of each band on the scale that they give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.bands import read_bands
from bench.data.cores import try_each


@dataclass(frozen=True)
class _Measured:
    """Of one image: its ends, its pixels, and for each band their sum and that of squares."""

    low: int
    high: int
    count: int
    total: NDArray[np.float64]
    squares: NDArray[np.float64]


def measure_bands(images: Sequence[Path], upright: bool, said: list[str]) -> str:
    """Measure images; reads them all, over all cores.

    Args:
        images: Those of `train`.
        upright: Turn them as their EXIF orientations say.
        said: Gets a sentence on what was measured.
    """

    def measure(path: Path) -> _Measured:
        bands = read_bands(path, upright=upright)
        values = bands.reshape(-1, bands.shape[2]).astype(np.float64)
        ends = int(bands.min()), int(bands.max())
        return _Measured(*ends, len(values), values.sum(0), (values**2).sum(0))

    found = [one for one in try_each(measure, images) if not isinstance(one, str)]
    low, high = min(one.low for one in found), max(one.high for one in found)
    count = sum(one.count for one in found)
    total = np.sum([one.total for one in found], axis=0)
    squares = np.sum([one.squares for one in found], axis=0)
    high = max(high, low + 1)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    said.append(
        f"images have {len(mean)} band{'s' * (len(mean) > 1)} of up to 16 bits: what is trained on "
        f"reaches from {low} to {high}, which becomes 0 to 1"
    )
    means = [round(float(value), 4) for value in (mean - low) / (high - low)]
    stds = [max(round(float(value), 4), 1e-4) for value in std / (high - low)]
    return f"{{number: {len(means)}, range: [{low}, {high}], mean: {means}, std: {stds}}}"
