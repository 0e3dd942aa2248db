"""What a trained network costs on the machine that ran it: multiply-adds, latency, memory."""

import resource
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

NUM_WARM_UP = 3
NUM_TIMED = 15


@dataclass(frozen=True)
class Costs:
    """Costs of one forward pass of one image, and the memory of the whole run."""

    gmacs: float
    """Billions of multiply-adds."""
    latency_ms: float
    """Median of a forward pass, after warm-up, in milliseconds."""
    peak_memory_mib: float
    """Most that was held at once: tensors on a GPU, the whole process on a CPU."""


def measure_costs(model: nn.Module, image: Tensor) -> Costs:
    """Count and time a network on one image.

    Args:
        model: Network on its device; it is left in evaluation mode.
        image: Image as the network sees it, (1, 3, H, W), on the same device.
    """
    model.eval()
    peak = _peak_memory_mib(image.device)  # before counting, which holds tensors of its own
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            model(image)
        times = [_time(model, image) for _ in range(NUM_WARM_UP + NUM_TIMED)][NUM_WARM_UP:]
    # The counter counts a multiply-add as two operations.
    return Costs(
        gmacs=round(counter.get_total_flops() / 2e9, 4),
        latency_ms=round(1000 * statistics.median(times), 3),
        peak_memory_mib=round(peak, 1),
    )


def _time(model: nn.Module, image: Tensor) -> float:
    start = time.perf_counter()
    model(image)
    if image.device.type == "cuda":
        torch.cuda.synchronize(image.device)
    return time.perf_counter() - start


def _peak_memory_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_process_mib()


def peak_process_mib() -> float:
    """Return the most memory that this process ever held, in MiB.

    Linux's `ru_maxrss` begins with what the parent held when it started this process; the
    high-water mark of /proc does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in lines:
            return int(lines["VmHWM"].split()[0]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
