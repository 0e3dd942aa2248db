"""Activations made anew: the same bits, less memory, and no run of its own."""

import pytest
import torch
from attempts import bits

from bench.run import outcome
from bench.run.activations import checkpoint_blocks, find_blocks, require_blocks
from bench.run.execute import Options, execute
from bench.spec import TrainSpec
from fcn.errors import InputError
from fcn.model import create_model

OPTIONS = Options(device="cpu", threads=1)
ON = TrainSpec(steps=1, checkpoint_activations=True)


@pytest.mark.parametrize(
    "backbone",
    ["resnet10t", "convnext_atto", "mobilenetv2_050", "googlenet", "vit_tiny_patch16_224"],
)
def test_gradients_and_statistics_are_the_same_bits(backbone):
    found = []
    for train in (TrainSpec(steps=1), ON):
        torch.manual_seed(0)
        model = create_model(backbone, num_classes=3, skip="fcn32s", score_init="random",
                             dropout=0.3).train()  # fmt: skip
        checkpoint_blocks(model, train)
        torch.manual_seed(1)
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, kept=kept: kept.append(t.nbytes) or t, lambda t: t
        ):
            loss = model(torch.randn(2, 3, 96, 96)).square().mean()
        loss.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((loss, gradients, dict(model.named_buffers()), sum(kept)))
    plain, anew = found
    assert torch.equal(plain[0], anew[0])
    for k in (1, 2):
        assert plain[k].keys() == anew[k].keys()
        assert all(torch.equal(plain[k][name], anew[k][name]) for name in plain[k])
    assert anew[3] < 0.7 * plain[3]


def test_a_run_is_the_same_run_with_the_same_bits(tiny_run):
    stores = []
    for number, value in enumerate((False, True)):
        settings = {"train.checkpoint_activations": value, "model.backbone": "resnet10t"}
        store, run = tiny_run(settings, folder=str(number))
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
        stores.append((store, run))
    (plain, run), (anew, same) = stores
    assert run.id == same.id
    assert bits(plain, run) == bits(anew, same)
    assert anew.result(run.id).step_memory_mib < plain.result(run.id).step_memory_mib


def test_a_plain_stack_of_layers_and_shared_statistics_are_refused():
    with torch.device("meta"):
        vgg, resnet = (create_model(b, num_classes=3, skip="fcn32s") for b in ("vgg11", "resnet18"))
    with pytest.raises(InputError, match="no blocks in a row"):
        require_blocks(vgg, ON)
    require_blocks(vgg, TrainSpec())
    assert len(list(find_blocks(resnet))) == 8
    with pytest.raises(InputError, match="of several devices again"):
        require_blocks(resnet, ON, 2)


def test_a_block_whose_input_is_changed_in_place_gives_an_error_and_no_wrong_gradient():
    blocks = [torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 3, 1))] * 2

    class Block(torch.nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            return self.layers(x.mul_(2))

    model = torch.nn.Sequential(*(Block(b) for b in blocks))
    checkpoint_blocks(model, ON)
    loss = model(torch.ones(1, 3, 4, 4)).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
