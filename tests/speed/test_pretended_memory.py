"""Bytes of all tensors of a step, ours and the usual, counted on tensors that hold none.

What a GPU's allocator would be asked for, but for the workspaces of its kernels: chunks are as
large as on a GPU.
"""

import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from bench.run import chunking
from bench.run.optim import create_optimizer
from bench.run.train import autocast
from bench.speed import loops
from bench.speed.usual import with_interpolation


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that exist, each once."""

    def __init__(self):
        super().__init__()
        self.sizes, self.peak = {}, 0

    def add(self, tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in self.sizes:
            self.sizes[storage._cdata] = storage.nbytes()
            self.peak = max(self.peak, sum(self.sizes.values()))
            weakref.finalize(storage, self.sizes.pop, storage._cdata)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = function(*args, **kwargs or {})
        tree_map_only(torch.Tensor, self.add, given)
        return given


def without_values(model, mode):
    """Replace a network's weights by pretended ones."""
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            module._parameters[name] = nn.Parameter(mode.from_tensor(weight.detach()))
        for name, buffer in list(module.named_buffers(recurse=False)):
            module._buffers[name] = mode.from_tensor(buffer)


def usual(workload, model, batch):
    """Make the usual loop's steps, but for reading the loss, which has no value here."""
    optimizer = create_optimizer(with_interpolation(model).train(), workload.spec.train)
    while True:
        with autocast(workload.device, workload.spec.train.precision):
            loss = F.cross_entropy(model(batch[0]), batch[1])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield


def peak(workload, side, monkeypatch):
    model, train = workload.create_network(), workload.spec.train
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, LiveBytes() as live:
        without_values(model, mode)
        for tensor in (*model.parameters(), *model.buffers()):
            live.add(tensor)
        shape = (train.batch_size, 3, *train.crop)
        batch = (
            torch.zeros(shape).contiguous(memory_format=torch.channels_last),
            torch.zeros(train.batch_size, *train.crop, dtype=torch.int64),
        )
        monkeypatch.setattr(type(workload), "create_network", lambda workload: model)
        batches = SimpleNamespace(batch=lambda number: batch)
        monkeypatch.setattr(loops, "create_batches", lambda workload, model: batches)
        steps = loops.limit(workload) if side == "ours" else usual(workload, model, batch)
        for _ in range(3):  # the second holds the optimiser's state
            next(steps)
        steps.close()
    monkeypatch.undo()
    return live.peak


@pytest.mark.parametrize(("classes", "most"), [(12, 1.0), (150, 0.25)])
def test_a_step_holds_less_than_the_usual(tiny_workload, monkeypatch, classes, most):
    size = {"size": (512, 512), "batch": 16, "classes": classes, "precision": "bf16"}
    workload = tiny_workload(backbone="resnet18", skip="fcn8s", **size)
    peaks = []
    for side in ("ours", "usual"):
        monkeypatch.setitem(chunking.CHUNK_MIB, "cpu", chunking.CHUNK_MIB["cuda"])
        peaks.append(peak(workload, side, monkeypatch))
    weights = sum(p.nbytes for p in workload.create_network().parameters())
    print([round(p / 2**20) for p in peaks])
    assert peaks[0] > 3 * weights  # weights, gradients and momentum at least
    assert peaks[0] < most * peaks[1]
