"""A network compiled while it trains: nearly the same numbers, another run, the same network."""

import pytest
import torch
from torch import nn

from bench.grid.training_remarks import bf16_remarks, imitation_remarks, knows_bf16
from bench.run import outcome
from bench.run.compiling import compiled
from bench.run.execute import Options, execute
from bench.spec import TrainSpec
from fcn.errors import InputError
from fcn.external import External
from fcn.model import create_model

ON = TrainSpec(steps=1, compile=True)


class Seen:
    """Stands for torch.compile: remembers what was asked of what it compiled."""

    def __init__(self, error=None):
        self.calls, self.error = [], error

    def __call__(self, function):
        def call(*arguments):
            self.calls.append(arguments)
            if self.error:
                raise self.error
            return function(*arguments)

        return call


def test_a_network_is_compiled_in_training_alone_and_left_as_it_was(monkeypatch):
    seen = Seen()
    monkeypatch.setattr(torch, "compile", seen)
    model, images = create_model("test_resnet", num_classes=3), torch.zeros(2, 3, 64, 64)
    with compiled(model, TrainSpec(steps=1)):
        model.train().score(images)
    assert not seen.calls
    with compiled(model, ON):
        model.train().score(images)
        model.score_with(images, 32)  # of an earlier score, as train.aux asks for
        assert len(seen.calls) == 2
        model.eval()(images)
        assert len(seen.calls) == 2
    assert "forward" not in vars(model.backbone)
    model.train().score(images)
    assert len(seen.calls) == 2


def test_each_stream_and_each_network_of_a_library_is_compiled(monkeypatch):
    seen = Seen()
    monkeypatch.setattr(torch, "compile", seen)
    inputs = {"rgb": 3, "depth": 1}
    streams = create_model("test_resnet", num_classes=3, inputs=inputs, input_fusion="late")
    with compiled(streams, ON):
        streams.train().score(torch.zeros(2, 4, 64, 64))
    assert len(seen.calls) == 2
    other = External(nn.Conv2d(3, 3, 1), num_classes=3)
    with compiled(other, ON):
        other.train().score(torch.zeros(1, 3, 8, 8))
    assert len(seen.calls) == 3
    assert "forward" not in vars(other.net)


def test_what_cannot_be_compiled_is_told_with_its_cause(monkeypatch):
    error = torch._dynamo.exc.TorchDynamoException("no compiler was found\nand more")
    monkeypatch.setattr(torch, "compile", Seen(error))
    model = create_model("test_resnet", num_classes=3).train()
    with (
        compiled(model, ON),
        pytest.raises(InputError, match=r"compiled here \(no compiler was found\); leave"),
    ):
        model.score(torch.zeros(2, 3, 64, 64))
    assert "forward" not in vars(model.backbone)


def test_it_makes_another_run(tiny_run):
    plain, compiled_one = (tiny_run({"train.compile": value})[1] for value in (False, True))
    assert plain.id == tiny_run()[1].id != compiled_one.id


@pytest.mark.long
def test_a_compiled_run_learns_what_a_plain_one_does(tiny_run):
    losses = []
    for value in (False, True):
        store, run = tiny_run({"train.compile": value, "model.dropout": 0.0}, folder=str(value))
        assert execute(store.run_dir(run.id), Options(device="cpu", threads=1)) == outcome.DONE
        losses.append([row["loss"] for row in store.logs(run.id) if "loss" in row])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 sse\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx512f\nbugs\t: bf16\n", False),
        ("processor\t: 0\n", None),
        (None, None),
    ],
)
def test_a_processor_that_multiplies_bf16_is_named(tmp_path, tiny_plan, text, expected):
    told = tmp_path / "cpuinfo"
    if text:
        told.write_text(text)
    assert knows_bf16(told) is expected
    plan, _ = tiny_plan({}, {"train.precision": "bf16"})
    advice, warnings = (list(say(plan, told)) for say in (bf16_remarks, imitation_remarks))
    assert (len(advice), len(warnings)) == (expected is True, expected is False)
    assert all("(variants a)" in line and "--set train.precision=bf16" in line for line in advice)
    assert all("(variants b)" in line and "--set train.precision=fp32" in line for line in warnings)
