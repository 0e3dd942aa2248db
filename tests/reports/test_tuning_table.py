"""The report of a tuned question: every try in a table, in methods, and in the folder beside."""

import hashlib
from dataclasses import replace

import pandas as pd
import pytest
from streets import finish

from bench.tuning import Tried, Tuning
from reports.page import write_report
from reports.results.report_folder import ReportFolder
from reports.study import read_study
from reports.tables.tuning import tuning_frame, tuning_table

RATES = (0.1, 0.01)


def tried(variant, lr, score, **more):
    known = {"state": "done", "step": 400, "device_seconds": 30.5, **more}
    name = f"{variant} train.lr={lr}"
    run_id = hashlib.sha256(name.encode()).hexdigest()[:16]
    return Tried(variant, name, {"train.lr": lr}, run_id, score=score, **known)


TRIED = (
    tried("a", 0.1, 0.5),
    tried("a", 0.01, 0.625, is_chosen=True),
    tried("b", 0.1, None, state="failed", why="nonfinite: at step 3", step=None),
    tried("b", 0.01, 0.25, is_chosen=True),
)
TUNING = Tuning({"train.lr": RATES}, seed=0, split="val", metric="miou", tried=TRIED)


@pytest.fixture
def plan(make_plan):
    return replace(make_plan(["a", "b"], seeds=(0, 1)), tuning=TUNING)


def test_the_table_has_every_try_and_marks_what_is_chosen():
    frame = tuning_frame(TUNING)
    assert frame["miou"].tolist()[:2] == [0.5, 0.625]
    assert frame["is_chosen"].tolist() == [False, True, False, True]
    table = tuning_table(TUNING)
    assert table.cells["mIoU"].tolist() == ["50.0", "62.5", "–", "25.0"]
    assert {row for row, _ in table.best} == {1, 3}
    assert "2 runs for each variant, 122 device-seconds" in table.caption
    assert table.cells["without a score"][2] == "nonfinite: at step 3"


def test_of_a_variant_without_a_score_it_says_that_the_first_value_stands():
    first = replace(TRIED[0], score=None, state="failed", is_chosen=True)
    lost = (first, replace(TRIED[1], is_chosen=False, score=None, state="failed"), *TRIED[2:])
    caption = tuning_table(replace(TUNING, tried=lost, waiting=("c",))).caption
    assert "Of a no run has a score: the first values stand for it." in caption
    assert "What is tried for c follows" in caption


def test_a_report_is_made_again_from_its_folder(plan, small_store, tmp_path):
    for planned in plan.runs:
        finish(small_store, planned)
    write_report(plan, small_store, tmp_path / "out")
    read = pd.read_csv(tmp_path / "out" / "tables" / "tuning.csv")
    assert read["train.lr"].tolist() == [0.1, 0.01] * 2
    methods = (tmp_path / "out" / "methods.md").read_text()
    assert "For learning rate each variant had the same values, 0.1 and 0.01." in methods
    assert "Chosen were: a train.lr=0.01; b train.lr=0.01." in methods
    folder = ReportFolder(tmp_path / "out")
    assert folder.plan.tuning == TUNING
    write_report(folder.plan, folder, tmp_path / "again")
    for name in ("tables/tuning.md", "tables/tuning.tex", "methods.md"):
        first = (tmp_path / "out" / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == first


def test_runs_of_a_variant_for_which_nothing_is_chosen_do_not_count(plan, small_store):
    for planned in plan.runs:
        finish(small_store, planned)
    waiting = replace(TRIED[3], is_chosen=False), replace(TRIED[2], state="missing")
    unsettled = replace(plan, tuning=replace(TUNING, tried=(*TRIED[:2], *waiting)))
    study = read_study(unsettled, small_store)
    assert study.runs.groupby("variant")["status"].agg(list).to_dict() == {
        "a": ["done"] * 2,
        "b": ["missing"] * 2,
    }
