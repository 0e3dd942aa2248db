"""The machine as a run sees it: device, threads, versions; recorded, never part of a run's id."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from bench.plugins import loaded_plugins
from bench.store.records import Environment
from bench.version import __version__
from fcn.errors import InputError

_CPUINFO = Path("/proc/cpuinfo")


def choose_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1` or `mps` into a device that is there.

    A GPU that is named by its number becomes torch's current one: kernels of ours, and streams,
    are started on that.

    Raises:
        InputError: The device is not there.
    """
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError):
        there = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise InputError(
            f"device {name!r} cannot be used here; there is {', '.join(there + ['mps'] * has_mps)}"
        ) from None
    return device


def configure_torch(
    threads: int | None, *, deterministic: bool, tf32: bool = False, benchmark: bool = False
) -> None:
    """Set torch's threads and its choice of algorithms; changes global state.

    Args:
        threads: CPU threads; None leaves torch's choice.
        deterministic: Whether only algorithms are used that give the same bits every time. An
            operation that has none raises an error with its name, at the first step.
        tf32: Whether a GPU's convolutions may round what they are given to 10 bits. Products of
            matrices never may: upsampling is one, and its weights would be rounded.
        benchmark: Whether a GPU may choose algorithms of convolutions by trial, once for each
            shape; which one wins, and so the last bits, may differ from run to run.
    """
    if threads:
        torch.set_num_threads(threads)
    if deterministic:
        # Read when cuBLAS starts; older versions add up in any order without it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = benchmark and not deterministic
    # Both are said: torch's defaults differ, and the environment may have set the second.
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    # Filling memory that is written to anyway finds mistakes, and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def limit_memory(device: torch.device, share: float) -> None:
    """Have this process take no more than a part of a GPU's memory; for the rest of its life.

    Without it the first of several runs on a GPU may keep what those beside it need.
    """
    if device.type == "cuda" and share < 1:
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.set_per_process_memory_fraction(share, index)


@contextmanager
def algorithms_kept() -> Iterator[None]:
    """Have no algorithm chosen by trial in a block: the same weights give the same scores.

    Images to be scored come in many sizes, too, each of which would be tried.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def list_gpus() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES calls each GPU that torch sees, in torch's order.

    A UUID means the same card whatever order a process counts them in. A name that the variable
    has already is kept if it is one: torch does not know what a part of a card (MIG) is called.
    """
    if torch.version.cuda is None:
        return []
    given = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    names = []
    for i in range(torch.cuda.device_count()):
        is_name = i < len(given) and given[i].startswith(("GPU-", "MIG-"))
        uuid = torch.cuda.get_device_properties(i).uuid
        names.append(given[i] if is_name else f"GPU-{uuid}")
    return names


def describe_environment(device: torch.device, num_processes: int = 1) -> Environment:
    """Return versions, device, processes and threads of each as plain values."""
    is_gpu = device.type == "cuda"
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if is_gpu else _name_cpu(),
        **(_describe_gpus() if is_gpu else {}),
        "processes": num_processes,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "torch": version("torch"),
        "torchvision": version("torchvision"),
        "timm": version("timm"),
        "numpy": version("numpy"),
        "fcn-bench": __version__,
        "commit": _find_commit(),
        "plugins": "; ".join(map(str, loaded_plugins())) or "none",
    }


def _describe_gpus() -> Environment:
    """Return which GPUs there are, and how `configure_torch` left what decides their bits."""
    return {
        "gpus": ",".join(list_gpus()),
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


def _name_cpu() -> str:
    """Return the CPU's model, where the system tells it, and the widest vectors torch uses on it.

    Wider vectors add up in another order: a run's bits depend on them too.
    """
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{model} ({torch.backends.cpu.get_cpu_capability()})"


def _find_commit() -> str | None:
    """Return the commit of this checkout, with `-dirty` after it if files differ; None outside.

    An environment often lies inside of somebody's repository, which does not track this file.
    """
    file = Path(__file__)
    git = ["git", "-C", str(file.parent)]
    tracked = [*git, "ls-files", "--error-unmatch", file.name]
    described = [*git, "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        subprocess.run(tracked, capture_output=True, check=True)
        found = subprocess.run(described, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
