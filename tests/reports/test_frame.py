import dataclasses

import numpy as np
import pandas as pd
import pytest
from streets import CLASS_NAMES, FAILED, MISSING, STEPS, finish, make_spec

from bench.plan import Plan, PlannedRun, Run
from bench.spec import TrainSpec
from bench.store.runs import Failure
from reports.results.frame import (
    class_frame,
    curves_frame,
    eval_frame,
    read_records,
    runs_frame,
)
from reports.results.settings import find_factors, flat_settings, plain


def test_every_planned_run_is_a_row_in_the_plans_order(plan, store):
    runs = runs_frame(plan, store)
    assert list(runs["run_id"]) == [planned.run.id for planned in plan.runs]
    assert runs["status"].value_counts().to_dict() == {"done": 22, "failed": 1, "missing": 1}


def test_failed_and_missing_runs_have_a_reason_and_no_scores(plan, store):
    runs = runs_frame(plan, store).set_index(["variant", "seed"])
    assert runs.loc[FAILED, "status"] == "failed"
    assert runs.loc[FAILED, "reason"] == "memory"
    assert runs.loc[MISSING, "status"] == "missing"
    assert runs.loc[[FAILED, MISSING], ["miou", "train_seconds"]].isna().all(axis=None)


def test_scores_are_those_of_the_per_image_counts(plan, store):
    planned = plan.runs[0]
    total = store.confusions(planned.run.id, "test")[1].astype(float).sum(0)
    ious = []
    for c in range(len(CLASS_NAMES)):
        union = total[c].sum() + total[:, c].sum() - total[c, c]
        if union:
            ious.append(total[c, c] / union)
    row = runs_frame(plan, store).iloc[0]
    assert row["miou"] == pytest.approx(sum(ious) / len(ious))
    assert row["pixel_acc"] == pytest.approx(np.trace(total) / total.sum())


def test_an_absent_class_has_no_iou(plan, store):
    classes = class_frame(plan, store)
    absent = classes[classes["class_name"] == "bicyclist"]
    assert len(absent) == 22
    assert absent["iou"].isna().all()


def test_factors_are_the_keys_that_differ(plan, make_plan):
    assert find_factors(plan) == []  # backbone and skip have columns of their own
    assert find_factors(make_plan(["a", "b"], seeds=(0, 1))) == ["model.head"]


def test_a_sum_of_losses_beside_one_alone_is_one_setting():
    """What a page says of it is written as in a spec; two sums differ in their weights alone."""
    runs = []
    for name, loss in (
        ("alone", "cross_entropy"),
        ("sum", {"cross_entropy": 1.0, "dice": 0.5}),
        ("other", {"cross_entropy": 1.0, "dice": 1.0}),
    ):
        spec = make_spec("alexnet", "fcn8s", 0)
        spec = spec.model_copy(update={"train": TrainSpec(steps=1, loss=loss)})
        runs.append(PlannedRun(name, Run(spec, "0" * 64)))
    plan = Plan("losses", "Which?", "none", tuple(runs))
    assert find_factors(plan) == ["train.loss"]
    told = [plain(row["train.loss"]) for row in flat_settings(plan)]
    assert told == [
        "cross_entropy",
        "{cross_entropy: 1.0, dice: 0.5}",
        "{cross_entropy: 1.0, dice: 1.0}",
    ]
    sums = dataclasses.replace(plan, runs=plan.runs[1:])
    assert find_factors(sums) == ["train.loss.dice"]


def test_classes_that_share_a_name_stay_apart(small_store, make_plan):
    plan = make_plan(["a"])
    finish(small_store, plan.runs[0], class_names=["road", "road", *CLASS_NAMES[2:]])
    names = class_frame(plan, small_store)["class_name"]
    assert list(names[:3]) == ["road (class 0)", "road (class 1)", "pole"]


def test_logs_become_curves(plan, store):
    curves, watched = curves_frame(plan, store), eval_frame(plan, store)
    assert len(curves) == 22 * STEPS
    assert set(watched["step"]) == {100, 200, 300, 400}
    assert watched["miou"].between(0, 1).all()


def test_a_record_that_cannot_be_read_is_a_failed_row(small_store, make_plan):
    plan = make_plan(["a", "b"])
    for planned in plan.runs:
        finish(small_store, planned)
    (small_store.run_dir(plan.runs[0].run.id) / "result.json").write_text("{")
    records = read_records(plan, small_store)
    assert [record.status for record in records] == ["failed", "done"]
    assert isinstance(records[0].failure, Failure)
    assert records[0].failure.reason == "unreadable"


def test_nothing_finished_still_gives_columns(plan, small_store):
    runs = runs_frame(plan, small_store)
    assert set(runs["status"]) == {"missing"}
    assert pd.api.types.is_float_dtype(runs["miou"])
    assert "iou" in class_frame(plan, small_store)
