"""What a run records of its machine: what changes bits must show, on CPUs too."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from bench.run import environment
from bench.run.environment import (
    algorithms_kept,
    choose_device,
    configure_torch,
    describe_environment,
)

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


def test_a_commit_is_that_of_the_checkout_which_holds_the_code(tmp_path, monkeypatch):
    """An environment often lies inside of somebody's repository: its commit says nothing of us."""
    file = tmp_path / "venv" / "environment.py"
    file.parent.mkdir()
    file.write_text("")
    (tmp_path / "theirs.txt").write_text("")
    monkeypatch.setattr("bench.run.environment.__file__", str(file))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]

    def git(*words):
        command = ["git", "-C", str(tmp_path), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit():
        return describe_environment(torch.device("cpu"))["commit"]

    assert commit() is None
    git("init", "-q")
    git("add", "theirs.txt")
    git("commit", "-qm", "theirs")
    assert commit() is None
    git("add", "-f", "venv/environment.py")
    git("commit", "-qm", "ours")
    assert commit() == git("rev-parse", "HEAD")
    file.write_text("changed")
    assert commit() == git("rev-parse", "HEAD") + "-dirty"


@pytest.fixture
def _flags_kept():
    yield
    configure_torch(None, deterministic=False)
    torch.backends.cudnn.allow_tf32 = True


@pytest.fixture
def described(monkeypatch, _flags_kept):
    """What is recorded of a GPU's algorithms, after `configure_torch` with these settings."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")

    def describe(**settings):
        configure_torch(None, **settings)
        found = describe_environment(torch.device("cuda"))
        return found["tf32_convolutions"], found["tf32_products"], found["cudnn_benchmark"]

    return describe


def test_fp32_means_fp32_and_what_rounds_is_recorded(described):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    assert described(deterministic=False) == (False, False, False)
    assert described(deterministic=False, tf32=True) == (True, False, False)


def test_algorithms_are_tried_unless_bits_are_to_be_equal_and_never_for_scores(described):
    assert described(deterministic=False, benchmark=True)[2]
    with algorithms_kept():
        assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark
    assert not described(deterministic=True, benchmark=True)[2]


def test_no_variable_of_the_environment_rounds_products(tmp_path):
    """Some images of containers set it; the weights of the upsampling would be rounded."""
    script = (
        "import torch\nfrom bench.run.environment import configure_torch\n"
        "print(torch.backends.cuda.matmul.allow_tf32)\n"
        "configure_torch(None, deterministic=False)\n"
        "print(torch.backends.cuda.matmul.allow_tf32)\n"
    )
    variables = os.environ | {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=variables, capture_output=True, check=True)
    assert done.stdout.split() == [b"True", b"False"]


def test_a_gpu_that_is_named_becomes_the_current_one(monkeypatch):
    """Streams, and kernels of ours, are started on that; else on the first one there is."""
    made_current = []
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "set_device", made_current.append)
    for name in ("cpu", "cuda", "cuda:1"):
        assert choose_device(name) == torch.device(name)
    assert made_current == [torch.device("cuda:1")]


def test_what_the_usual_loop_sets_meanwhile_leaves_tf32_as_it_was(monkeypatch):
    """torch has two ways to set it, and refuses to tell it where they differ."""
    monkeypatch.setattr(environment, "list_gpus", lambda: ["GPU-a"])
    for tf32 in (True, False):
        configure_torch(None, deterministic=False, tf32=tf32, benchmark=True)
        with torch.backends.cudnn.flags(enabled=True, benchmark=True), algorithms_kept():
            pass
        found = environment._describe_gpus()
        assert (found["tf32_convolutions"], found["tf32_products"]) == (tf32, False)
        assert found["cudnn_benchmark"]
    configure_torch(None, deterministic=False)
