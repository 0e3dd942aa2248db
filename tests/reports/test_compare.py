import dataclasses
import json

import numpy as np
import pytest
from judged import COLLAPSED, GOOD, STRAY, judge, lose_counts
from streets import finish

from bench.plan import PlannedRun
from bench.store.runs import Store
from fcn.errors import InputError
from reports.compare import Side, compare_sides, compare_table, to_rows, write_comparison
from reports.results.frame import runs_frame
from reports.results.matching import plan_stores
from reports.stats.contrasts import SHOWN


@pytest.fixture
def sides(make_plan, tmp_path):
    """Two stores: the second was trained longer, lacks one variant and has one more."""
    before, after = make_plan(["a", "b", "gone"], (0, 1)), make_plan(["a", "b"], (0, 1))
    longer = []
    for planned in after.runs:
        train = planned.run.spec.train.model_copy(update={"steps": 800})
        spec = planned.run.spec.model_copy(update={"train": train})
        longer.append(PlannedRun(planned.variant, dataclasses.replace(planned.run, spec=spec)))
    after = dataclasses.replace(after, runs=tuple(longer))
    stores = [Store(tmp_path / name) for name in ("one", "two")]
    for plan, store, most in zip((before, after), stores, (30, 20), strict=True):
        for planned in plan.runs:
            wrong = np.random.default_rng(most).integers(0, most, (8, 8, 8))
            right = np.eye(8, dtype=int) * (400 - wrong.sum(2, keepdims=True))  # of 400 labels
            finish(store, planned, confusions=(wrong + right).astype(np.int32), log=False)
    return [Side(n, p, s) for n, p, s in zip(("A", "B"), (before, after), stores, strict=True)]


def test_differences_are_paired_by_seed_and_changes_named(sides):
    rows = {row["variant"]: row for row in to_rows(compare_sides(*sides))}
    assert list(rows) == ["a", "b", "gone"]
    frames = [runs_frame(side.plan, side.store).set_index(["variant", "seed"]) for side in sides]
    for seed_mean, row in ((("a", slice(None)), rows["a"]), (("b", slice(None)), rows["b"])):
        one, other = (frame.loc[seed_mean, "miou"].mean() for frame in frames)
        assert row["miou_diff"] == pytest.approx(other - one)
        assert row["num_pairs"] == 2
        assert row["changed"] == "train.steps 400 → 800"
    assert rows["gone"]["note"] == "only before"
    assert rows["gone"]["miou_diff"] is None
    json.dumps(list(rows.values()), allow_nan=False)


def test_labels_that_differ_give_no_difference(sides):
    planned = sides[1].plan.runs[0]
    counts = sides[1].store.confusions(planned.run.id, "test")[1]
    counts[3] += 1  # the same images by name, with other labels
    finish(sides[1].store, planned, confusions=counts, log=False)
    alone = dataclasses.replace(sides[1], plan=dataclasses.replace(sides[1].plan, runs=(planned,)))
    row = to_rows(compare_sides(sides[0], alone))[0]
    assert [row[f"miou_{name}"] for name in ("diff", "low", "high")] == [None] * 3
    assert row["pixel_acc_diff"] is None
    assert row["miou_before"] < row["miou_after"]
    assert row["note"] == (
        "no difference: they were not evaluated on the same images with the same labels"
    )


def test_without_counts_other_data_gives_no_difference_either(tmp_path):
    sides = []
    for name, data in (("A", {}), ("B", {"a": ("e" * 64, "shapes")})):
        store = Store(tmp_path / name)
        plan = lose_counts(store, judge(store, {"a": [[GOOD] * 4]}, **data))
        sides.append(Side(name, plan, store))
    row = to_rows(compare_sides(*sides))[0]
    assert row["miou_diff"] is None
    assert row["note"] == (
        "no difference: test of streets (3 classes, 4 images) and test of shapes (3 classes, "
        "4 images)"
    )


def test_means_over_different_classes_and_collapsed_runs_are_noted(tmp_path):
    sides = []
    for name, image in (("A", COLLAPSED), ("B", STRAY)):
        store = Store(tmp_path / name)
        sides.append(Side(name, judge(store, {"a": [[image] * 4]}), store))
    row = to_rows(compare_sides(*sides))[0]
    assert row["miou_diff"] is None
    assert row["pixel_acc_diff"] == pytest.approx(0.88 - 0.6)
    assert row["pixel_acc_low"] is not None
    assert row["note"] == (
        "no difference of mIoU: over 2 classes before, 3 classes with cow after; "
        "before: collapsed: every labelled pixel is called ground (seed 0); "
        "after: 4 pixels are called cow, which no label says: 0 in a mean over 3 classes (seed 0)"
    )


def test_the_same_images_give_an_interval_around_the_difference(plan, store):
    runs = tuple(r for r in plan.runs if r.variant in ("vgg16-none", "vgg16-fcn8s"))
    arms = [
        tuple(PlannedRun("x", r.run) for r in runs if r.variant == name)
        for name in ("vgg16-none", "vgg16-fcn8s")
    ]
    sides = [Side(str(i), dataclasses.replace(plan, runs=arm), store) for i, arm in enumerate(arms)]
    row = to_rows(compare_sides(*sides))[0]
    assert row["miou_low"] < row["miou_diff"] < row["miou_high"]
    assert row["changed"] == "model.skip none → fcn8s"
    same = to_rows(compare_sides(sides[0], sides[0]))[0]
    assert (same["miou_diff"], same["note"]) == (0, "the same runs")


def test_a_comparison_is_written_as_markdown_and_csv(sides, tmp_path):
    frame = compare_sides(*sides)
    page = write_comparison(frame, "A`|", "B", tmp_path / "out")
    text = page.read_text()
    assert text.startswith("# `A'|` → `B`")
    assert "train.steps 400 → 800" in text
    assert (tmp_path / "out" / "compare.csv").read_text().startswith("variant,num_before")
    assert len(compare_table(frame).cells) == 3


def test_stores_without_a_question_are_matched_by_what_varies_within_them(sides):
    plans = plan_stores([side.store for side in sides])
    names = [plan.variants for plan in plans]
    assert sorted(names[0]) == [f"vgg16-fcn8s model.head=head-{i}" for i in range(3)]
    assert sorted(names[1]) == sorted(names[0])[:2]  # steps differ between the stores: no name
    with pytest.raises(InputError, match="holds no runs"):
        plan_stores([Store(sides[0].store.root.parent / "empty")])


def test_changes_of_all_variants_are_one_family_with_one_decision(sides):
    """What changes without reason is shown hardly ever, what is far off is, by one model."""
    rows = [row for row in to_rows(compare_sides(*sides)) if row["miou_diff"] is not None]
    assert [row["variant"] for row in rows] == ["a", "b"]
    for row in rows:
        is_out = row["miou_low"] > 0 or row["miou_high"] < 0
        assert (row["verdict"] == SHOWN) == is_out
        assert row["miou_low"] < row["miou_diff"] < row["miou_high"]
    turned = to_rows(compare_sides(*reversed(sides)))
    for row, other in zip(rows, turned[:2], strict=True):
        assert other["miou_low"] == pytest.approx(-row["miou_high"])
        assert other["verdict"] == row["verdict"]


def test_one_seed_on_each_side_gives_no_verdict(sides):
    alone = [
        dataclasses.replace(side, plan=dataclasses.replace(side.plan, runs=side.plan.runs[:1]))
        for side in sides
    ]
    (row,) = to_rows(compare_sides(*alone))
    assert row["verdict"] == ""
    assert row["miou_low"] < row["miou_diff"] < row["miou_high"]
