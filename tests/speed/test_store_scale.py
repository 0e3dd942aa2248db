"""Stores of many runs: what is read is right, and the work grows with the runs and no faster."""

import builtins
import json
import os

import numpy as np
import pandas as pd
import pytest

from ablations.planning import plan_spec
from ablations.speed_store import measure_store, plan_and_skip, write_spec
from bench.metrics import SCORES, summarize
from bench.speed.synthetic import NUM_CLASSES, PIXELS, Sizes, fill
from bench.store.runs import Store
from reports.results.frame import class_frame, runs_frame
from reports.results.settings import find_factors, flatten
from reports.stats.summary import list_changes, summarize_difference, summarize_variants


def make_store(folder, number, sizes=Sizes(num_images=2, num_steps=3)):  # noqa: B008
    folder.mkdir()
    spec, store = write_spec(folder / "many.yaml", number), Store(folder / "runs")
    plan, _ = plan_spec(str(spec), store, None, None)
    fill(store, plan, sizes)
    return spec, plan, store


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("many") / "store", 60)


def count_calls(monkeypatch, work, run_folder):
    """Count the files of runs that are opened or looked for."""
    seen = []

    def watch(function):
        def watched(path, *args, **kwargs):
            if str(path).startswith(str(run_folder)):
                seen.append(path)
            return function(path, *args, **kwargs)

        return watched

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", watch(builtins.open))
        patch.setattr(os, "stat", watch(os.stat))
        work()
    return len(seen)


def test_files_touched_grow_with_the_runs_alone(tmp_path, monkeypatch, many):
    small = make_store(tmp_path / "small", 20)

    def touched(spec, plan, store):
        frame = count_calls(monkeypatch, lambda: runs_frame(plan, store), store.root)
        skip = count_calls(monkeypatch, lambda: plan_and_skip(spec, store), store.root)
        return np.array([frame, skip])

    few, more = touched(*small), touched(*many)
    per_run = (more - few) / 40
    assert per_run[0] == 1  # its result
    assert per_run[1] == 4  # is it done: asked by command, display and grid, and at the end
    assert (few - 20 * per_run <= 3).all()  # store.json and datasets.json


def test_a_frame_is_what_one_run_at_a_time_gives(many):
    _, plan, store = many
    frame = runs_frame(plan, store)
    assert list(frame["run_id"]) == [planned.run.id for planned in plan.runs]
    ious = class_frame(plan, store)["iou"].to_numpy().reshape(-1, NUM_CLASSES)
    for k, planned in enumerate(plan.runs):
        scores = summarize(store.confusions(planned.run.id, "test")[1].sum(0))
        assert [frame.at[k, name] for name in SCORES] == [getattr(scores, n) for n in SCORES]
        assert (ious[k] == scores.iou).all()


def test_factors_are_the_keys_whose_values_differ_as_json(many):
    _, plan, _ = many
    settings = [flatten(planned.run.spec.model_dump(mode="json")) for planned in plan.runs]
    differ = [k for k in settings[0] if len({json.dumps(s.get(k)) for s in settings}) > 1]
    assert find_factors(plan) == [
        key for key in differ if key not in ("seed", "model.backbone", "model.skip")
    ]


def test_differences_are_those_of_two_variants_taken_out_alone(many):
    _, plan, store = many
    runs = runs_frame(plan, store)
    runs.loc[runs.index[:3], "status"] = "failed"  # a variant with fewer seeds than the others
    baseline = plan.variants[0]
    summary = summarize_variants(runs, baseline).set_index("variant")
    changes = list_changes(runs, ["backbone", "skip"], baseline)
    names = runs.drop_duplicates("variant").set_index(["backbone", "skip"])["variant"]
    assert len(changes) > 5
    for row in changes.to_dict("records"):
        ends = [(row[side], row["context"]) for side in ("before", "after")]
        ends = ends if row["factor"] == "backbone" else [end[::-1] for end in ends]
        expected = summarize_difference(runs, *(names[end] for end in ends))
        assert row["num_pairs"] == expected["num_pairs"]
        pd.testing.assert_series_equal(
            pd.Series(row)[list(expected)], pd.Series(expected), check_dtype=False
        )
    for variant in plan.variants[1:]:
        expected = summarize_difference(runs, baseline, variant)["miou_diff_mean"]
        assert summary.at[variant, "miou_diff_mean"] == expected


def test_synthetic_counts_add_up_to_images(many):
    _, plan, store = many
    result = store.result(plan.runs[0].run.id)
    names, counts = store.confusions(result.run_id, "test")
    assert len(names) == result.num_images == 2
    assert counts.sum(0).tolist() == result.confusion
    assert (counts.sum((1, 2)) == PIXELS // NUM_CLASSES * NUM_CLASSES).all()
    assert store.run(result.run_id) == plan.runs[0].run


def test_records_of_each_number_are_measured(tmp_path):
    (one, ten) = measure_store((1, 10), tmp_path, most_reported=1)
    assert (one["runs"], ten["runs"]) == (1, 10)
    assert one["report, s"] > 0
    assert ten["report, s"] is None
    assert 0 < ten["frame, s"].low <= ten["frame, s"].high


@pytest.mark.slow
def test_thousands_of_runs_are_planned_skipped_and_read(tmp_path):
    spec, plan, store = make_store(tmp_path / "store", 3_000, Sizes(num_images=0, num_steps=1))
    assert len({planned.run.id for planned in plan.runs}) == 3_000
    assert plan_and_skip(spec, store) == 0
    frame = runs_frame(plan, store)
    assert (frame["status"] == "done").all()
    for k in (0, 1234, 2999):
        result = store.result(plan.runs[k].run.id)
        assert frame.at[k, "miou"] == summarize(result.confusion).miou
    assert len(list(store.run_ids())) == 3_000
