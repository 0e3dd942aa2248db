"""What a node of a cluster is worth: its slots, and what keeps runs from it."""

import re
import sys
from pathlib import Path

import pytest
import torch

from bench.grid.node_check import find_fault, inspect_node
from bench.grid.node_slots import divide_node
from bench.grid.nodes import Nodes
from bench.store.runs import Store
from fcn.errors import InputError


def entry(cpus, gpus):
    return {
        "NodeID": "ab" * 14, "NodeManagerHostname": "h", "NodeManagerAddress": "10.0.0.1",
        "Resources": {"CPU": cpus, "GPU": gpus, "memory": 1e9},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cpus", "gpus", "device", "slots", "count", "num_cpus", "num_gpus", "threads"),
    [
        (8.0, 0.0, "cpu", None, 8, 1.0, 0.0, 1),
        (8.0, 2.0, "cpu", 3, 3, 2.0, 0.0, 2),
        (8.0, 2.0, "cuda", None, 2, 4.0, 1.0, 4),
        (8.0, 2.0, "cuda", 3, 6, 1.0, 0.3333, 1),
        (2.0, 4.0, "cuda", 1, 4, 0.5, 1.0, 1),
    ],
)
def test_a_node_is_shared_out(cpus, gpus, device, slots, count, num_cpus, num_gpus, threads):
    node = divide_node(entry(cpus, gpus), device, slots)
    assert (node.count, node.num_cpus, node.num_gpus) == (count, num_cpus, num_gpus)
    assert node.slot.threads == threads
    # As many as there are fit, and with a run of another user beside them one less.
    assert node.fits({"CPU": cpus, "GPU": gpus}) >= count
    assert node.fits({"CPU": cpus - num_cpus / 2, "GPU": gpus - num_gpus / 2}) < cpus / num_cpus


@pytest.mark.parametrize(
    ("cpus", "gpus", "device", "slots", "count", "num_cpus", "num_gpus", "threads"),
    [
        (8.0, 0.0, "cpu", None, 4, 2.0, 0.0, 1),
        (8.0, 0.0, "cpu", 2, 2, 4.0, 0.0, 2),
        (1.0, 0.0, "cpu", None, 1, 1.0, 0.0, 1),
        (32.0, 5.0, "cuda", None, 2, 16.0, 2.0, 8),
    ],
)
def test_a_run_over_two_devices_gets_two_of_one_node(
    cpus, gpus, device, slots, count, num_cpus, num_gpus, threads
):
    node = divide_node(entry(cpus, gpus), device, slots, 2)
    assert (node.count, node.num_cpus, node.num_gpus) == (count, num_cpus, num_gpus)
    assert node.slot.threads == threads
    # Ray itself shows a task its GPUs alone, so the run counts them from 0 and names no others.
    assert node.slot.devices == (("cuda:0", "cuda:1") if device == "cuda" else ("cpu", "cpu"))
    assert "CUDA_VISIBLE_DEVICES" not in node.slot.variables
    assert divide_node(entry(8.0, 1.0), "cuda", None, 2) is None


def test_a_node_without_what_is_asked_has_no_share():
    assert divide_node(entry(8.0, 0.0), "cuda", None) is None
    assert divide_node(entry(0.0, 0.0), "cpu", None) is None


def test_devices_are_not_named_one_by_one(tmp_path):
    with pytest.raises(InputError, match="auto, cpu or cuda"):
        Nodes(tmp_path, ("cuda:0", "cuda:1"), None, ())


def test_what_a_machine_sees_is_told(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    (store.packs_dir / "f00").mkdir(parents=True)
    (store.packs_dir / "f00" / "images.bin").write_bytes(b"12345")
    (store.root / "sign").touch()
    facts = inspect_node(str(store.root), "sign", 0, [], str(tmp_path))
    assert facts["sees"]
    assert facts["writes"]
    assert facts["packs"] == {"packs/f00/images.bin": 5}
    assert torch.__version__.startswith(facts["torch"])
    nothing = inspect_node(str(tmp_path / "elsewhere"), "sign", 0, [], str(tmp_path))
    assert not nothing["sees"]
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "executable", "/usr/bin/false")
    assert "error" in inspect_node(str(store.root), "sign", 0, [], str(tmp_path))


SIGHT = {
    "sees": True, "writes": True, "packs": {"packs/f00/images.bin": 5}, "Python": "3.11.7",
    "fcn-bench": "0.1", "torch": "2.14", "torchvision": "0.29", "timm": "1.0", "numpy": "2.3",
    "code": "abc", "plugins": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({}, None),
        ({"error": "no module named bench"}, "cannot start .*no module named bench"),
        ({"sees": False}, r"does not see the store: /runs/\.sign was written here"),
        ({"writes": False}, "cannot write into the store, /runs"),
        ({"packs": {}}, r"does not see the data: /runs/packs/f00/images\.bin is missing"),
        (
            {"packs": {"packs/f00/images.bin": 4}},
            "does not see the data: .* is missing there or cut",
        ),
        ({"torch": "2.13"}, r"other results: it has torch 2\.13 \(here 2\.14\)"),
        ({"code": "abd"}, "other results: it has code abd"),
        ({"plugins": ["mine (sha256 1)"]}, "other results: it has plugins"),
    ],
)
def test_what_keeps_runs_from_a_machine_is_told(there, said):
    fault = find_fault(SIGHT, {**SIGHT, **there}, Path("/runs/.sign"))
    assert fault is None if said is None else re.search(said, fault)
