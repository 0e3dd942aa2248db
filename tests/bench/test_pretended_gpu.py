"""What a GPU would refuse or wait for, seen without one: steps and scores on pretended tensors.

Torch's fake tensors know device and shape and no value. Whatever mixes devices fails, and so does
whatever needs a value to go on, which is where a real GPU would be waited for. What autograd does
is left out: its engine asks for a real device. `test_waiting.py` has values, and goes back too.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from attempts import end_of, fork
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.data import batches, resident, scoring_batches
from bench.data.batches import Batches
from bench.data.packs.pack import open_pack
from bench.run import evaluate
from bench.run.evaluate_split import evaluate_split
from bench.run.losses import find_class_weights, network_loss, upsampled
from bench.run.optim import create_optimizer
from bench.run.train import fit
from fcn.model import create_model
from fcn.skips import SKIPS
from fcn.upsampling import UPSAMPLINGS

pytestmark = pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")

GPU = torch.device("cuda:0")


def in_pretence(function, *args):
    """Call a function in a forked child that believes in its GPU, and has no other life."""

    def pretend():
        torch.Tensor.pin_memory = lambda self: self
        resident.free_bytes = lambda device: 2**40
        torch.cuda.default_generators = (torch.Generator(),)
        batches.has_kernels = scoring_batches.has_kernels = lambda device: False
        upsampled.has_kernels = lambda device: True
        torch.cuda.amp.common.amp_definitely_not_available = lambda: False
        torch.cuda.is_bf16_supported = lambda: True
        # Kernels need tensors that are there.
        upsampled._launch = torch._fused_sgd_ = torch._fused_adamw_ = lambda *_, **__: None
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            function(mode, *args)
        return 0

    assert end_of(fork(pretend)) == 0


def move(model, mode):
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            module._parameters[name] = nn.Parameter(mode.from_tensor(weight.detach()).to(GPU))
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = mode.from_tensor(buffer).to(GPU)


def leave_out_autograd(model):
    """Give every gradient its shape and device."""

    def backward(loss):
        assert loss.device == GPU
        for weight in model.parameters():
            weight.grad = torch.empty_like(weight)

    torch.autograd.grad = lambda outputs, inputs, *args: tuple(map(torch.empty_like, inputs))
    torch.Tensor.backward = backward


def open_run(tiny_run, differences):
    store, run = tiny_run({"train.steps": 2, **differences})
    pack = open_pack(store.packs_dir, run.fingerprint)
    return run.spec, pack, create_model(**run.spec.model.model_dump(), **pack.network_options())


TRAINED = [
    *({"model.skip": skip} for skip in SKIPS),
    *({"model.upsampling": name} for name in UPSAMPLINGS),
    {"train.precision": "bf16"},
    {"train.optimizer": "adamw", "train.ema_decay": 0.9},
    {"train.class_weights": "none", "train.clip_grad_norm": None},
]


@pytest.mark.parametrize("differences", TRAINED, ids=lambda d: " ".join(map(str, d.values())))
def test_a_step_stays_on_the_device_and_waits_for_nothing(tiny_run, differences):
    in_pretence(make_steps, *open_run(tiny_run, differences))


def make_steps(mode, spec, pack, model):
    move(model, mode)
    leave_out_autograd(model)
    weights = find_class_weights(spec.train, pack, GPU)
    loss_fn = partial(network_loss, model, targets=pack.targets, class_weights=weights)
    source = Batches(
        pack, spec.train, input_scale=0.5, seed=0, mean=model.mean, std=model.std, device=GPU
    )
    images, target = source.batch(0)
    assert images.device == target.device == GPU
    optimizer = create_optimizer(model, spec.train)
    logs = list(fit(model, source, loss_fn, optimizer, spec.train, seed=0))
    assert len(logs) == spec.train.steps
    assert {log.loss.device for log in logs} == {GPU}


def test_a_split_is_scored_without_waiting_until_its_end(tiny_run):
    in_pretence(score, *open_run(tiny_run, {"data.options.num_test": 20}))


def score(mode, spec, pack, model):
    move(model, mode)
    counted, read, count = [], [], evaluate.count

    def count_and_note(pred, *args):
        counted.append(len(pred))
        return count(pred, *args)

    def cpu(tensor):
        assert tensor.device == GPU
        read.append(sum(counted))
        return SimpleNamespace(numpy=lambda: np.zeros(tensor.shape, dtype=np.int32))

    evaluate.count = count_and_note
    torch.Tensor.cpu = cpu
    found = evaluate_split(model, pack, "test", spec, GPU, boundary=True)
    assert counted == [20]  # a CPU would score 8 at once
    assert set(read) == {20}  # all images were counted before the first number was read
    C = pack.num_classes
    assert found.confusions.shape == (20, C, C)
    assert found.boundaries.shape == (20, 2, C)
    assert all(np.shape(pred) == (32, 32) for pred in found.predictions.values())


def test_it_fails_where_a_value_is_needed():
    """Else the tests above could not fail."""
    in_pretence(need_values)


def need_values(mode):
    with pytest.raises(Exception, match="bincount"):
        torch.bincount(torch.ones(3, dtype=torch.int64, device=GPU))
    with pytest.raises(Exception, match="device"):
        torch.ones(3, device=GPU) + torch.ones(3)
