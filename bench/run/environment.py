"""The machine as a run sees it: device, threads, versions; recorded, never part of a run's id."""

import os
import platform
import subprocess
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

    Raises:
        InputError: The device is not there.
    """
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        there = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise InputError(
            f"device {name!r} cannot be used here; there is {', '.join(there + ['mps'] * has_mps)}"
        ) from None
    return device


def configure_torch(threads: int | None, *, deterministic: bool) -> None:
    """Set torch's threads and its choice of algorithms; changes global state.

    Args:
        threads: CPU threads; None leaves torch's choice.
        deterministic: Whether only algorithms are used that give the same bits every time. An
            operation that has none raises an error with its name, at the first step.
    """
    if threads:
        torch.set_num_threads(threads)
    if deterministic:
        # Read when cuBLAS starts; older versions add up in any order without it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = deterministic
    # Filling memory that is written to anyway finds mistakes, and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def limit_memory(device: torch.device, share: float) -> None:
    """Have this process take no more than a part of a GPU's memory; for the rest of its life.

    Without it the first of several runs on a GPU may keep what those beside it need.
    """
    if device.type == "cuda" and share < 1:
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.set_per_process_memory_fraction(share, index)


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
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _name_cpu()
    return {
        "device": device.type,
        "device_name": name,
        **({"gpus": ",".join(list_gpus())} if device.type == "cuda" else {}),
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
