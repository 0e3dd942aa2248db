"""The loop on a network small enough to follow by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from bench.run.ema import ema_applied
from bench.run.optim import create_optimizer
from bench.run.train import fit, seed_step
from bench.spec import TrainSpec


class Numbered:
    """Batches that depend on their number alone; remembers which were asked for."""

    def __init__(self, size=4):
        self.size = size
        self.asked = []

    def batch(self, index):
        self.asked.append(index)
        samples = torch.arange(index * self.size, (index + 1) * self.size).float()
        images = torch.sin(samples.view(-1, 1, 1, 1) + torch.arange(12.0).view(1, 3, 2, 2))
        return images, (samples.view(-1, 1, 1).long() + torch.arange(4).view(1, 2, 2)) % 3


def loss_of(model):
    return lambda images, target: F.cross_entropy(model(images), target)


def create(train, dropout=0.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(3, 3, 1))
    return model, create_optimizer(model, train)


def run(train, *, batches, after=0, dropout=0.0):
    model, optimizer = create(train, dropout)
    logs = list(fit(model, batches, loss_of(model), optimizer, train, seed=7, after=after))
    return model, logs


def test_accumulated_batches_are_one_large_batch():
    settings = {"steps": 3, "lr": 0.1, "weight_decay": 0.0}
    whole, _ = run(TrainSpec(batch_size=8, **settings), batches=Numbered(8))
    batches = Numbered(4)
    parts, logs = run(TrainSpec(batch_size=4, grad_accum_steps=2, **settings), batches=batches)
    assert batches.asked == [0, 1, 2, 3, 4, 5]
    assert [log.step for log in logs] == [1, 2, 3]
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b)


class OneLabel(Numbered):
    """Every other batch has one labelled pixel."""

    def batch(self, index):
        images, target = super().batch(index)
        if index % 2:
            target.flatten()[1:] = -100  # torch's own void
        return images, target


def test_each_accumulated_batch_counts_alike_however_few_of_its_pixels_are_labelled():
    """Second route: the mean of the gradients of each by itself."""
    settings = {"steps": 1, "lr": 0.5, "momentum": 0.0, "weight_decay": 0.0}
    settings |= {"schedule": "constant", "batch_size": 4}
    model, _ = run(TrainSpec(grad_accum_steps=2, **settings), batches=OneLabel())
    grads = []
    for index in range(2):
        fresh, _ = create(TrainSpec(**settings))
        loss_of(fresh)(*OneLabel().batch(index)).backward()
        grads.append(fresh[1].weight.grad)
    expected = fresh[1].weight - 0.5 * (grads[0] + grads[1]) / 2
    torch.testing.assert_close(model[1].weight, expected)


def test_one_step_is_the_textbooks_sgd():
    train = TrainSpec(steps=1, lr=0.5, momentum=0.9, weight_decay=0.1, schedule="constant")
    model, _ = run(train, batches=Numbered())
    fresh, _ = create(train)
    images, target = Numbered().batch(0)
    loss_of(fresh)(images, target).backward()
    weight, bias = fresh[1].weight, fresh[1].bias
    expected = weight - 0.5 * (weight.grad + 0.1 * weight)
    torch.testing.assert_close(model[1].weight, expected)
    torch.testing.assert_close(model[1].bias, bias - 0.5 * bias.grad)  # vectors do not decay


def test_long_gradients_are_scaled_down_to_the_limit():
    settings = {"steps": 1, "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    clipped, _ = run(TrainSpec(clip_grad_norm=0.01, **settings), batches=Numbered())
    start, _ = create(TrainSpec(**settings))
    pairs = zip(start.parameters(), clipped.parameters(), strict=True)
    moved = torch.cat([(a - b).flatten() for a, b in pairs])
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-4)


def test_dropout_of_a_step_does_not_depend_on_the_steps_before():
    cpu = torch.device("cpu")
    seed_step(7, 5, cpu)
    expected = torch.rand(4)
    torch.manual_seed(0)
    torch.rand(100)
    seed_step(7, 5, cpu)
    assert torch.equal(torch.rand(4), expected)
    seed_step(7, 6, cpu)
    assert not torch.equal(torch.rand(4), expected)
    seed_step(8, 5, cpu)
    assert not torch.equal(torch.rand(4), expected)


def test_a_step_seeds_what_torchs_own_seeding_does():
    seed_step(7, 5, torch.device("cpu"))
    expected = torch.rand(4)
    seed_step(7, 5, torch.device("meta"))  # any other device: all of torch's generators
    assert torch.equal(torch.rand(4), expected)


def test_the_last_steps_ask_for_their_own_batches_alone():
    batches = Numbered()
    _, logs = run(TrainSpec(steps=5, grad_accum_steps=2), batches=batches, after=3)
    assert [log.step for log in logs] == [4, 5]
    assert batches.asked == [6, 7, 8, 9]


def test_bf16_trains_close_to_fp32():
    settings = {"steps": 20, "lr": 0.1}
    _, exact = run(TrainSpec(**settings), batches=Numbered())
    _, rounded = run(TrainSpec(precision="bf16", **settings), batches=Numbered())
    losses = [[log.loss.item() for log in logs] for logs in (exact, rounded)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_averages_are_those_of_torchs_own_averaged_model(optimizer):
    settings = {"steps": 30, "lr": 0.05, "optimizer": optimizer}
    train = TrainSpec(ema_decay=0.6, **settings)
    model, ours = create(train)
    reference = None
    for _ in fit(model, Numbered(), loss_of(model), ours, train, seed=7):
        if reference is None:
            reference = AveragedModel(model, multi_avg_fn=average_by_hand)
        reference.update_parameters(model)
    plain, _ = run(TrainSpec(**settings), batches=Numbered())
    with ema_applied(ours):
        torch.testing.assert_close(list(model.parameters()), list(reference.module.parameters()))
        assert not torch.equal(model[1].weight, plain[1].weight)
    assert torch.equal(model[1].weight, plain[1].weight)  # averaging leaves training as it is


def average_by_hand(averages, parameters, num_averaged):
    decay = min(0.6, (1 + num_averaged + 1) / (10 + num_averaged + 1))
    for average, parameter in zip(averages, parameters, strict=True):
        average.copy_(decay * average + (1 - decay) * parameter)


def test_a_gpu_is_seeded_as_torch_would_and_no_other_device(monkeypatch):
    """torch.manual_seed goes through every kind of device, whether it is there or not."""
    torch.manual_seed(0)
    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    monkeypatch.setattr("torch.cuda.default_generators", generators)
    seed_step(7, 3, torch.device("cpu"))
    expected = torch.default_generator.initial_seed()
    monkeypatch.delattr("torch.manual_seed")
    torch.default_generator.manual_seed(1)
    seed_step(7, 3, torch.device("cuda:1"))
    seeds = [generator.initial_seed() for generator in (torch.default_generator, *generators)]
    assert seeds == [expected, 5, expected]
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    seed_step(7, 3, torch.device("cuda"))
    assert generators[0].initial_seed() == expected
