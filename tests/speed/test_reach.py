"""Time to a score: who reached it first is told from the looks, and both sides start alike."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ablations.speed_cli import app
from bench.speed import reach
from bench.speed.reach import Goal, Learner, reach_section
from fcn.errors import InputError

SPEC = """
question: Which?
common:
  data: {dataset: shapes, options: {size: 32, num_train: 8, num_val: 2, num_test: 4}}
  model: {backbone: test_resnet, skip: fcn16s, score_init: random}
  train: {steps: 6, batch_size: 2, crop: [32, 32], optimizer: adamw, lr: 1e-3, ema_decay: 0.5}
variants:
  a: {}
  whole: {train.crop: null}
  dice: {train.loss: dice}
"""
WORDS = ["reach", "--device", "cpu", "--workers", "0", "--every", "4", "--json"]


def run(*words):
    return CliRunner().invoke(app, [*WORDS, *words], catch_exceptions=False)


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "q.yaml").write_text(SPEC)
    return tmp_path / "q.yaml"


def test_the_first_look_at_or_above_the_goal_counts(tiny_workload):
    workload = tiny_workload()
    learner = Learner("ours", workload, None, lambda: None)
    goal = Goal(miou=0.5, every=10, most_seconds=60)
    assert learner.is_open(goal)
    learner.curve += [(3.0, 0.2, 10), (6.0, float("nan"), 20)]
    assert learner.reached(goal) is None
    learner.curve += [(9.0, 0.5, 30), (12.0, 0.6, 40)]
    assert learner.reached(goal) == (9.0, 0.5, 30)
    assert not learner.is_open(goal)
    late = Learner("usual", workload, None, lambda: None, seconds=60.0)
    assert not late.is_open(goal)


def test_a_goal_that_is_reached_ends_it_and_one_that_is_not_lasts_to_the_last_step(spec):
    said = run("--run", f"{spec}/a", "--target", "0.0")
    ((ours, usual),) = (one["records"] for one in json.loads(said.stdout))
    assert (ours["steps"], usual["steps"]) == (4, 4)
    assert ours["speed ÷ usual"] == pytest.approx(usual["seconds"] / ours["seconds"])
    said = run("--run", f"{spec}/a", "--target", "1.0")
    ((ours, usual),) = (one["records"] for one in json.loads(said.stdout))
    for record in (ours, usual):
        assert (record["steps"], record["speed ÷ usual"]) == (None, None)
        assert record["curve"].count("s)") == 2  # after 4 steps, and after all 6
        best = max(float(look.partition(" (")[0]) for look in record["curve"].split(", "))
        assert record["best mIoU, %"] == pytest.approx(best, abs=0.06)
    assert (ours["optimiser"], usual["optimiser"]) == ("adamw, 0.001", "sgd, 0.01")


def test_both_sides_begin_with_the_same_weights_and_end_with_their_rate(tiny_workload, tmp_path):
    workload = tiny_workload()
    train = workload.spec.train.model_copy(update={"steps": 5})
    spec = workload.spec.model_copy(update={"train": train})
    workload = type(workload)(spec, workload.pack, workload.num_classes, workload.device)
    ours, usual = reach._ours(workload, tmp_path), reach._usual(workload, tmp_path, 0)
    for a, b in zip(ours.model.parameters(), usual.model.parameters(), strict=True):
        assert torch.equal(a, b)
    usual.advance(5)
    assert usual.model.training
    assert usual.steps == 5
    # Polynomial: the rate of torchvision's reference has come to 0 after the last step.
    loop = usual.step.__self__
    assert loop._optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)


def test_both_sides_are_one_network_to_the_pixel(tmp_path, tiny_workload):
    """By `interpolate`, a grid that reaches beyond the image is off, more at test than in crops."""
    workload = tiny_workload()
    ours, usual = reach._ours(workload, tmp_path), reach._usual(workload, tmp_path, 0)
    images = torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        for side in (ours, usual):
            torch.manual_seed(0)
            for weight in side.model.parameters():
                weight.normal_(0, 0.05)
            side.model.eval()
        assert torch.equal(ours.model(images), usual.model(images))
        assert ours.model(images).std() > 0


def test_an_average_of_weights_is_scored_and_training_goes_on_without_it(tiny_workload, tmp_path):
    workload = tiny_workload()
    train = workload.spec.train.model_copy(update={"steps": 5, "ema_decay": 0.9})
    spec = workload.spec.model_copy(update={"train": train})
    workload = type(workload)(spec, workload.pack, workload.num_classes, workload.device)
    ours = reach._ours(workload, tmp_path)
    ours.advance(3)
    before = [p.detach().clone() for p in ours.model.parameters()]
    with ours.averaged():
        assert any(
            not torch.equal(p, q) for p, q in zip(before, ours.model.parameters(), strict=True)
        )
    ours.look()
    for a, b in zip(before, ours.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("b", "unknown variant of .* 'b'"),
        ("whole", "give a variant with train.crop"),
        ("dice", "sets train.loss"),
    ],
)
def test_what_cannot_be_trained_by_both_is_refused(spec, variant, message):
    with pytest.raises(InputError, match=message):
        run("--run", f"{spec}/{variant}")
    with pytest.raises(InputError, match="names no variant"):
        run("--run", "a")


def test_the_usual_loop_is_given_crops_at_their_own_size(tiny_workload):
    workload = tiny_workload()
    data = workload.spec.data.model_copy(update={"input_scale": 0.5})
    spec = workload.spec.model_copy(update={"data": data})
    small = type(workload)(spec, workload.pack, workload.num_classes, workload.device)
    with pytest.raises(InputError, match="input_scale 1"):
        next(reach_section(small, Path("nowhere"), Goal(), 0))
