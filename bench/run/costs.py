"""What a trained network costs on the machine that ran it: multiply-adds, latency, memory.

Costs are measurements: a time has quartiles and says what else ran then; memory is that of tensors,
not of a process with its libraries. The step whose memory is measured is made when nothing is
needed of the network any more.
"""

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode

from bench.store.lease import current_holder
from bench.store.names import list_run_dirs
from bench.store.records import ENVIRONMENT, Environment, read_record
from fcn.errors import InputError
from fcn.latency import time_passes

MIB = 2**20


@dataclass(frozen=True)
class Costs:
    """Costs of one forward pass of one image."""

    gmacs: float
    """Billions of multiply-adds."""
    latency_ms: float
    """Median of forward passes, after warm-up, in milliseconds."""
    latency_quartiles_ms: tuple[float, float]
    """First and third quartile."""
    timed_size: tuple[int, int]
    """Height and width of the image, as the network sees it."""
    timed_beside: int
    """Other runs of this store that were at work on the device meanwhile."""


def measure_costs(model: nn.Module, image: Tensor, count_others: Callable[[], int]) -> Costs:
    """Count and time a network on one image.

    Args:
        model: Network on its device; it is left in evaluation mode.
        image: Image as the network sees it, (1, K, H, W), on the same device.
        count_others: Returns how many other runs are at work on the device.
    """
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    before = count_others()
    low, median, high = (round(ms, 3) for ms in time_passes(model, image))
    # The counter counts a multiply-add as two operations.
    return Costs(
        gmacs=round(counter.get_total_flops() / 2e9, 4),
        latency_ms=median,
        latency_quartiles_ms=(low, high),
        timed_size=(image.shape[-2], image.shape[-1]),
        timed_beside=max(before, count_others()),
    )


def measure_step_memory(
    step: Callable[[], object], model: nn.Module, optimizer: Optimizer, device: torch.device
) -> float | None:
    """Make a training step and return the most that tensors took, in MiB; None where none tells.

    Weights, gradients and the optimiser's state are counted, resident images on a GPU too.

    Args:
        step: Makes the step.
        model: The network that is trained.
        optimizer: Of its parameters.
        device: Where they are.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) / MIB
    if device.type != "cpu":
        step()
        return None
    kept = [*model.parameters(), *model.buffers(), *_states(optimizer)]
    kept += [p.grad for p in model.parameters() if p.grad is not None]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    return (sum(storages.values()) + count_peak(step)) / MIB


def count_peak(work: Callable[[], object]) -> int:
    """Return the most bytes that work on the CPU has allocated, and not freed again, at one time.

    What it frees of what was there before counts too: the peak is beyond that, and may be negative.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else it writes of itself to stderr
    with profile(use_kineto=False, use_cpu=True, profile_memory=True) as seen:  # starts at once
        work()
    alive, peak = 0, 0
    assert seen.kineto_results is not None
    for event in seen.kineto_results.events():  # in the order of time
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    return peak


def count_others(root: Path, run_id: str, environment: Environment) -> int:
    """Return how many other runs of a store are at work on the device of this one.

    Args:
        root: Folder of the store.
        run_id: This run.
        environment: Where it is made.
    """
    others = (folder for folder in list_run_dirs(root) if folder.name != run_id)
    return sum(_is_beside(folder, environment) for folder in others)


def _is_beside(folder: Path, environment: Environment) -> bool:
    if (folder / "result.json").exists():
        return False  # soon said of most of a large store
    holder = current_holder(folder)
    if holder is None or holder.host != socket.gethostname():
        return False
    try:
        other = read_record(folder / "env.json", ENVIRONMENT, way_out="")
    except (OSError, InputError):
        return True  # it begins: where is not known yet
    return other is None or all(
        other.get(key) == environment.get(key) for key in ("device", "gpus")
    )


def _states(optimizer: Optimizer) -> Iterable[Tensor]:
    values = (value for state in optimizer.state.values() for value in state.values())
    return (value for value in values if isinstance(value, Tensor))
