"""The fused loss beside the one by slices and torch's own in float64; its kernel is interpreted."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import interpreted_loss
import pytest
import torch
from torch import nn

from bench.run.chunking import CHUNK_MIB
from bench.run.losses import network, pixel_loss, upsampled
from bench.run.losses.terms import CROSS_ENTROPY, create_terms
from fcn.alignment import IMAGE_GRID, FixedUpsampling, Grid

pytest.importorskip("triton", reason="Triton comes with torch on Linux alone")

UP = FixedUpsampling(Grid(8.0, 3.5), IMAGE_GRID)


@pytest.fixture(scope="module")
def found():
    ended = subprocess.run(
        [sys.executable, Path(interpreted_loss.__file__)],
        env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("name", interpreted_loss.CASES)
def test_loss_and_gradient_are_those_of_full_size_logits(found, name):
    ours, sliced = found[name]["fused"], found[name]["sliced"]
    narrow = interpreted_loss.CASES[name].get("dtype") in (torch.bfloat16, torch.float16)
    assert ours["loss"] < 1e-6
    assert ours["gradient"] < (0.004 if narrow else 1e-6)
    assert ours["dtypes"] == sliced["dtypes"]
    assert (found[name]["norm"] > 0) == (found[name]["labelled"] > 0 and name != "one class")


def test_a_target_that_is_no_class_and_scores_that_are_no_numbers_end_the_run(found):
    assert all(math.isnan(found["odd"][name]) for name in ("no class", "below every class", "nan"))


def test_a_process_divides_by_what_the_whole_batch_weighs(found):
    assert found["odd"]["share of two"] == pytest.approx(0.5)


class _OnGpu:
    """What the choice looks at, without a GPU."""

    is_cuda, dtype, device = True, torch.float32, torch.device("cuda")


class _Changed(FixedUpsampling):
    pass


def test_what_it_does_not_serve_goes_by_slices(monkeypatch):
    def is_served(scores=_OnGpu, upsampling=UP, terms=CROSS_ENTROPY):
        return upsampled.is_served(scores, upsampling, terms)

    monkeypatch.setattr(upsampled, "has_kernels", lambda device: device.type == "cuda")
    double = type("Double", (_OnGpu,), {"dtype": torch.float64})
    assert is_served()
    assert is_served(terms=create_terms({"cross_entropy": 0.5}))
    assert not is_served(torch.zeros(1))
    assert not is_served(double)
    assert not is_served(upsampling=_Changed(UP.from_grid, UP.to_grid))
    assert not is_served(upsampling=nn.Identity())
    assert not is_served(terms=create_terms("cross_entropy(label_smoothing=0.1)"))
    assert not is_served(terms=create_terms({"cross_entropy": 1, "dice": 1}))
    monkeypatch.setattr(upsampled, "has_kernels", lambda device: False)
    assert not is_served()


def test_it_is_the_loss_of_a_network_where_it_serves(monkeypatch):
    asked = []

    def take(scores, target, upsampling, **options):
        asked.append(options)
        return scores.sum()

    monkeypatch.setattr(network, "is_served", lambda *_: True)
    monkeypatch.setattr(network, "upsampled_cross_entropy", take)
    weights, target = torch.ones(3), torch.zeros(1, 16, 16, dtype=torch.int64)
    terms = create_terms({"cross_entropy": 0.5})
    pixel_loss(torch.zeros(1, 3, 2, 2), target, UP, ignore_index=9, terms=terms,
               class_weights=weights, reduction="sum")  # fmt: skip
    (options,) = asked
    assert (options["ignore_index"], options["reduction"], options["weight"]) == (9, "sum", 0.5)
    assert options["class_weights"] is weights
    assert options["add_up"](2) == 2


def test_slopes_are_in_memory_for_few_images_at_a_time(monkeypatch):
    launched = []
    monkeypatch.setattr(upsampled, "_launch", lambda *given: launched.append(given))
    monkeypatch.setitem(CHUNK_MIB, "cuda", 2 * 5 * 16 * 2 * 16 * 4 / 2**20)  # those of two images
    scores, target = torch.zeros(5, 5, 2, 13), torch.zeros(5, 16, 97, dtype=torch.int64)
    upsampled.upsampled_cross_entropy(scores, target, UP, ignore_index=9)
    assert [len(given[0]) for given in launched] == [2, 2, 1]
    assert all(given[5].shape == (len(given[0]), 5, 16, 2 * 16) for given in launched)


ONES = ("num_classes", "height", "width", "num_rows", "num_columns", "ignore_index", "stride_w")
"""Whole numbers that Triton has as constants where they are 1."""


@pytest.mark.parametrize(
    ("types", "ones"), [(("fp32", "i64"), ()), (("bf16", "u8"), ()), (("fp32", "i64"), ONES)],
    ids=["fp32", "bf16", "all is 1"],
)  # fmt: skip
def test_the_kernel_compiles_for_a_gpu_that_is_not_here(types, ones, monkeypatch, tmp_path):
    """The interpreter takes more than the compiler does."""
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from bench.run.losses.upsampled_kernel import loss_and_slope

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    pointers = {"scores": types[0], "target": types[1], "row": "i32", "column": "i32"}
    pointers |= dict.fromkeys(["weights", "row_part", "column_part", "sums", "slope"], "fp32")
    fixed = {"has_weights": True, "classes": 64, "pixels": 64, "window": 16}
    fixed |= dict.fromkeys(ones, 1)
    signature = {
        name: f"*{pointers[name]}" if name in pointers else "constexpr" if name in fixed else "i32"
        for name in loss_and_slope.arg_names
    }
    source = ASTSource(loss_and_slope, signature, constexprs=fixed)
    made = compile(source, target=GPUTarget("cuda", 90, 32))
    assert ".entry loss_and_slope" in made.asm["ptx"]
    assert made.metadata.shared <= 227 * 2**10  # bytes that a program may share on an H200
