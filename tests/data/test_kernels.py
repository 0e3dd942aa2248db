"""Whether kernels can be had, where a compiler is missing or a driver; a stub stands for Triton."""

import sys
from contextlib import nullcontext
from subprocess import CalledProcessError
from types import SimpleNamespace

import pytest
import torch

from bench.data import kernels

GPU = torch.device("cuda")


@pytest.fixture
def starting(monkeypatch):
    """Have kernels be started so: starting(what is done with (counted, length=...))."""
    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch, "empty", lambda *size, dtype, device: empty(*size, dtype=dtype))
    monkeypatch.setattr(kernels, "find_spec", lambda name: object())
    kernels._starts.cache_clear()

    def start(how):
        trial = SimpleNamespace(count_up={(1,): how})
        monkeypatch.setitem(sys.modules, "bench.data.trial_kernel", trial)

    yield start
    kernels._starts.cache_clear()


def count(counted, length):
    counted.copy_(torch.arange(length))


def test_they_are_had_where_one_starts_and_it_is_tried_once(starting, capsys):
    tried = []
    starting(lambda counted, length: (tried.append(length), count(counted, length)))
    assert kernels.has_kernels(GPU)
    assert kernels.has_kernels(torch.device("cuda:0"))
    assert tried == [4]
    assert capsys.readouterr().err == ""


def test_they_are_not_had_where_none_starts_which_is_said_once(starting, capsys):
    def fail(counted, length):
        raise CalledProcessError(1, ["gcc", "main.c"])

    starting(fail)
    assert not kernels.has_kernels(GPU)
    assert not kernels.has_kernels(GPU)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "more slowly: Triton starts none here (CalledProcessError: Command" in said


def test_nor_where_it_does_something_else(starting, capsys):
    starting(lambda counted, length: counted.zero_())
    assert not kernels.has_kernels(GPU)
    assert "(one that counts to 3 gave [0, 0, 0, 0])" in capsys.readouterr().err


def test_nor_without_triton_or_a_gpu(starting, monkeypatch, capsys):
    starting(count)
    assert not kernels.has_kernels(torch.device("cpu"))
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    assert not kernels.has_kernels(GPU)
    assert capsys.readouterr().err == ""
