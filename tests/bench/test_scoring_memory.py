"""What the largest image takes to score is said before anything is trained."""

import pytest

from ablations.execution import check_plan
from bench.data.catalog import Catalog
from bench.data.packs.pack import Pack
from bench.grid import scoring_memory
from bench.plan import Plan, PlannedRun

LARGE = {"model.backbone": "resnet18", "model.skip": "fcn32s"}


@pytest.fixture
def large(monkeypatch):
    """Have every pack say that its images are large; to draw such takes seconds."""
    monkeypatch.setattr(Pack, "size", lambda self, i: (1024, 1024))


@pytest.fixture
def remarks(tiny_plan):
    """Return the lines about variants a, b, ... with these differences."""
    return lambda *differences: list(scoring_memory.scoring_remarks(*tiny_plan(*differences)))


def test_nothing_is_said_of_images_that_take_less_than_training(remarks):
    assert remarks(LARGE) == []


def test_nor_of_those_that_the_network_sees_small(remarks, large):
    assert remarks({**LARGE, "data.input_scale": 0.5}) == []


def test_memory_follows_from_shapes_and_is_held_against_the_machines(remarks, large, monkeypatch):
    """Of ResNet-18: 64 channels at half the size, before and after the first norm."""
    first = 2 * 64 * 512 * 512 * 4 / 2**30
    for room, said in ((64.0, False), (0.1, True), (0.0, False)):  # 0: nobody knows
        monkeypatch.setattr(scoring_memory, "_memory_gib", lambda room=room: ("this machine", room))
        (line,) = remarks(LARGE, LARGE)
        assert line.startswith("scoring the largest image of split test (1024x1024) takes 0.")
        assert "GiB or more, variants a, b" in line
        assert first < float(line.split(" takes ")[1].split()[0]) < 1.5 * first
        assert ("this machine has 0.10 GiB; cut the images into tiles" in line) == said


def test_each_network_has_its_own_and_bf16_takes_less(remarks, large):
    lines = remarks(
        LARGE, {**LARGE, "train.precision": "bf16"}, {**LARGE, "model.backbone": "vgg11_bn"}
    )
    numbers = [float(line.split(" takes ")[1].split()[0]) for line in lines]
    assert [line.split("variants ")[1] for line in lines] == ["a", "b", "c"]
    assert numbers[1] < numbers[0] < numbers[2]


def test_a_network_of_another_library_takes_its_logits_at_least(remarks, large):
    other = {**LARGE, "model.external": "torchvision/lraspp_mobilenet_v3_large"}
    (line,) = remarks(other)
    assert f"takes {6 * 1024**2 * 4 / 2**30:.2f} GiB or more" in line


def test_check_and_run_say_it(tiny_run, large, capsys):
    store, run = tiny_run(LARGE)
    plan = Plan("p", "q", "e", (PlannedRun("a", run),))
    check_plan(plan, store, Catalog(store, None))
    assert "scoring the largest image of split test (1024x1024)" in capsys.readouterr().err
