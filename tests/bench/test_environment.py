"""What a run records of its machine: what changes bits must show, on CPUs too."""

import os
import platform
import subprocess
import sys

import torch

from bench.run.environment import describe_environment

SAY = """
import torch
from bench.run.environment import describe_environment
torch.manual_seed(0)
total = torch.randn(100_000).sum().item().hex()
print(describe_environment(torch.device("cpu"))["device_name"], total, sep="|")
"""


def say(**variables):
    command = [sys.executable, "-c", SAY]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, check=True)
    return done.stdout.decode().strip().split("|")


def test_cpus_that_add_up_in_another_order_have_other_names():
    """Torch without wide vectors stands for an older processor: sums have other last bits there."""
    own, narrow = say(), say(ATEN_CPU_CAPABILITY="default")
    assert own[0] == describe_environment(torch.device("cpu"))["device_name"]
    assert (own[0] == narrow[0]) == (own[1] == narrow[1])
    assert narrow[0].removesuffix(" (DEFAULT)") == own[0].rpartition(" (")[0]


def test_a_system_that_names_no_model_gives_its_type(monkeypatch, tmp_path):
    """Linux on ARM has the file, without a model; macOS and Windows have none."""
    told = tmp_path / "cpuinfo"
    monkeypatch.setattr("bench.run.environment._CPUINFO", told)
    for text in (None, "processor\t: 0\nBogoMIPS\t: 50\n"):
        if text:
            told.write_text(text)
        name = describe_environment(torch.device("cpu"))["device_name"]
        assert name.startswith(platform.processor() or platform.machine())
