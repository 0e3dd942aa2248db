"""GPUs as a command sees them: by nvidia-smi, which a script stands for, and never by CUDA."""

import subprocess
import sys

import pytest
import torch

from bench.grid.engines import Request, create_engine, slots_here
from bench.grid.gpus import Gpu, choose_devices, find_gpus
from bench.grid.local import LocalEngine
from bench.grid.scoring_memory import _memory_gib
from bench.grid.timing import _device_name
from bench.grid.warm import WarmEngine
from bench.store.runs import Store
from fcn.errors import InputError

TABLE = """GPU-aaaa-1, NVIDIA H200, 143771
GPU-bbbb-2, NVIDIA H200, 143771
GPU-cccc-3, NVIDIA T4, [N/A]"""
PARTS = """GPU 0: NVIDIA H200 (UUID: GPU-aaaa-1)
  MIG 1g.18gb     Device  0: (UUID: MIG-11)
  MIG 1g.18gb     Device  1: (UUID: MIG-12)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb-2)
GPU 2: NVIDIA T4 (UUID: GPU-cccc-3)"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose nvidia-smi says this: machine(table, listed, code)."""

    def prepare(table=TABLE, listed="", code=0):
        tool = tmp_path / "nvidia-smi"
        (tmp_path / "table").write_text(table)
        (tmp_path / "listed").write_text(listed)
        shown = f'if [ "$1" = -L ]; then cat {tmp_path}/listed; else cat {tmp_path}/table; fi'
        tool.write_text(f"#!/bin/sh\n{shown}\nexit {code}\n")
        tool.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    return prepare


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ["GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3"]),
        ("", []),
        ("2,0", ["GPU-cccc-3", "GPU-aaaa-1"]),
        ("GPU-bbbb", ["GPU-bbbb-2"]),
        ("MIG-11, 1", ["MIG-11", "GPU-bbbb-2"]),
        ("0,7,1", ["GPU-aaaa-1"]),
        ("GPU-", []),
        ("-1", []),
    ],
)
def test_gpus_are_those_that_the_environment_allows(machine, monkeypatch, given, expected):
    machine()
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert [gpu.uuid for gpu in find_gpus()] == expected


def test_of_a_divided_card_the_first_part_is_used(machine):
    machine(listed=PARTS)
    assert [gpu.uuid for gpu in find_gpus()] == ["MIG-11", "GPU-bbbb-2", "GPU-cccc-3"]


def test_none_are_found_where_the_tool_fails_or_torch_has_no_cuda(machine, monkeypatch):
    machine(code=9)
    assert find_gpus() == []
    machine()
    monkeypatch.setattr(torch.version, "cuda", None)
    assert find_gpus() == []


def test_a_machine_without_the_tool_has_the_devices_of_torch(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert choose_devices(["cpu"]) == (["cpu"], [])


def test_devices_are_named_as_the_tool_counts_them(machine):
    machine()
    assert choose_devices(["auto", "cuda", "cuda:2", "cpu"])[0] == ["cuda", "cuda", "cuda:2", "cpu"]
    with pytest.raises(InputError, match="'cuda:3' cannot be used here; there is cpu, cuda:0, "):
        choose_devices(["cuda:3"])


def test_slots_know_their_gpu_and_their_part_of_its_memory(machine, tmp_path):
    machine()
    slots = slots_here(Request(tmp_path, ("cuda:1", "cuda:2"), slots=2))
    assert [slot.gpus for slot in slots] == [("GPU-bbbb-2",), ("GPU-cccc-3",)] * 2
    assert {slot.share for slot in slots} == {0.48}
    assert {slot.share for slot in slots_here(Request(tmp_path, ("cuda:1",)))} == {1.0}
    assert {slot.share for slot in slots_here(Request(tmp_path, ("cpu",), slots=2))} == {1.0}
    assert _memory_gib() == ("the largest GPU", 143771 / 1024)
    assert _device_name(torch.device("cuda"), slots[1]) == "NVIDIA T4"


def test_short_runs_on_gpus_are_forked_too(machine, tmp_path):
    machine()
    warm = create_engine("auto", Request(tmp_path, ("cuda",), slots=2))
    assert isinstance(warm, WarmEngine)
    warm.stop()
    spread = create_engine("auto", Request(tmp_path, ("cuda:0", "cuda:1"), devices_per_run=2))
    assert isinstance(spread, LocalEngine)


QUESTION = """
question: Is a GPU touched?
common:
  data: {dataset: shapes, options: {size: 32, num_train: 4, num_val: 1, num_test: 1}}
  model: {backbone: test_resnet}
  train: {steps: 1, batch_size: 2}
variants: {a: {}}
"""

UNTOUCHED = """
import os, sys
import torch
torch.version.cuda = torch.version.cuda or "13.0"  # as torchvision was built for, which looks

def refuse(*_):
    raise SystemExit("CUDA was touched")

for name in ("_cuda_init", "_cuda_getDeviceCount", "_cuda_getDevice", "_cuda_setDevice"):
    setattr(torch._C, name, refuse)  # a build without CUDA has none of them
torch.cuda._lazy_init = torch.cuda.is_available = torch.cuda.device_count = refuse
torch.cuda.get_device_properties = torch.cuda.mem_get_info = refuse

import bench.run.execute  # what the warm engine's server holds when it forks
from ablations.cli import main

sys.argv = ["fcn-bench", *sys.argv[1:]]
try:
    main()
finally:
    assert not torch.cuda.is_initialized()
    print("untouched")
"""


def test_planning_and_the_server_of_the_warm_engine_touch_no_gpu(machine, tmp_path):
    """A grid up to its last run, whose process finds no GPU here and says so in its record."""
    machine()
    (tmp_path / "one.yaml").write_text(QUESTION)
    words = ["run", str(tmp_path / "one.yaml"), "--runs", str(tmp_path / "runs"), "--slots", "2",
             "--out", str(tmp_path / "out"), "--devices", "auto"]  # fmt: skip
    command = [sys.executable, "-c", UNTOUCHED, *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stdout.endswith("untouched\n"), ended.stdout + ended.stderr
    assert "CUDA was touched" not in ended.stdout + ended.stderr
    store = Store(tmp_path / "runs")
    (run_id,) = store.run_ids()
    assert "cannot be used here" in store.failure(run_id).message, ended.stderr


def test_a_gpu_of_unknown_size_is_no_bound(machine):
    machine(table="GPU-a, NVIDIA GB10, [N/A]")
    assert find_gpus() == [Gpu("GPU-a", "NVIDIA GB10", 0.0)]
    assert _memory_gib() == ("the largest GPU", 0.0)
