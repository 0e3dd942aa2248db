"""fp16: a scaled loss, whose scale is part of a checkpoint."""

import pytest
import torch
from attempts import bits
from torch import nn

from bench.run import outcome
from bench.run.execute import Options, execute
from bench.run.loss_scale import START, LossScale
from bench.spec import TrainSpec

OPTIONS = Options(device="cpu", threads=1)
CPU = torch.device("cpu")


def test_a_step_that_overflows_is_left_out_and_the_scale_halves():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scale = LossScale(optimizer, TrainSpec(precision="fp16"), CPU)
    before = model.weight.clone()
    scale(model(torch.full((1, 2), float("inf"))).sum()).backward()
    scale.step()
    assert torch.equal(model.weight, before)
    assert optimizer.param_groups[0]["loss_scale"] == START / 2
    optimizer.zero_grad()
    scale(model(torch.ones(1, 2)).sum()).backward()
    assert model.weight.grad.tolist() == [[START / 2] * 2]
    scale.step()
    torch.testing.assert_close(model.weight, before - 0.1)
    again = LossScale(optimizer, TrainSpec(precision="fp16"), CPU)
    assert again(torch.ones(())) == START / 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_are_as_they_were(precision):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    loss = torch.ones(())
    assert LossScale(optimizer, TrainSpec(precision=precision), CPU)(loss) is loss
    assert "loss_scale" not in optimizer.param_groups[0]


def test_a_run_in_fp16_is_resumed_to_the_same_bits(tiny_run, stopped_after):
    settings = {"train.precision": "fp16"}
    whole, run = tiny_run(settings, folder="whole")
    assert execute(whole.run_dir(run.id), OPTIONS) == outcome.DONE
    store, run = tiny_run(settings, folder="stopped")
    with stopped_after(3):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.STOPPED
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert bits(store, run) == bits(whole, run)
    plain, other = tiny_run(folder="plain")
    execute(plain.run_dir(other.id), OPTIONS)
    losses = [[row["loss"] for row in s.logs(r.id) if "loss" in row]
              for s, r in ((store, run), (plain, other))]  # fmt: skip
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]
