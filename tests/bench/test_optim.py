"""Optimisers and schedules: torch's own curves, timm's names, and state that is kept to the bit."""

import pytest
import timm.optim
import torch
from torch import nn
from torch.optim import lr_scheduler

from bench.plan import Run
from bench.run.checkpoint import load_checkpoint, save_checkpoint
from bench.run.ema import decay_at
from bench.run.optim import (
    OPTIMIZERS,
    create_optimizer,
    list_optimizers,
    require_optimizer,
)
from bench.run.schedules import SCHEDULES, lr_at, require_schedule
from bench.spec import RunSpec, TrainSpec
from fcn.errors import InputError

USABLE = [row["name"] for row in list_optimizers() if not row["note"]]
NOTES = {row["name"]: row["note"] for row in list_optimizers() if row["note"]}


def small_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 20, 3), nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 20, 3))
    return net.to(memory_format=torch.channels_last)


def train_further(model, optimizer, train, steps):
    for step in steps:
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group.update(lr=lr_at(step, train), ema_decay=decay_at(step, train))
        optimizer.zero_grad(set_to_none=True)
        model(torch.randn(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()


def state_of(model, optimizer):
    averages = [s["average"] for s in optimizer.state.values()]
    return [*model.state_dict().values(), *averages]


@pytest.mark.parametrize("name", USABLE)
def test_every_optimizer_goes_on_with_the_same_bits(name, tmp_path):
    """Through a file, with momentum, counters of its groups, and the moving average on top."""
    train = TrainSpec(steps=6, lr=0.01, optimizer=name, ema_decay=0.9, warmup_steps=2)
    whole = small_net()
    optimizer = create_optimizer(whole, train)
    train_further(whole, optimizer, train, range(1, 7))

    first = small_net()
    stopped = create_optimizer(first, train)
    train_further(first, stopped, train, range(1, 4))
    save_checkpoint(tmp_path, first, stopped, 3, {})

    second = small_net()
    resumed = create_optimizer(second, train)
    assert load_checkpoint(tmp_path, second, resumed, {}).step == 3
    train_further(second, resumed, train, range(4, 7))
    for ours, theirs in zip(state_of(second, resumed), state_of(whole, optimizer), strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(next(whole.parameters()), next(small_net().parameters()))


def test_what_cannot_be_used_says_why():
    assert {NOTES[n] for n in NOTES if n.startswith("bnb")} == {
        "it needs the package bitsandbytes, which is not installed"
    }
    assert {n for n in NOTES if not n.startswith(("bnb", "fused"))} == {
        "adahessian", "kron", "kronc", "kronw"
    }  # fmt: skip
    assert {*NOTES, *USABLE} == {*timm.optim.list_optimizers(), *OPTIMIZERS}
    with pytest.raises(InputError, match="'kron' cannot be used: it draws at random"):
        require_optimizer(TrainSpec(optimizer="kron"))


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("lam", "unknown optimizer 'lam'; did you mean 'lamb'"),
        ("lamb(betaz=[0.9, 0.98])", "betaz: unknown option 'betaz'; did you mean 'betas'"),
        ("lamb(lr=1)", "lr is train.lr of the spec"),
        ("sgd(momentum=0.5)", "momentum is train.momentum of the spec"),
        ("adamw(beta2=2)", "adamw cannot be created: ValueError"),
        ("lion(betas=[2, 3])", "lion cannot be created: ValueError"),
        ("lamb(betas=[0.9])", r"lamb\(betas=\[0.9\]\) makes no step: ValueError"),
        ("lamb(betas=0.9)", "lamb(.*) makes no step: TypeError"),
        ("sgd(nesterov=true)", "nesterov is an optimiser of its own, `nesterov`"),
        ("adamw(betas=[0.9, 0.99])", "betas are train.momentum, the first, and beta2"),
        ("SGD", "unknown optimizer 'SGD'; did you mean 'sgd'"),
    ],
)
def test_what_cannot_be_is_named(optimizer, message):
    with pytest.raises(InputError, match=message):
        require_optimizer(TrainSpec(optimizer=optimizer))


@pytest.mark.parametrize("name", USABLE)
def test_every_optimizer_makes_a_step_before_training(name):
    require_optimizer(TrainSpec(optimizer=name))


def test_a_plugins_state_that_no_checkpoint_holds_is_refused(own_parts):
    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            for group in self.param_groups:
                self.state[group["params"][0]]["seen"] = {"a set"}

    OPTIMIZERS.register("odd")(lambda groups, lr: Odd(groups, lr=lr))
    with pytest.raises(InputError, match=r"odd could not go on .* keeps set as 0\.seen"):
        require_optimizer(TrainSpec(optimizer="odd"))


def test_arguments_arrive():
    optimizer = create_optimizer(
        small_net(), TrainSpec(optimizer={"name": "lamb", "betas": [0.8, 0.9]}, lr=0.3)
    )
    assert isinstance(optimizer, timm.optim.Lamb)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert [g["weight_decay"] for g in optimizer.param_groups] == [5e-4, 0.0]


def test_sgd_is_plain_and_timms_is_called_nesterov():
    assert not create_optimizer(small_net(), TrainSpec()).defaults["nesterov"]
    assert create_optimizer(small_net(), TrainSpec(optimizer="nesterov")).defaults["nesterov"]


def run_id(**train):
    return Run(RunSpec.model_validate({"train": {"steps": 9, **train}}), "ab" * 32).id


def test_ids_have_what_counts_and_nothing_else():
    assert run_id(optimizer="sgd", schedule="poly", loss="cross_entropy") == run_id()
    assert run_id(optimizer="lamb", momentum=0.5) == run_id(optimizer="lamb")
    assert run_id(optimizer="adamw(beta2=0.99)", momentum=0.5) != run_id(
        optimizer="adamw(beta2=0.99)"
    )
    assert run_id(schedule="linear", power=2) == run_id(schedule="linear")
    assert run_id(schedule="linear(end=0.1)") != run_id(schedule="linear")
    assert run_id(loss={"dice": 1}) == run_id(loss="dice") != run_id()


STEPS = 20


def torchs(create):
    """Return the learning rates of one of torch's schedulers, and of ours, at 20 steps."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = create(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "create"),
    [
        ("constant", lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        ("poly", lambda o: lr_scheduler.PolynomialLR(o, total_iters=STEPS, power=0.9)),
        ("cosine(end=0.2)", lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.2)),
        ("linear(end=0.1)", lambda o: lr_scheduler.LinearLR(
            o, start_factor=1.0, end_factor=0.1, total_iters=STEPS)),
        ("step(every=0.3, factor=0.5)", lambda o: lr_scheduler.StepLR(o, 6, gamma=0.5)),
        ("multistep(at=[0.15, 0.7])", lambda o: lr_scheduler.MultiStepLR(o, [3, 14])),
        ("one_cycle", lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=STEPS + 1)),
        ("warm_restarts(first=0.15, growth=2)",
         lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 2)),
    ],
)  # fmt: skip
def test_learning_rates_are_torchs(schedule, create):
    steps = STEPS + (schedule == "one_cycle")  # torch refuses to step beyond its last
    train = TrainSpec(steps=steps, lr=1.0, schedule=schedule)
    assert [lr_at(s, train) for s in range(1, STEPS + 1)] == pytest.approx(torchs(create))


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_every_schedule_begins_behind_the_warm_up(name):
    cold = TrainSpec(steps=10, lr=2.0, schedule=name)
    warm = TrainSpec(steps=14, lr=2.0, schedule=name, warmup_steps=4)
    assert [lr_at(s, warm) for s in range(1, 5)] == [0.5, 1.0, 1.5, 2.0]
    assert [lr_at(s + 4, warm) for s in range(1, 11)] == [lr_at(s, cold) for s in range(1, 11)]
    assert all(0 <= lr_at(s, cold) <= 2.0 for s in range(1, 11))
    require_schedule(TrainSpec(steps=1, schedule=name))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("cosin", "unknown schedule 'cosin'; did you mean 'cosine'"),
        ("poly(power=2)", "poly: power is train.power of the spec"),
        ("poly(pover=2)", "it has no options"),
        ("step(evry=0.1)", "did you mean 'every'"),
        ("multistep(at=[3000])", "give shares of the steps"),
        ("linear(end=-1)", "gives a learning rate of -"),
        ("warm_restarts(growth=0.5)", "growth is 0.5; give 1 or more"),
        ("warm_restarts(first=1.0e-9, growth=1)", "more than a thousand cosines; give 0.001"),
        ("multistep(at=0.5)", "at: Input should be a valid list, not 0.5"),
        ('multistep(at=["x"])', "at: Input should be a valid number, not 'x'"),
        ("multistep(at=[])", "at is empty; give shares"),
        ("multistep(factor=-0.1)", "factor: .* greater than or equal to 0, not -0.1"),
        ("step(every=0)", "every is 0; give shares"),
        ("step(every=0.001, factor=10)", "fails at step .*: OverflowError"),
    ],
)
def test_a_schedule_that_cannot_be_is_named(schedule, message):
    with pytest.raises(InputError, match=message):
        require_schedule(TrainSpec(steps=100, schedule=schedule))


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_a_plugins_rate_is_looked_at_all_along(own_parts, bad):
    """Right at both ends and in the middle, and wrong for some steps between."""
    SCHEDULES.register("dip")(lambda step, steps: bad if step in range(30, 34) else 1.0)
    with pytest.raises(InputError, match=r"'dip' gives a learning rate of .* at step 31"):
        require_schedule(TrainSpec(steps=100, schedule="dip"))
    with pytest.raises(InputError, match=r"at step 3[1-4]"):
        require_schedule(TrainSpec(steps=2000, schedule="dip"))
