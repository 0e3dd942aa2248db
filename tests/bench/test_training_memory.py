"""What a loss of a whole batch takes is said before anything is trained, and of no other loss."""

import pytest

from ablations.execution import check_plan
from bench.data.catalog import Catalog
from bench.data.packs.pack import Pack
from bench.grid.training_memory import loss_remarks
from bench.plan import Plan, PlannedRun
from bench.run.losses import LOSSES, create_terms

WHOLE = {"train.loss": "lovasz_batch", "train.crop": [1024, 512], "train.batch_size": 8}
SEMANTIC_CLASSES = 6
LOGITS = 8 * SEMANTIC_CLASSES * 1024 * 512 * 4 / 2**30
"""GiB of the logits of a batch, of WHOLE."""


@pytest.fixture
def remarks(tiny_plan):
    """Return the lines about variants a, b, ... with these differences."""
    return lambda *differences: list(loss_remarks(*tiny_plan(*differences)))


def gib(line):
    return float(line.split(" about ")[1].split()[0])


def test_nothing_is_said_of_losses_that_are_sliced(remarks):
    sliced = [name for name in LOSSES if not create_terms(name)[0].is_whole]
    assert set(LOSSES) - set(sliced) == {"lovasz_batch"}
    assert remarks({**WHOLE, "train.loss": dict.fromkeys(sliced, 1.0)}) == []


def test_the_logits_of_a_batch_are_held_four_times(remarks):
    (line,) = remarks(WHOLE, WHOLE)
    assert line.startswith("loss lovasz_batch sees a whole batch at once")
    assert line.endswith("variants a, b")
    assert gib(line) == pytest.approx(4 * LOGITS, abs=0.006)


def test_each_loss_of_a_sum_is_named_and_each_size_said(remarks):
    several = {"cross_entropy": 1.0, "smp/DiceLoss": 0.5, "lovasz_batch": 0.5}
    first, second = remarks({**WHOLE, "train.loss": several}, {**WHOLE, "train.batch_size": 16})
    assert "smp/DiceLoss" in first.split(" sees ")[0]
    assert "lovasz_batch" in first.split(" sees ")[0]
    assert "cross_entropy" not in first.split(" sees ")[0]
    assert gib(second) == pytest.approx(2 * gib(first), abs=0.02)


def test_without_a_crop_the_largest_image_at_its_largest_scale_counts(remarks, monkeypatch):
    monkeypatch.setattr(Pack, "size", lambda self, i: (600, 400) if i == 1 else (300, 400))
    (line,) = remarks({**WHOLE, "train.crop": None, "train.scale": [0.5, 2.0],
                       "train.batch_size": 1})  # fmt: skip
    assert gib(line) == pytest.approx(4 * SEMANTIC_CLASSES * 1200 * 800 * 4 / 2**30, abs=0.006)


def test_of_several_targets_the_one_with_most_classes_counts(remarks):
    drawn = {"size": 32, "num_train": 12, "num_val": 3, "num_test": 5, "geometric": True}
    own = {**WHOLE, "data.options": drawn, "train.class_weights": "none"}
    lines = remarks(
        {**own, "data.targets": ["geometric"]}, {**own, "data.targets": ["geometric", "semantic"]}
    )
    assert [gib(line) for line in lines] == [
        pytest.approx(4 * LOGITS * classes / SEMANTIC_CLASSES, abs=0.006)
        for classes in (3, SEMANTIC_CLASSES)
    ]


def test_check_says_it(tiny_run, capsys):
    store, run = tiny_run({"train.loss": "lovasz_batch"})
    check_plan(Plan("p", "q", "e", (PlannedRun("a", run),)), store, Catalog(store, None))
    assert "loss lovasz_batch sees a whole batch at once" in capsys.readouterr().err
