"""Peak memory of a training step, ours and the usual, by the number of classes.

On a GPU: the most that tensors took in the last of three steps, weights, optimiser and resident
images included; before, kernels of convolutions are chosen by trial. On a CPU:
growth of the high-water mark of a fresh process from before the network is built, which counts what
allocators and kernels take too; the usual loop's loaders are left out, in its favour.
"""

import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from bench.run.train import autocast
from bench.speed.compare import describe
from bench.speed.loops import ours
from bench.speed.section import Section
from bench.speed.usual import UsualLoop
from bench.speed.workload import Workload

CLASSES = (12, 21, 150)
"""CamVid with void, PASCAL VOC, ADE20K."""
NUM_STEPS = 3
"""The second holds the optimiser's state, the third what the allocator has settled on."""
MIB = 2**20
NOTE = " ".join((__doc__ or "").split("\n\n", 1)[1].split())


def memory_section(workloads: Iterable[Workload], scratch: Path) -> Iterator[Section]:
    """Measure the peak of a step for each workload."""
    section = Section("memory", "Peak memory of a step", NOTE, ())
    return section.growing(_compare(workload, scratch) for workload in workloads)


def measure_peak(workload: Workload, side: str, scratch: Path) -> float:
    """Return the peak of one side in MiB.

    Args:
        workload: What is trained.
        side: "ours" or "usual".
        scratch: Folder for the usual loop's images, which workloads share.
    """
    files = scratch / f"train-{workload.pack.fingerprint[:16]}"
    if workload.device.type == "cuda":
        return _make_steps(*workload.on_disk(), side, files)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_make_steps, *workload.on_disk(), side, files).result()


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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def _compare(workload: Workload, scratch: Path) -> dict[str, Any]:
    peaks = {side: measure_peak(workload, side, scratch) for side in ("ours", "usual")}
    record = describe(workload) | {f"{side}, MiB": peak for side, peak in peaks.items()}
    return record | {"ours ÷ usual": peaks["ours"] / peaks["usual"]}


def _make_steps(
    folder: Path, spec: Any, num_classes: int, device: str, side: str, files: Path
) -> float:
    """Make steps of one side and return the memory that they took, in MiB."""
    workload = Workload.from_disk(folder, spec, num_classes, device)
    _touch_kernels(workload)
    with tempfile.TemporaryDirectory(prefix="fcn-bench-speed-") as name:
        if workload.device.type == "cuda":
            step = _create(workload, side, Path(name), files)
            _run(step, NUM_STEPS - 1)
            # Kernels that are tried for a convolution take memory which the chosen one does not;
            # and who comes first tries for both sides.
            torch.cuda.reset_peak_memory_stats(workload.device)
            step()
            return torch.cuda.max_memory_allocated(workload.device) / MIB
        before = peak_process_mib()
        _run(_create(workload, side, Path(name), files), NUM_STEPS)
        return peak_process_mib() - before


def _create(workload: Workload, side: str, folder: Path, files: Path) -> Callable[[], object]:
    """Return what makes a step of a side."""
    if side == "ours":
        steps = ours(workload, folder)
        return lambda: next(steps)
    return UsualLoop(workload, files, workers=0).step


def _run(step: Callable[[], object], number: int) -> None:
    for _ in range(number):
        step()


def _touch_kernels(workload: Workload) -> None:
    """Run a convolution, so that libraries are loaded before anything is measured."""
    layer = torch.nn.Conv2d(3, 8, 3).to(workload.device)
    with autocast(workload.device, workload.spec.train.precision):
        layer(torch.ones(1, 3, 32, 32, device=workload.device)).sum().backward()
    workload.wait()
