"""Results without a question: whole stores and published reports as one kind of frame."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from bench.store.runs import Store
from fcn.errors import InputError
from reports.results.frame import runs_frame

ROOT = Path(__file__).parent.parent.parent
PUBLISHED = ROOT / "docs" / "results" / "camvid-cpu"


def test_a_store_has_a_row_for_each_run_that_was_begun(plan, store):
    runs = reports.read_results(store)
    asked = runs_frame(plan, store)
    begun = asked[asked["status"] != "missing"]
    assert list(runs["run_id"]) == sorted(begun["run_id"])
    both = [
        frame.drop(columns="variant").set_index("run_id").sort_index() for frame in (runs, begun)
    ]
    pd.testing.assert_frame_equal(*both)
    pd.testing.assert_frame_equal(reports.read_results(str(store.root)), runs)


def test_settings_that_differ_are_columns_and_names(small_store, make_plan):
    plan = make_plan(["a", "b"], seeds=(0, 1))
    for planned in plan.runs:
        small_store.prepare(planned.run)
    runs = reports.read_results(small_store)
    assert sorted(runs["model.head"]) == ["head-0", "head-0", "head-1", "head-1"]
    assert runs["variant"].nunique() == 2
    assert set(runs["status"]) == {"missing"}


def test_a_store_of_0_1_is_read():
    runs = reports.read_results(ROOT / "tests" / "stores" / "0.1" / "runs")
    assert dict(zip(runs["run_id"], runs["status"], strict=True)) == {
        "14dda9ea03d5a9af": "failed",
        "320973cd0f14e58f": "done",
    }


def test_a_report_is_read_as_the_frame_that_it_was_written_from(report, plan, store):
    runs = reports.read_results(report)
    expected = runs_frame(plan, store)
    text = ["device", "finished", "commit"]
    expected[text] = expected[text].fillna("")
    pd.testing.assert_frame_equal(runs, expected)  # to the bit, unless told otherwise
    assert (runs["miou"].dropna().to_numpy() == expected["miou"].dropna().to_numpy()).all()


def test_digits_and_null_stay_text(tmp_path):
    header = "variant,seed,backbone,skip,status,pixel_acc,mean_acc,miou,fw_iou,run_id,model.head"
    row = "1,0,NA,none,done,0.1,0.2,0.30000000000000004,0.4,1234567890123456,null"
    other = "2,1,nan,none,failed,,,,,00000000000000e1,null"
    (tmp_path / "runs.csv").write_text("\n".join([header, row, other]))
    runs = reports.read_results(tmp_path)
    assert list(runs["run_id"]) == ["1234567890123456", "00000000000000e1"]
    assert list(runs["backbone"]) == ["NA", "nan"]
    assert list(runs["skip"]) == ["none", "none"]
    assert list(runs["model.head"]) == ["null", "null"]
    assert list(runs["variant"]) == ["1", "2"]
    assert list(runs["seed"]) == [0, 1]
    assert runs["miou"][0] == 0.1 + 0.2
    assert np.isnan(runs["miou"][1])


def test_the_summary_of_a_published_report_is_the_one_published():
    found = reports.summarize(reports.read_results(PUBLISHED)).set_index("variant")
    published = pd.read_csv(PUBLISHED / "summary.csv").set_index("variant")
    assert list(found.index) == list(published.index)
    for column in ("num_done", "miou_mean", "miou_std", "pixel_acc_mean", "train_seconds"):
        np.testing.assert_allclose(found[column], published[column], rtol=1e-12)
    assert list(found["skip"]) == list(published["skip"])


def test_a_run_that_cannot_be_read_is_told(plan, tmp_path):
    store = Store(tmp_path)
    for planned in plan.runs[:2]:
        store.prepare(planned.run)
    path = store.run_dir(plan.runs[0].run.id) / "spec.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 7"))
    with pytest.warns(RuntimeWarning, match=f"left out: .*{plan.runs[0].run.id}"):
        assert len(reports.read_results(store)) == 1


def test_what_holds_no_results_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"neither store.json nor runs.csv"):
        reports.read_results(tmp_path)
    Store(tmp_path / "store").begin()
    with pytest.raises(InputError, match="holds no runs"):
        reports.read_results(tmp_path / "store")
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no fw_iou"):
        reports.read_results(tmp_path)
