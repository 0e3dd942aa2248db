"""GPUs of this machine as a command sees them, without touching one.

A process that asks CUDA for a device keeps half a gigabyte of it to its end. A command lives as
long as its grid: it asks the driver's own tool, nvidia-smi, and leaves the GPUs to the runs.
Numbers are those that the tool counts by; a run is shown its GPU by UUID, whoever counts.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from bench.importing import importing
from fcn.errors import InputError

_LIST = ["nvidia-smi", "-L"]
_QUERY = ["nvidia-smi", "--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"]
_SECONDS = 30.0
"""After which a driver that does not answer counts as none."""


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a part of one that a driver hands out by itself (MIG)."""

    uuid: str
    """What CUDA_VISIBLE_DEVICES calls it."""
    name: str = ""
    memory_mib: float = 0.0
    """0 where it is not known: of a part of a card."""


def find_gpus() -> list[Gpu]:
    """Return the GPUs that runs may use, as CUDA_VISIBLE_DEVICES allows them.

    None where torch has no CUDA, or where the tool is not there or finds none.
    """
    with importing():
        import torch
    if torch.version.cuda is None:
        return []
    whole = _read_table(_ask(_QUERY))
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return _with_parts(whole, _ask(_LIST))
    found = []
    for name in filter(None, map(str.strip, given.split(","))):
        named = [gpu for gpu in whole if gpu.uuid.startswith(name)]
        if name.startswith("MIG-"):
            named = [Gpu(name)]
        elif name.isdecimal():
            named = whole[int(name) : int(name) + 1]
        if len(named) != 1:
            break  # CUDA too looks no further than the first that is not there
        found += named
    return found


def choose_devices(names: Sequence[str]) -> tuple[list[str], list[Gpu]]:
    """Turn what a command says of devices into devices that are there, and say which GPUs are.

    Raises:
        InputError: A device is not there.
    """
    gpus = find_gpus()
    return [_choose(name, len(gpus)) for name in names], gpus


def _choose(name: str, num_gpus: int) -> str:
    kind, _, number = name.partition(":")
    if num_gpus and name in ("auto", "cuda"):
        return "cuda"
    if num_gpus and kind == "cuda" and number.isdecimal():
        if int(number) < num_gpus:
            return name
        there = ", ".join(["cpu", *(f"cuda:{i}" for i in range(num_gpus))])
        raise InputError(f"device {name!r} cannot be used here; there is {there}")
    with importing():
        from bench.run.environment import choose_device
    return str(choose_device(name))


def _ask(command: list[str]) -> str:
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if ended.returncode else ended.stdout


def _read_table(text: str) -> list[Gpu]:
    gpus = []
    for line in text.splitlines():
        uuid, name, memory = (cell.strip() for cell in line.split(","))
        gpus.append(Gpu(uuid, name, float(memory) if memory.isdecimal() else 0.0))
    return gpus


def _with_parts(whole: Sequence[Gpu], listed: str) -> list[Gpu]:
    """Put the first part of each divided card in its place: CUDA shows no more of it."""
    parts: dict[str, Gpu] = {}
    last = ""
    for line in listed.splitlines():
        match = re.search(r"UUID: ((GPU|MIG)-[^)]+)\)", line)
        if match and match[2] == "GPU":
            last = match[1]
        elif match:
            parts.setdefault(last, Gpu(match[1]))
    return [parts.get(gpu.uuid, gpu) for gpu in whole]
