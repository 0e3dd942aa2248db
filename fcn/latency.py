"""How long a forward pass takes on a device: repeated, and told with its spread.

In: a network and images. Out: milliseconds, with quartiles, after passes that are not counted.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WARM_UPS = 3
REPEATS = 30
"""Passes that are timed; the paper's number is a mean of 20."""


@dataclass(frozen=True)
class Latency:
    """Seconds and bytes of a forward pass on one device, batch of one, without gradients."""

    device: str
    threads: int
    median_ms: float
    quartiles_ms: tuple[float, float]
    """First and third, of `REPEATS` passes after `WARM_UPS` that are not counted."""
    cuda_peak_bytes: int | None
    """`torch.cuda.max_memory_allocated`, weights included; None elsewhere, where torch keeps no
    such count: see `Counts.tensor_bytes`."""


def measure_latency(
    model: nn.Module, shape: tuple[int, int, int, int], device: torch.device
) -> Latency:
    """Time forward passes of a batch on a device; the model is moved there."""
    model = model.to(device).eval()
    images = torch.randn(shape, device=device)
    is_cuda = device.type == "cuda"
    if is_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    low, median, high = time_passes(model, images)
    return Latency(
        device=torch.cuda.get_device_name(device) if is_cuda else device.type,
        threads=torch.get_num_threads(),
        median_ms=median,
        quartiles_ms=(low, high),
        cuda_peak_bytes=torch.cuda.max_memory_allocated(device) if is_cuda else None,
    )


def time_passes(model: Callable[[Tensor], object], images: Tensor) -> tuple[float, float, float]:
    """Return first quartile, median and third quartile of a pass in milliseconds.

    Args:
        model: Network in evaluation mode, on the device of the images.
        images: (N, K, H, W).
    """
    milliseconds = []
    with torch.inference_mode():
        for turn in range(WARM_UPS + REPEATS):
            _synchronize(images.device)
            start = time.perf_counter()
            model(images)
            _synchronize(images.device)
            if turn >= WARM_UPS:
                milliseconds.append(1e3 * (time.perf_counter() - start))
    low, median, high = statistics.quantiles(milliseconds, n=4)
    return low, median, high


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
